"""The section `convert`, and the splits that come of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.convert_options import Convert, is_grown, owner

SUBJECTS = ("S1", "S2", "S3")


def test_all_is_every_ordered_pair_and_a_list_keeps_what_it_names():
    assert len(Convert().ordered(SUBJECTS)) == 6
    assert Convert(pairs=["S2-S1", "S1-S1"]).ordered(SUBJECTS) == [("S2", "S1"), ("S1", "S1")]
    assert Convert(pairs=["S2-S1"]).converted(SUBJECTS) == ["S1.from-S2"]


def test_pools_are_of_targets_with_so_many_sources():
    options = Convert(pairs=["S2-S1", "S3-S1", "S1-S2", "S1-S1"], pool=[1, 2])
    assert options.pooled(SUBJECTS) == ["S1.with-1", "S1.with-2", "S2.with-1"]
    assert options.sources("S1.with-1", SUBJECTS) == ["S2"]
    assert options.sources("S1.with-2", SUBJECTS) == ["S2", "S3"], "to oneself is no source"


def test_a_curve_has_a_split_for_each_number_of_samples():
    options = Convert(pairs=["S2-S1"], growth=[600, 300], samples=900)
    assert options.grown(SUBJECTS) == ["S1.from-S2.n300", "S1.from-S2.n600"]
    assert [options.samples_of(split) for split in ("S1.from-S2.n300", "S1.from-S2")] == [300, 900]
    assert is_grown("S1.from-S2.n300")
    assert not is_grown("S1.from-S2")
    assert owner("S1.from-S2.n300") == "S1"


@pytest.mark.parametrize(
    ("options", "subjects", "expected"),
    [
        ({"pairs": ["S1-S4"]}, SUBJECTS, "convert.pairs: 'S1-S4' is not <source>-<target> of the subjects S1, S2, S3"),
        ({}, ("S1",), "convert.pairs: all pairs of one subject are none"),
        ({"pool": [3]}, SUBJECTS, "convert.pool: 3 sources are asked for, but no subject has more than 2"),
        ({"pairs": ["a-b-c"]}, ("a", "b-c", "a-b", "c"), "'a-b-c' can be read in two ways"),
    ],
)
def test_what_does_not_go_with_the_subjects(options, subjects, expected):
    found = Convert(**options).problems(subjects)
    assert any(expected in line for line in found), found
    assert Convert(pool=[1, 2]).problems(SUBJECTS) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": "procrustes", "alpha": 3}, "procrustes has no alpha; leave that out"),
        ({"method": "hyperalignment", "alpha": 3, "n_voxels": 5}, "has no n_voxels and no alpha"),
        ({"n_voxels": 0}, "n_voxels is a number from 1, or all; got 0"),
        ({"pool": [2, 2]}, "pool repeats: 2, 2"),
        ({"alpha": [1, 0]}, "greater than 0"),
        ({"blocks": []}, "at least 1 item"),
        ({"template": "pair"}, "template is read with method: hyperalignment alone, not with ridge"),
        ({"regularisation": 1, "method": "procrustes"}, "method: optimal_transport alone, not with procrustes"),
        ({"content": {"steps": 3}}, "method: content_loss alone"),
        ({"method": "content_loss", "pool": [1]}, "pool does not go with method: content_loss"),
        ({"files": {"S1-S2": "x"}, "alpha": 3, "average": True}, "so alpha, average has no effect"),
        ({"files_roi": "V1"}, "files_roi is read with files alone"),
        (
            {"weighting": "reliability", "n_voxels": 5},
            "weighting: reliability goes with method: ridge and n_voxels: all",
        ),
        ({"variance": "matched", "method": "procrustes"}, "variance: matched goes with method: ridge.*not with procr"),
        ({"files": {"S1-S2": "x"}, "variance": "matched"}, "so variance has no effect"),
        ({"growth": [300, 600], "samples": 600}, r"growth holds numbers below samples \(600\).*got 600"),
        ({"growth": [300], "method": "hyperalignment"}, "growth does not go with template: all"),
        ({"growth": [300], "files": {"S1-S2": "x"}}, "so growth has no effect"),
    ],
)
def test_options_that_do_not_go_together(options, expected):
    with pytest.raises(ValidationError, match=expected):
        Convert(**options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"average": True}, True),
        ({"weighting": "reliability"}, True),
        ({"average": True, "weighting": "equal"}, False),
        ({"average": True, "n_voxels": 5}, False),
        ({"average": True, "method": "procrustes"}, False),
    ],
)
def test_means_of_repeats_are_weighed_unless_something_else_is_said(options, expected):
    assert Convert(**options).weighs is expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"average": True}, True),
        ({"average": True, "n_voxels": 5}, True),
        ({"variance": "matched"}, True),
        ({"average": True, "variance": "as_fitted"}, False),
        ({"average": True, "method": "procrustes"}, False),
    ],
)
def test_means_of_repeats_are_scaled_up_unless_something_else_is_said(options, expected):
    assert Convert(**options).matches_variance is expected


def test_one_penalty_is_a_list_of_one():
    assert Convert(alpha=3).alpha == (3.0,)
    assert Convert(alpha=[1, 10]).alpha == (1.0, 10.0)


def test_every_pair_has_a_file_or_none_has():
    found = Convert(pairs=["S1-S2", "S2-S1"], files={"S1-S2": "a", "S3-S1": "b"}).problems(SUBJECTS)
    assert "'S3-S1' is no pair that is converted (S1-S2, S2-S1)" in found[0]
    assert "nothing is fitted then; give files of S2-S1 too" in found[1]
    assert Convert(pairs=["S1-S2"], files={"S1-S2": "a"}).problems(SUBJECTS) == []
    assert Convert(pairs=["S1-S2"], files={"S1-S2": "a"}).file_of("S2.from-S1").name == "a"
