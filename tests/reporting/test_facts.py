"""What the report says in words of a study."""

from __future__ import annotations

from hpc_recon.reporting import facts
from hpc_recon.reporting.runs import RunFigures, Warned


def test_missing_scores_sampled_units_and_warnings_of_verbs_are_told(make_study, summary, entry):
    study = make_study(units=5)
    found = summary()
    found["images"].append(entry("ssim", 0.5, variant="direct", n=3, n_missing=1))
    run = RunFigures((), (Warned("fit", "alpha lies at the edge", 2),), (), 0.0)
    told = facts.warnings(study, found, run)
    assert any("were decoded (units in the study)" in text for text in told)
    assert any(text.startswith("ssim is undefined for 1 of 4 images (S1, natural, direct)") for text in told)
    assert told[-1] == "fit: alpha lies at the edge (2 tiles)"


def test_every_definition_has_words():
    assert all(name and text.endswith(".") for name, text in facts.DEFINITIONS)
