"""Presets."""

from __future__ import annotations

from typing import get_args

from hpc_recon.core.simulate_options import Simulate
from hpc_recon.simulation.presets import PRESETS


def test_every_preset_of_the_study_file_exists():
    assert set(PRESETS) == set(get_args(Simulate.model_fields["preset"].annotation))


def test_presets_are_ordered_by_signal_to_noise():
    easy, realistic, null = (PRESETS[name] for name in ("easy", "realistic", "null"))
    assert easy.signal / easy.noise > realistic.signal / realistic.noise > null.signal == 0
    assert easy.louder(3).noise == 3 * easy.noise
    assert easy.fainter(0.5).signal == 0.5 * easy.signal
