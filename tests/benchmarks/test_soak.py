"""What the soak concludes from what it counts; it runs itself on a real Slurm for minutes, not here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.sh"


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([4] * 50 + [20] * 30 + [21] * 30, (20, 21)),
        ([4] * 300, None),
        ([20] * 29, None),
        (list(range(20, 80)), (30, 70)),
    ],
    ids=["planning is left out", "only planned", "too short", "a leak"],
)
def test_descriptors_of_the_first_and_last_third(samples, expected) -> None:
    import soak

    assert soak.growth(samples) == expected


def test_a_leak_is_more_than_is_allowed() -> None:
    import soak

    first, last = soak.growth(list(range(20, 80)))
    assert last > first + soak.MORE_DESCRIPTORS


def test_files_that_differ_are_named() -> None:
    import soak

    found = soak.compare({"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "9", "d": "4"})
    assert found == {"missing": ["a"], "unexpected": ["d"], "different": ["c"]}


def test_every_disturbance_is_one_that_there_is() -> None:
    import soak

    assert all(callable(getattr(soak.Soak, name)) for name in soak.DISTURBANCES)


def test_its_studies_are_valid(tmp_path) -> None:
    import soak

    from hpc_recon.core.loading import load_study

    for size in (soak.TOY, soak.SIZE):
        study = load_study(soak.write_study(tmp_path, "one", size))
        assert len(study.subjects) == size["subjects"]
        assert len(study.rois) == size["rois"]


def test_minutes_are_a_number() -> None:
    done = subprocess.run([SCRIPT, "soon"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "MINUTES is a number" in done.stderr
