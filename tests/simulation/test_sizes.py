"""Sizes of a simulated study are those of the study once it is simulated."""

from __future__ import annotations

from hpc_recon import simulate
from hpc_recon.nets import declared
from hpc_recon.simulation import sizes

SECTION = {"image_size": 16, "n_training": 8, "n_natural": 2, "n_shapes": 3, "n_voxels": 53, "imagery": True}


def test_sizes_are_those_of_the_simulated_stores(make_study, run_verb):
    from hpc_recon.stores import shapes

    study = make_study(
        datasets={
            "training": {"role": "training"},
            "natural": {"role": "test"},
            "shapes": {"role": "test"},
            "imagery": {"role": "test"},
        },
        simulate=SECTION,
        rois=["V1", "V4", "VC"],
    )
    expected = declared.read(study, sizes.declared(study.simulate, list(study.datasets)))
    run_verb(simulate, study)
    stored = shapes.read(study)
    assert expected.n_stimuli() == stored.n_stimuli() == 13
    assert expected.image_size() == stored.image_size()
    for roi in study.rois:
        assert expected.n_voxels("S1", roi) == stored.n_voxels("S1", roi)
    for dataset in study.datasets:
        assert expected.n_samples("S1", dataset) == stored.n_samples("S1", dataset)
        assert expected.n_items("S1", dataset) == stored.n_items("S1", dataset)
