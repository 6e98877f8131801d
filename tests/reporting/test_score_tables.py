"""Tables of the report: order, wording, positions on the scale, choices of folds."""

from __future__ import annotations

from hpc_recon.reporting import score_tables


def test_reconstructions_come_before_baselines(summary, study):
    tables = score_tables.image_tables(summary(), study, split="all", roi="VC")
    assert [table.title for table in tables] == ["Photographs", "shapes"]
    assert [row.name for row in tables[0].rows] == ["Pixels & <more>", "mean training image", "nearest training image"]
    assert [row.kind for row in tables[0].rows] == ["reconstruction", "baseline", "baseline"]


def test_cells_carry_interval_and_place_on_the_scale(summary, study):
    row = score_tables.image_tables(summary(), study, split="all", roi="VC")[0].rows[0]
    identified, correlated, structural, gain = row.cells
    assert (identified.limits, identified.dot, identified.low, identified.high, identified.chance) == (
        "80\N{EN DASH}100", 90.0, 80.0, 100.0, 50.0,
    )  # fmt: skip
    assert (correlated.text, correlated.limits) == ("0.70", "0.60 to 0.80")
    assert (structural.text, structural.dot) == ("\N{EN DASH}", None)
    assert (gain.text, gain.limits) == ("+0.20", "+0.10 to +0.30")


def test_negative_correlations_stay_on_the_scale(entry):
    assert score_tables.cell(entry("pixel_correlation", -0.2, -0.4, 0.1)).dot == 0


def test_regions_are_compared_only_where_there_are_several(summary, study, entry):
    assert score_tables.roi_table(summary(), study) is None
    content = summary()
    content["images"].append(entry("identification", 0.6, 0.5, 0.7, variant="direct", roi="V1"))
    wider = study.model_copy(update={"rois": ("V1", "VC")})
    assert [row.name for row in score_tables.roi_table(content, wider).rows] == ["V1", "VC", "VC"]


def test_layers_show_quartiles_of_profiles(summary, study):
    table = score_tables.layer_table(summary(), study, roi="VC")
    assert [row.note for row in table.rows] == ["pixels, Photographs, S1", "pixels, shapes, S1"]
    assert table.rows[0].cells[0].limits == "0.10 to 0.50"
    assert score_tables.layer_table(summary(), study, roi="V1") is None


def choice(alpha, warnings=()):
    table = [{"n_voxels": 50, "alpha": a, "explained_variance": a / 100, "correlation": 0.5} for a in (1.0, 10.0)]
    return {"n_voxels": 50, "alpha": alpha, "warnings": list(warnings), "table": table}


def test_choices_of_folds_are_pooled():
    place = ("VC", "vgg", "conv1_1")
    found = score_tables.choice_rows(
        [
            (("S1", *place), choice(10.0, ["alpha is at the edge"])),
            (("S1.r1f01", *place), choice(1.0)),
            (("S1.r1f02", *place), choice(10.0, ["alpha is at the edge"])),
            (("S1.r1f03", *place), choice(10.0)),
        ]
    )
    assert [(row.note, row.n_voxels, row.alpha) for row in found] == [
        ("vgg, VC, S1", "50", "10"),
        ("vgg, VC, S1, 3 folds", "50", "10 (2 of 3; 1 to 10)"),
    ]
    assert found[0].explained_variance == "0.10"
    assert found[0].warnings == ("alpha is at the edge",)
    assert found[1].warnings == ("alpha is at the edge (1 of 3)",)
