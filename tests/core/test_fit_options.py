"""Options of the decoders: what they mean together, and what is refused with a reason."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.errors import StudyError
from hpc_recon.core.fit_options import AlphaGrid, Ard, Fit, VoxelGrid

LAYER, UNIT = {"grid": [1, 30]}, {"grid": [1, 30], "per": "unit"}
VOXELS = {"grid": [4, 12]}


def test_defaults_are_the_published_decoder() -> None:
    fit = Fit()
    assert (fit.estimator, fit.n_voxels, fit.alpha, fit.penalize_bias, fit.spatial_norm) == (
        "ridge", 500, 100.0, False, None,
    )  # fmt: skip
    assert not any((fit.has_grids, fit.per_unit, fit.chooses_per_layer, fit.needs_folds))
    assert fit.samples == {}
    assert fit.statistics_by is None


@pytest.mark.parametrize(
    ("options", "has_grids", "per_unit", "per_layer", "folds"),
    [
        ({}, False, False, False, False),
        ({"n_voxels": "all"}, False, False, False, False),
        ({"n_voxels": VOXELS}, True, False, True, True),
        ({"alpha": LAYER}, True, False, True, True),
        ({"alpha": UNIT}, True, True, False, True),
        ({"n_voxels": VOXELS, "alpha": UNIT}, True, True, True, True),
        ({"n_voxels": "all", "alpha": LAYER}, True, False, True, True),
        ({"n_voxels": "all", "alpha": UNIT}, True, True, False, True),
        ({"out_of_fold": True}, False, False, False, True),
        ({"out_of_fold": True, "n_voxels": "all"}, False, False, False, True),
        ({"estimator": "gradient", "n_voxels": "all"}, False, False, False, False),
        ({"estimator": "ard"}, False, False, False, False),
    ],
    ids=str,
)
def test_what_has_to_be_chosen(options, has_grids, per_unit, per_layer, folds) -> None:
    fit = Fit(**options)
    assert (fit.has_grids, fit.per_unit, fit.chooses_per_layer, fit.needs_folds) == (
        has_grids, per_unit, per_layer, folds,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("n_voxels", "candidates", "most"),
    [(500, (500,), 300), (12, (12,), 12), ("all", (), 300), (VOXELS, (4, 12), 12), ({"grid": [4, 900]}, (4, 900), 300)],
    ids=str,
)
def test_candidates_of_voxels(n_voxels, candidates, most) -> None:
    fit = Fit(n_voxels=n_voxels)
    assert fit.voxel_candidates == candidates
    assert fit.most_voxels(300) == most


@pytest.mark.parametrize(("alpha", "candidates"), [(5, (5.0,)), (LAYER, (1.0, 30.0)), (UNIT, (1.0, 30.0))], ids=str)
def test_candidates_of_penalties(alpha, candidates) -> None:
    assert Fit(alpha=alpha).alpha_candidates == candidates


def test_sections_may_be_given_as_objects() -> None:
    fit = Fit(n_voxels=VoxelGrid(grid=(4, 12)), alpha=AlphaGrid(grid=(1.0, 2.0), per="unit"))
    assert fit == Fit(n_voxels=VOXELS, alpha={"grid": [1, 2], "per": "unit"})
    assert Fit(estimator="ard", ard=Ard(iterations=7)) == Fit(estimator="ard", ard={"iterations": 7})
    with pytest.raises(ValidationError, match="frozen"):
        fit.folds = 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"estimator": "ard", "n_voxels": "all"}, "estimator: ard sets its own penalties"),
        ({"estimator": "ard", "n_voxels": VOXELS}, "estimator: ard sets its own penalties"),
        ({"estimator": "ard", "alpha": LAYER}, "estimator: ard sets its own penalties"),
        ({"estimator": "ard", "spatial_norm": "std1"}, "estimator: ard sets its own penalties"),
        ({"estimator": "ard", "penalize_bias": True}, "estimator: ard sets its own penalties"),
        ({"estimator": "gradient"}, "estimator: gradient trains on every voxel"),
        ({"estimator": "gradient", "n_voxels": "all", "alpha": LAYER}, "estimator: gradient trains on every voxel"),
        ({"estimator": "gradient", "n_voxels": "all", "penalize_bias": True}, "estimator: gradient trains on every"),
        ({"out_of_fold": True, "alpha": UNIT}, "out_of_fold is there for estimator: ridge with one penalty a layer"),
        ({"out_of_fold": True, "estimator": "ard"}, "out_of_fold is there for estimator: ridge with one penalty"),
        ({"spatial_norm": "std1", "n_voxels": "all"}, "spatial_norm needs one number each"),
        ({"spatial_norm": "std1", "alpha": LAYER}, "spatial_norm needs one number each"),
        ({"spatial_norm": "std1", "alpha": UNIT}, "spatial_norm needs one number each"),
        ({"spatial_norm": "std1", "out_of_fold": True}, "spatial_norm needs one number each"),
        ({"out_of_fold": True, "alpha": {"grid": [1, 2]}, "folds": 2}, "folds of 3 or more"),
        ({"spatial_norm": "std1", "n_voxels": 1}, "spatial_norm: std1 has no meaning for n_voxels: 1"),
        ({"ard": {"iterations": 2000}}, "ard holds options of estimator: ard, but the estimator is ridge"),
        ({"gradient": {"epochs": 3}}, "gradient holds options of estimator: gradient, but the estimator is ridge"),
        ({"estimator": "ard", "gradient": {"batch": 9}}, "gradient holds options of estimator: gradient"),
    ],
    ids=str,
)
def test_combinations_that_are_refused_say_why(options, reason) -> None:
    with pytest.raises(ValidationError, match=reason):
        Fit(**options)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"n_voxels": 0}, "n_voxels"),
        ({"n_voxels": "most"}, "n_voxels"),
        ({"n_voxels": {"grid": [5]}}, "n_voxels"),
        ({"n_voxels": {"grid": [5, 6], "per": "unit"}}, "n_voxels"),
        ({"alpha": 0}, "alpha"),
        ({"alpha": "all"}, "alpha"),
        ({"alpha": {"grid": [1, -1]}}, "alpha"),
        ({"alpha": {"grid": [1, 2], "per": "voxel"}}, "alpha"),
        ({"folds": 1}, "folds"),
        ({"choice_units": 0}, "choice_units"),
        ({"spatial_norm": "norm3"}, "spatial_norm"),
        ({"ard": {"iterations": 0}}, "ard.iterations"),
        ({"ard": {"prune_threshold": 1}}, "ard.prune_threshold"),
        ({"ard": {"unknown": 1}}, "ard.unknown"),
        ({"gradient": {"beta2": 1}}, "gradient.beta2"),
        ({"gradient": {"weight_decay": -1}}, "gradient.weight_decay"),
        ({"samples": {"session": []}}, "samples.session"),
        ({"samples": {"a/b": [1]}}, "samples"),
        ({"statistics_by": "a/b"}, "statistics_by"),
        ({"estimator": "lasso"}, "estimator"),
        ({"unknown": 1}, "unknown"),
    ],
    ids=str,
)
def test_values_that_are_refused_name_their_place(options, where) -> None:
    with pytest.raises(ValidationError) as caught:
        Fit(**options)
    places = [".".join(str(part) for part in error["loc"]) for error in caught.value.errors()]
    assert any(place.startswith(where) for place in places)


def test_a_study_file_reports_them_with_its_place(make_study) -> None:
    with pytest.raises(StudyError, match=r"fit.*estimator: ard sets its own penalties"):
        make_study(fit={"estimator": "ard", "alpha": LAYER})
    with pytest.raises(StudyError, match=r"fit\.n_voxels"):
        make_study(fit={"n_voxels": 0})
    study = make_study(fit={"samples": {"session": [1, 2]}, "statistics_by": "session", "spatial_norm": "norm2"})
    assert study.fit.samples == {"session": (1.0, 2.0)}
