"""Every mistake of a study in one line, with its place and the closest name."""

from __future__ import annotations


def test_three_mistakes_are_all_named_with_the_closest_name(mistakes, good) -> None:
    wrong = (
        good.replace("alpha:", "alhpa:").replace("preset: easy", "preset: esy").replace("n_voxels: 50", "n_voxels: -1")
    )
    found = mistakes(wrong)
    assert len(found) == 3
    assert any("unknown key 'fit.alhpa'; did you mean 'alpha'?" in line for line in found)
    assert any("simulate.preset" in line and "'esy'" in line for line in found)
    assert any("fit.n_voxels: input should be greater than or equal to 1; got -1" in line for line in found)


def test_mistakes_inside_unions_name_only_keys_of_the_file(mistakes, good) -> None:
    wrong = good.replace("grid: [1, 10]", "grid: [1]").replace("layer_weights: {conv1_1: 6}", "iteratons: 3")
    assert mistakes(wrong) == [
        "fit.alpha.grid: must have 2 or more members, but has 1",
        "unknown key 'reconstruct.icnn.iteratons'; did you mean 'iterations'?",
    ]


def test_unknown_method(mistakes, good) -> None:
    assert mistakes(good.replace("method: icnn", "method: icn")) == [
        "reconstruct.icnn.method: unknown or missing; did you mean 'icnn'?"
    ]


def test_without_a_method_those_of_the_section_are_named(mistakes, good) -> None:
    assert mistakes(good.replace("method: pixels, ", "") + "train: {a: {rois: [V1]}}\n") == [
        "train.a.method: unknown or missing; known: end_to_end, latent_layer, shape_semantic",
        "reconstruct.direct.method: unknown or missing; known: end_to_end, icnn, latent, pixels, retrieval, "
        "shape_semantic",
    ]
    wrong = good.replace("layer_weights: {conv1_1: 6}", "optimiser: {history: 3}")
    assert mistakes(wrong) == [
        "reconstruct.icnn.optimiser.name: unknown or missing; known: adam, adamw, lbfgs, momentum"
    ]


def test_a_list_of_wrong_members_is_not_called_short_too(mistakes, good) -> None:
    found = mistakes(good.replace("subjects: [S1, S2]", "subjects: [1]"))
    assert [line.partition(":")[0] for line in found] == ["subjects.0"]
    assert mistakes(good.replace("subjects: [S1, S2]", "subjects: []")) == [
        "subjects: must have 1 or more members, but has 0"
    ]


def test_missing_keys(mistakes, good) -> None:
    assert "subjects: this key is required" in mistakes(good.replace("subjects: [S1, S2]", ""))


def test_types_are_told_in_words_of_the_file_with_a_remedy(mistakes, good) -> None:
    wrong = good.replace("name: small", "name: 12").replace("rois: [V1, VC]", "rois: V1")
    wrong = wrong.replace("simulate: {preset: easy}", "simulate: easy").replace("fit: {", "evaluate:\nfit: {")
    assert mistakes(wrong) == [
        "name: must be text; put it in quotes (YAML reads 12 and 10:40 as numbers, and no as false); got 12",
        "rois: must be a list, as [a, b]; got 'V1'",
        "simulate: must be a section with keys of its own; got 'easy'",
        "evaluate: nothing stands there, and it must be a section with keys of its own; give that, or leave the key "
        "out",
    ]


def test_a_value_is_told_once(mistakes, good) -> None:
    wrong = mistakes(good.replace("fit: {", "units: {every: 1}\nfit: {"))
    assert wrong == ["units: every must be a whole number of at least 2 (leave out units for all); got 1"]
    wrong = mistakes(good.replace("fit: {", "units: {file: 7}\nfit: {"))
    assert wrong == ["units: file must be a path; got 7"]
