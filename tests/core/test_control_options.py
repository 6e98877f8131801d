"""Options of the controls in a study file."""

import pytest

from hpc_recon.core.control_options import CONTROLS, Controls
from hpc_recon.core.errors import StudyError


def test_every_control_runs_unless_one_is_named(make_study):
    assert make_study().controls.names == CONTROLS == ("shuffled", "noise", "clusters")
    assert make_study(controls={"names": ["noise"]}).controls.names == ("noise",)
    assert make_study().source_verb == "simulate"


@pytest.mark.parametrize(
    "wrong",
    [
        {"repeats": 2},
        {"images": 3},
        {"units": 0},
        {"names": []},
        {"names": ["cluster"]},
        {"clusters": 1},
        {"repeat": 3},
    ],
)
def test_what_no_rule_can_judge_is_refused(make_study, wrong):
    with pytest.raises(StudyError, match=f"controls.{next(iter(wrong))}"):
        make_study(controls=wrong)
    assert Controls().repeats == 3
