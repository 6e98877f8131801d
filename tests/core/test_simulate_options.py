"""Options of `simulate:`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.simulate_options import Simulate


@pytest.mark.parametrize(
    "given", [{"preset": "hard"}, {"n_letters": 27}, {"n_voxels": 10}, {"noise_scale": 0}, {"size": 3}]
)
def test_what_cannot_be_simulated_is_refused(given):
    with pytest.raises(ValidationError, match=next(iter(given))):
        Simulate(**given)


def test_a_study_without_options_is_simulated():
    assert (Simulate().preset, Simulate().signal) == ("easy", "image")
