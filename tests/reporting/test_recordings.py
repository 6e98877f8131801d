"""How samples were made, in words: every number is the study's."""

from __future__ import annotations

from hpc_recon.reporting import recordings


def _ingested(make_study, subjects, **datasets):
    """A study whose subjects have these datasets."""
    every = {"training": {"samples": {"file": "x.npy"}}, "natural": {"samples": {"file": "x.npy"}}} | datasets
    return make_study(
        simulate=None,
        subjects=list(subjects),
        ingest={
            "subjects": {name: {"datasets": every | more} for name, more in subjects.items()},
            "stimuli": {name: {"array": {"file": "x.npy"}} for name in every},
        },
    )


def test_simulated_samples_and_plain_arrays_need_no_words(make_study):
    assert recordings.sentences(make_study()) == []
    assert recordings.sentences(_ingested(make_study, {"S1": {}})) == []


def test_the_steps_of_bold_runs_are_told_with_their_numbers(make_study):
    runs = {"bids": {"folder": "d", "subject": "01"}, "mask": "m.nii", "labels": {"column": "stim_file"}}
    usual = {"training": {"bold": runs}}
    (found,) = recordings.sentences(_ingested(make_study, {"S1": usual, "S2": usual}))
    assert found == (
        "Samples of training: from BOLD runs, the first 8 s of each dropped; linear trend, trans_x, trans_y, trans_z, "
        "rot_x, rot_y and rot_z regressed out; percent of the mean of the 24 s of rest that follow; values beyond 3 "
        "standard deviations clipped (at most 10 times); mean over 8 s (training), 12 s (test) or 16 s (imagery) from "
        "4 s after each event; events that repeat the one before left out."
    )
    more = {"drop_s": 0, "linear_trend": False, "confounds": [], "despike_sd": None, "window_s": 9, "shift_s": 5,
            "baseline_s": 12, "drop_repetitions": False, "normalise": "run"}  # fmt: skip
    (other,) = recordings.sentences(_ingested(make_study, {"S1": {"training": {"bold": runs | more}}}))
    assert other == (
        "Samples of training: from BOLD runs; percent of the mean of the 12 s of rest "
        "that follow; mean over 9 s from 5 s after each event; z-scored within each run."
    )


def test_subjects_that_differ_are_told_apart(make_study):
    betas = {"files": ["b.nii"], "mask": "m.nii", "trials": {"files": ["t.txt"]}, "scale": 300}
    own = {"natural": {"betas": betas, "exclude": {"trials": [3, 4]}, "average_groups_of": 3}}
    (found,) = recordings.sentences(_ingested(make_study, {"S1": {}, "S2": own}))
    assert found == (
        "Samples of natural of S2: betas of single trials, stored values divided by 300; 2 samples excluded; samples "
        "of a stimulus averaged 3 at a time."
    )
