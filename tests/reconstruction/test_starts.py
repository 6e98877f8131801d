"""Where images start."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import reconstruct
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.stores import images, shapes


def test_the_start_is_the_mean_training_image(study: Study):
    reconstruct.prepare(study)
    table = images.read_table(study.workspace)
    rows = np.array([i for i, name in enumerate(table.dataset) if name == "training"])
    expected = (images.read_images(study.workspace, rows) / 255).mean(axis=0)
    path = study.workspace / "starts" / "S1.npy"
    np.testing.assert_allclose(np.load(path), expected, atol=1e-6)
    changed = path.stat().st_mtime_ns
    reconstruct.prepare(study)
    assert path.stat().st_mtime_ns == changed


def test_missing_start_names_the_command(study: Study, decode_truly):
    decode_truly(study)
    tile = reconstruct.plan(study, shapes.read(study))[0]
    with pytest.raises(MissingStore, match=r"hpc_recon\.reconstruct"):
        reconstruct.work(study, tile)
