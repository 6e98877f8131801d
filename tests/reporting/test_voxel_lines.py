"""One line an ROI on how reliable its voxels are."""

from __future__ import annotations

from hpc_recon.reporting import voxel_lines


def test_one_line_a_roi_names_its_subjects(make_study):
    study = make_study(rois=["VC", "V1"], subjects=["S1", "S2"])
    place = {"roi": "V1", "dataset": "natural", "n": 400, "n_repeats": 24, "mean": 0.6, "q25": 0.4, "q75": 0.8}
    entries = [
        {**place, "subject": subject, "metric": metric, "median": value}
        for subject, values in {"S1": (0.1, 0.62), "S2": (0.2, 0.7)}.items()
        for metric, value in zip(("repeat_correlation", "split_half"), values, strict=True)
    ]
    ((name, text),) = voxel_lines.lines({"voxels": entries}, study)
    assert name == "Voxels of V1"
    assert text == (
        "reliability of the mean of 24 trials (natural), median over voxels: S1 0.62 (quartiles 0.40 to 0.80; single "
        "trials 0.10; 400 voxels) and S2 0.70 (quartiles 0.40 to 0.80; single trials 0.20; 400 voxels)"
    )


def test_without_repeats_there_is_none(make_study):
    assert voxel_lines.lines({}, make_study()) == []
