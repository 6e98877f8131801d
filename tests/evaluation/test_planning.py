"""The tiles that score layers and images: what makes them another tile."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.evaluation import planning
from hpc_recon.stores import shapes

NETWORKS = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]}}


def test_only_a_first_convolution_has_a_file_of_filters(make_study, fill_workspace):
    study = make_study(networks=NETWORKS)
    fill_workspace(study)
    first, other = (
        planning.features_tile(study, shapes.read(study), ("S1", "VC"), network="vgg", layer=layer)
        for layer in ("conv1_1", "conv2_1")
    )
    assert "filters" in first.group.settings
    assert "filters" not in other.group.settings  # scores of other layers stay done
    assert first.need.files_out == other.need.files_out + 1


def test_labels_of_shapes_count_by_their_content(make_study, tmp_path):
    table = tmp_path / "shapes.csv"
    made = make_study(evaluate={"shapes": {"natural": str(table)}})
    with pytest.raises(StudyError, match=r"shapes\.csv does not exist; give another"):
        planning.shape_labels(made, "natural")
    table.write_text("label,colour,shape\n")
    before = planning.shape_labels(made, "natural")
    table.write_text("label,colour,shape\na,red,disc\n")
    assert before != planning.shape_labels(made, "natural")
    assert planning.shape_labels(made.model_copy(update={"evaluate": make_study().evaluate}), "natural") == {}


def test_what_is_default_leaves_no_trace(make_study):
    study = make_study()
    assert planning.averaging(study) == {}
    assert planning.chosen(study) == {}
    chosen = make_study(evaluate={"ssim_identification": True, "n_way": [10, 5]}, decode={"average": False})
    assert planning.averaging(chosen) == {"average": False}
    assert planning.chosen(chosen) == {"ssim_identification": True, "n_way": [5, 10]}


def test_rows_of_the_tables_are_counted_by_items_layers_and_methods(make_study):
    methods = {name: {"method": "pixels", "network": "pixels"} for name in ("one", "other")}
    study = make_study(networks={**NETWORKS, "pixels": {"architecture": "pixels", "layers": ["pixels"]}},
                       reconstruct=methods)  # fmt: skip
    sizes = SimpleNamespace(n_items=lambda split, dataset: {("S1", "natural"): 700}[split, dataset])
    # 8 scores of three layers; 10 of the images of each method and of three baselines.
    assert planning.table_rows(study, sizes) == 700 * (8 * 3 + 10 * 2 * 4)
