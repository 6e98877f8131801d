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
        "fit.alpha.grid: tuple should have at least 2 items after validation, not 1",
        "unknown key 'reconstruct.icnn.iteratons'; did you mean 'iterations'?",
    ]


def test_unknown_method(mistakes, good) -> None:
    assert mistakes(good.replace("method: icnn", "method: icn")) == [
        "reconstruct.icnn.method: unknown or missing; did you mean 'icnn'?"
    ]


def test_missing_keys(mistakes, good) -> None:
    assert "subjects: this key is required" in mistakes(good.replace("subjects: [S1, S2]", ""))
