"""Receptive fields and the network of the simulated brain."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.simulation import areas


def test_shares_are_of_all_voxels_and_fields_grow_from_area_to_area():
    assert sum(area.share for area in areas.AREAS) == pytest.approx(1)
    for attribute in ("sigma", "slope"):
        values = [getattr(area, attribute) for area in areas.AREAS]
        assert values == sorted(values)
        assert len(set(values)) == len(values)
    assert areas.ROIS == ("V1", "V2", "V3", "V4", "HVC", "VC")


def test_a_receptive_field_is_the_gaussian_it_says():
    area = areas.Area("test", None, sigma=0.05, slope=0.1, share=1)
    centre = np.array([[0.0, 0.0], [0.2, -0.1]])
    fields = areas.receptive_fields(area, centre, grid=(64, 64)).reshape(2, 64, 64)
    assert fields.sum(axis=(1, 2)) == pytest.approx(1, abs=1e-5)
    position = (np.arange(64) + 0.5) / 64 - 0.5
    for field, (x, y) in zip(fields, centre, strict=True):
        assert field.sum(axis=0) @ position == pytest.approx(x, abs=2e-3)
        assert field.sum(axis=1) @ position == pytest.approx(y, abs=2e-3)
    spread = np.sqrt(fields[0].sum(axis=0) @ position**2)
    assert spread == pytest.approx(0.05, rel=0.01)
    row, column = np.unravel_index(fields[1].argmax(), (64, 64))
    assert position[row] < 0 < position[column]


def test_fields_far_smaller_than_a_cell_still_see_something():
    area = areas.Area("test", None, sigma=1e-4, slope=0, share=1)
    centre = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2))
    fields = areas.receptive_fields(area, centre, grid=(4, 4))
    assert np.isfinite(fields).all()
    assert fields.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_network_depends_on_the_seed_only():
    assert areas.model_network(0) == areas.model_network(0) != areas.model_network(1)
    assert areas.model_network(0).architecture == "vgg11_features"
