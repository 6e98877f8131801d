"""Options: ranges of jobs and samples of units."""

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.run.options import Jobs, units_assignment


@pytest.mark.parametrize("text", ["0", "3:1", "x", "1:", "-2", "1:2:3"])
def test_bad_jobs(text):
    with pytest.raises(StudyError, match="N or N:M"):
        Jobs.parse(text)


@pytest.mark.parametrize(("left", "wanted"), [(0, 2), (1, 2), (5, 5), (100, 8)])
def test_jobs_follow_the_tiles_left(left, wanted):
    assert Jobs.parse("2:8").wanted(left) == wanted


@pytest.mark.parametrize("text", ["100", "0/layer", "a/layer", "10/unit"])
def test_bad_units(text):
    with pytest.raises(StudyError, match="1000/layer"):
        units_assignment(text)
