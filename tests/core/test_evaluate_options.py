"""Options of `evaluate`."""

from __future__ import annotations

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.core.evaluate_options import Evaluate


def test_defaults_are_the_projects_own_scores():
    options = Evaluate()
    assert (options.presets, options.networks, options.ssim_identification) == ((), {}, False)
    assert options.intervals == {"confidence": 0.95, "resamples": 2000}


def test_a_network_that_no_preset_uses_is_an_error(make_study):
    with pytest.raises(StudyError, match=r"networks alexnet are used by none of the presets \(kamitani\).*mindeye"):
        make_study(evaluate={"presets": ["kamitani"], "networks": {"alexnet": "alexnet.pth"}})
    with pytest.raises(StudyError, match="presets must differ"):
        make_study(evaluate={"presets": ["takagi", "takagi"]})
    with pytest.raises(StudyError, match="numbers of n_way must differ"):
        make_study(evaluate={"n_way": [5, 5]})
    with pytest.raises(StudyError, match="n_way"):
        make_study(evaluate={"n_way": [1]})


def test_weights_files_lie_beside_the_study(make_study, tmp_path):
    study = make_study(evaluate={"presets": ["takagi"], "networks": {"alexnet": "weights/alexnet.pth"}})
    assert study.evaluate.networks == {"alexnet": (tmp_path / "weights/alexnet.pth").resolve()}
