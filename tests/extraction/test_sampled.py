"""Samples of units for `screen`; their features are compared with those of `extract` in tests/test_screen.py."""

from __future__ import annotations

import numpy as np

from hpc_recon.extraction import sampled


def test_a_sample_is_drawn_once_and_has_no_more_units_than_the_layer(make_study):
    study = make_study(screen={"units": 100})
    network = study.networks["pixels"]
    one = sampled.candidate(study, "pixels", network, (16, 16)).units["pixels"]
    assert len(one) == 100
    assert (np.diff(one) > 0).all()
    assert one.max() < 16 * 16 * 3
    np.testing.assert_array_equal(one, sampled.candidate(study, "pixels", network, (16, 16)).units["pixels"])
    all_units = sampled.candidate(study, "pixels", network, (4, 4)).units["pixels"]
    np.testing.assert_array_equal(all_units, np.arange(48))


def test_tiles_are_of_48_stimuli_and_depend_on_what_they_sample(make_study):
    few, more = (make_study(screen={"units": n}) for n in (10, 20))
    found = []
    for study in (few, more):
        wanted = sampled.candidate(study, "pixels", study.networks["pixels"], (16, 16))
        found.append(sampled.tiles(study, wanted, n_stimuli=100, labels=None, image_size=(16, 16)))
    assert [(tile.start, tile.stop) for tile in found[0]] == [(0, 48), (48, 96), (96, 100)]
    assert found[0][0].group.settings != found[1][0].group.settings
    assert found[1][0].need.bytes_out > found[0][0].need.bytes_out
