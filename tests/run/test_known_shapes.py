"""Sizes are those that are stored, else those that the study declares, else the command that makes them is named."""

import pytest

from hpc_recon import extract, simulate
from hpc_recon.core.errors import MissingStore
from hpc_recon.run import known_shapes
from hpc_recon.run.verbs import read_shapes

NETWORK = {"architecture": "vgg11_quarter", "weights": "random:0", "layers": ["conv1_1"]}


def every_size(shapes):
    return (
        *(shapes.n_stimuli(), shapes.image_size(), shapes.n_samples("S1", "training"), shapes.n_voxels("S1", "VC")),
        *(shapes.n_items("S1", "natural"), shapes.n_units("vgg", "conv1_1"), shapes.unit_shape("vgg", "conv1_1")),
    )


def test_declared_sizes_are_those_that_are_stored_later(make_study, run_verb):
    study = make_study(networks={"vgg": NETWORK})
    before = known_shapes.read(study)
    declared = every_size(before)
    assert before.used
    for module in (simulate, extract):
        run_verb(module, study)
    after = known_shapes.read(study)
    assert every_size(after) == declared
    assert not after.used
    assert after.made_by("vgg", "conv1_1").startswith(before.made_by("vgg", "conv1_1").rstrip("/"))


def test_without_any_the_command_is_named(make_study):
    study = make_study(networks={"vgg": NETWORK})
    with pytest.raises(MissingStore, match=r"hpc_recon\.simulate"):
        known_shapes.KnownShapes(read_shapes(study), None).n_stimuli()
