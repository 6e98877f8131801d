from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.tiles import Shapes
from hpc_recon.stores import arrays, layout, shapes


def test_sizes_of_an_empty_workspace_name_the_command(make_study):
    found: Shapes = shapes.read(make_study())
    for ask in (found.n_stimuli, found.image_size):
        with pytest.raises(MissingStore, match=r"hpc_recon\.ingest"):
            ask()
    for ask in (found.n_units, found.unit_shape, found.made_by):
        with pytest.raises(MissingStore, match=r"python -m hpc_recon\.extract --study"):
            ask("vgg", "conv1_1")
    for ask in (found.n_samples, found.n_items, found.n_voxels):
        with pytest.raises(MissingStore, match=r"hpc_recon\.simulate"):
            ask("S1", "natural")


def test_units_of_a_layer(make_study):
    study = make_study()
    ref = layout.features("vgg", "conv1_1")
    arrays.create(
        study.workspace,
        ref,
        shape=(9, 24),
        dtype=np.float32,
        geometry=layout.feature_geometry(9, 24),
        made_by="extract/vgg/conv1_1..fc6",
        attributes={"unit_shape": [2, 3, 4]},
    )
    found = shapes.read(study)
    assert found.n_units("vgg", "conv1_1") == 24
    assert found.unit_shape("vgg", "conv1_1") == (2, 3, 4)
    assert found.made_by("vgg", "conv1_1") == "extract/vgg/conv1_1..fc6"


def test_unit_shape_that_does_not_agree_is_an_error(make_study):
    study = make_study()
    for layer, attributes in (("a", {}), ("b", {"unit_shape": [5, 5]})):
        arrays.create(
            study.workspace,
            layout.features("vgg", layer),
            shape=(9, 24),
            dtype=np.float32,
            geometry=layout.feature_geometry(9, 24),
            made_by="extract/vgg/x",
            attributes=attributes,
        )
        with pytest.raises(DamagedStore, match="has 24 units, but its attribute unit_shape is"):
            shapes.read(study).unit_shape("vgg", layer)
