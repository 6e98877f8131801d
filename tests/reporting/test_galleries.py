"""Which images the galleries of the report show."""

from __future__ import annotations

from hpc_recon import evaluate
from hpc_recon.reporting import galleries


def test_each_dataset_has_a_gallery_with_a_stimulus_a_reconstruction_and_a_baseline(
    make_study, fill_workspace, run_verb
):
    study = make_study(reconstruct={"direct": {"method": "pixels", "network": "pixels"}}, evaluate={"resamples": 100})
    fill_workspace(study)
    run_verb(evaluate, study)
    (found,) = galleries.collect(study, "VC")
    assert [row.kind for row in found.bands[0].rows] == ["stimulus", "reconstruction", "baseline"]
    assert found.bands[0].names == ("natural000", "natural001", "natural002", "natural003")
