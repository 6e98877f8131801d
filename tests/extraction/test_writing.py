from __future__ import annotations

import numpy as np

from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.network_options import Network
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.extraction import writing
from hpc_recon.stores import arrays, layout, shapes

GROUP = Group("extract", ("vgg", "block"))


def test_features_and_their_norms_are_written_row_by_row(study: Study) -> None:
    network = Network(architecture="vgg11_quarter", layers=("conv1_1",), dtype="float16")
    place, shape = ("vgg", "conv1_1"), (2, 3, 4)
    writing.create(study.workspace, network, place, shape, n_stimuli=50, made_by=GROUP.key)
    values = np.random.default_rng(0).normal(size=(50, 24)).astype("f4")
    for start, stop in ((0, 48), (48, 50)):
        files = writing.write(study.workspace, network, place, values[start:stop], start=start, unit_shape=shape)
        assert all(path.is_file() for path in files)
        receipts.write(study.workspace, Tile(GROUP, "extract", start, stop), files, {})
    stored = arrays.read(study.workspace, layout.features(*place))
    np.testing.assert_array_equal(stored, values.astype("f2"))
    norms = arrays.read(study.workspace, layout.norms(*place))
    np.testing.assert_allclose(norms[:, 0], np.linalg.norm(values, axis=1), rtol=1e-6)
    assert shapes.read(study).unit_shape(*place) == shape
