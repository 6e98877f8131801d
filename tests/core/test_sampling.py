"""Seeds and unit samples depend on names alone."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.config import Dataset, Network, Simulate, Study
from hpc_recon.core.sampling import seed_of, unit_sample


def study(units: int | None) -> Study:
    return Study(
        name="x",
        subjects=("S1",),
        datasets={"training": Dataset(role="training")},
        simulate=Simulate(),
        networks={"vgg": Network(architecture="vgg11_quarter", layers=("conv1_1",))},
        units=units,
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
