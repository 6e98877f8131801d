"""Seeds and unit samples depend on names alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core.config import Dataset, Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.core.sampling import seed_of, unit_sample
from hpc_recon.core.simulate_options import Simulate


def study(units: object) -> Study:
    return Study(
        name="x",
        subjects=("S1",),
        datasets={"training": Dataset(role="training")},
        simulate=Simulate(),
        networks={"vgg": Network(architecture="vgg11_quarter", layers=("conv1_1",))},
        units=units,  # type: ignore[arg-type]
    )


def test_parts_cannot_run_together() -> None:
    assert seed_of("a", "bc") != seed_of("ab", "c")
    assert 0 <= seed_of("x") < 2**63


def test_sample_is_sorted_distinct_and_reproducible() -> None:
    drawn = unit_sample(study(50), "vgg", "conv1_1", 1000)
    assert drawn is not None
    assert drawn.dtype == np.int64
    assert len(set(drawn.tolist())) == 50
    assert (np.diff(drawn) > 0).all()
    again = unit_sample(study(50), "vgg", "conv1_1", 1000)
    assert again is not None
    assert (drawn == again).all()
    other = unit_sample(study(50), "vgg", "conv2_1", 1000)
    assert other is not None
    assert (drawn != other).any()


def test_all_units_when_not_asked_or_too_few() -> None:
    assert unit_sample(study(None), "vgg", "conv1_1", 1000) is None
    assert unit_sample(study(50), "vgg", "conv1_1", 50) is None


def test_every_nth_unit() -> None:
    for n_units in (1, 15, 16, 17, 100):
        drawn = unit_sample(study({"every": 16}), "vgg", "conv1_1", n_units)
        expected = [unit for unit in range(n_units) if unit % 16 == 0]
        assert (list(range(n_units)) if drawn is None else drawn.tolist()) == expected
    drawn = unit_sample(study({"every": 16}), "vgg", "conv1_1", 100)
    assert drawn is not None
    assert drawn.dtype == np.int64


def test_units_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "units.npz"
    np.savez(path, conv1_1=[2, 5, 9], conv2_1=np.arange(10))
    chosen = study({"file": str(path)})
    drawn = unit_sample(chosen, "vgg", "conv1_1", 10)
    assert drawn is not None
    assert drawn.tolist() == [2, 5, 9]
    assert unit_sample(chosen, "vgg", "conv2_1", 10) is None
    with pytest.raises(StudyError, match="has 9 units"):
        unit_sample(chosen, "vgg", "conv1_1", 9)
