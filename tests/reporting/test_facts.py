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


def test_layers_of_which_most_units_are_at_or_below_zero_are_named(make_study, summary):
    found = summary()
    place = {"subject": "S1", "split": "all", "roi": "VC", "dataset": "natural", "network": "vgg"}
    for layer, share in (("conv1_1", 0.5), ("conv5_1", 0.625)):
        found["layers"].append(
            {**place, "layer": layer, "metric": "profile_correlation_nonpositive", "mean": share, "n": 8}
        )
    told = facts.warnings(make_study(), found, RunFigures((), (), (), 0.0))
    assert told == [
        "more than half of the units have a profile correlation of 0 or less in conv5_1 of vgg (S1, VC, natural: 62%)"
    ]


def test_every_definition_has_words():
    assert all(name and text.endswith(".") for name, text in facts.DEFINITIONS)
