"""Which series go into which panel."""

from __future__ import annotations

from hpc_recon.reporting import layer_plots


def test_one_row_of_three_panels_a_subject(summary, study):
    rows = layer_plots.panel_rows(summary(), study, roi="VC")
    assert [[panel.title for panel in row.panels] for row in rows] == [
        ["Profile correlation", "Pattern correlation", "Identification"]
    ]
    assert "Photographs from 0.90" in rows[0].panels[2].alt


def test_a_region_without_scores_has_no_panels(summary, study):
    assert layer_plots.panel_rows(summary(), study, roi="V1") == []


def test_the_legend_names_datasets_and_cross_validation(summary, study, entry):
    content = summary()
    content["layers"].append(entry("identification", 0.7, split="cross_validation", layer="pixels"))
    assert [e.name for e in layer_plots.legend(content, study)] == ["Photographs", "shapes", "cross-validation"]
