"""Choices of a layer, of each unit and inside each fold: against dense cross-validation, and what is warned of."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from hpc_recon import fit
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.sampling import seed_of
from hpc_recon.decoding import choosing, inputs
from hpc_recon.numerics import choice

ALPHAS = [1.0, 30.0, 900.0]


def content(study, *path):
    return json.loads(study.workspace.joinpath("choices", *path).with_suffix(".json").read_text())


def explained(errors, total):
    return 1 - errors.sum(-1) / total.sum()


def test_a_layer_chooses_with_all_voxels(decodable, run_verb, oracle) -> None:
    study, truth = decodable(fit={"n_voxels": "all", "alpha": {"grid": ALPHAS}, "folds": 3})
    run_verb(fit, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    errors, total = oracle.validate(X, Y, codes, dealt=oracle.dealt(study, 24), alphas=ALPHAS)
    found = content(study, "S1", "VC", "net", "fc")
    np.testing.assert_allclose(
        [row["explained_variance"] for row in found["table"]], explained(errors, total), atol=1e-4
    )
    assert found["alpha"] == ALPHAS[int(np.argmax(explained(errors, total)))]
    assert found["n_voxels"] == 40


def test_a_layer_chooses_on_a_sample_of_its_units(decodable, run_verb, oracle, stored) -> None:
    options = {"n_voxels": {"grid": [4, 12]}, "alpha": {"grid": ALPHAS}, "folds": 3, "choice_units": 20}
    study, truth = decodable(fit=options)
    run_verb(fit, study)
    rng = np.random.default_rng(seed_of(study.seed, "choice", "net", "conv"))
    units = np.sort(rng.choice(100, size=20, replace=False))
    X, Y, codes = truth.training("S1", "VC", "conv", units)
    found, scores = content(study, "S1", "VC", "net", "conv"), []
    for k in (4, 12):
        errors, total = oracle.validate(X, Y, codes, dealt=oracle.dealt(study, 24), alphas=ALPHAS, k=k)
        scores += list(explained(errors, total))
    np.testing.assert_allclose([row["explained_variance"] for row in found["table"]], scores, atol=1e-4)
    best = int(np.argmax(scores))
    assert (found["n_voxels"], found["alpha"]) == ((4, 12)[best // 3], ALPHAS[best % 3])
    assert stored(study).decoder("weight", "conv").shape == (100, found["n_voxels"])


@pytest.mark.parametrize("n_voxels", [12, "all"])
def test_each_unit_has_its_own_penalty(decodable, run_verb, oracle, stored, n_voxels) -> None:
    study, truth = decodable(fit={"n_voxels": n_voxels, "alpha": {"grid": ALPHAS, "per": "unit"}, "folds": 3})
    run_verb(fit, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    k = None if n_voxels == "all" else n_voxels
    errors, total = oracle.validate(X, Y, codes, dealt=oracle.dealt(study, 24), alphas=ALPHAS, k=k)
    alpha = stored(study).decoder("alpha")[:, 0]
    expected = np.where(total > 0, np.array(ALPHAS)[errors.argmin(0)], ALPHAS[-1])
    close = np.sort(errors, axis=0)  # units whose two best penalties are as good as equal may take either
    clear = (close[1] - close[0] > 1e-4 * total) | (total == 0)
    assert clear.sum() >= 25
    np.testing.assert_array_equal(alpha[clear], expected[clear])
    assert len(set(alpha)) > 1
    assert alpha[3] == ALPHAS[-1]  # the constant unit
    dense = oracle.ridge(X, Y, codes, alpha=alpha, k=k)
    np.testing.assert_array_equal(stored(study).decoder("voxel"), np.stack(dense.voxel))
    np.testing.assert_allclose(stored(study).decoder("weight"), np.stack(dense.weight), atol=2e-5)


def test_penalties_per_unit_are_those_of_numerics_and_of_one_choice_of_voxels(decodable, run_verb, stored) -> None:
    grids = {"n_voxels": {"grid": [4, 12]}, "alpha": {"grid": ALPHAS, "per": "unit"}, "folds": 3}
    study, truth = decodable(fit=grids)
    run_verb(fit, study)
    _, Y, _ = truth.training("S1", "VC", "fc")
    k = content(study, "S1", "VC", "net", "fc")["n_voxels"]
    expected = choice.choose(inputs.folds(study, "S1", "VC"), Y, n_voxels=[k], alphas=ALPHAS, per="unit")
    np.testing.assert_array_equal(stored(study).decoder("alpha")[:, 0], expected.unit_alpha)
    assert stored(study).decoder("weight").shape == (30, k)


def test_units_at_the_ends_of_the_grid_are_counted(decodable, run_verb, stored, caplog, monkeypatch) -> None:
    """Over all blocks of a tile together; the constant unit chose nothing."""
    monkeypatch.setattr("hpc_recon.numerics.needs.UNITS_AT_ONCE", 8)
    study, _ = decodable(fit={"n_voxels": 12, "alpha": {"grid": [0.25, 1.5], "per": "unit"}, "folds": 3})
    with caplog.at_level(logging.WARNING):
        run_verb(fit, study)
    alpha = np.delete(stored(study).decoder("alpha")[:, 0], 3)
    low, high = int((alpha == 0.25).sum()), int((alpha == 1.5).sum())
    assert low
    assert high
    for side, n, value in (("smallest", low, 0.25), ("largest", high, 1.5)):
        text = f"{n} of 29 units chose the {side} alpha of the grid, {value}; a wider grid may do better"
        assert caplog.text.count(text) == 1
    assert caplog.text.count("units chose the smallest alpha") == 2  # one for each of the two layers


def test_a_layer_at_the_end_of_its_grid_is_warned_of(decodable, run_verb, caplog) -> None:
    study, _ = decodable(fit={"n_voxels": 12, "alpha": {"grid": [1e5, 1e6]}, "folds": 3})
    with caplog.at_level(logging.WARNING):
        run_verb(fit, study)
    assert "the chosen alpha 100000 is the smallest of its grid of 2" in caplog.text


def one_choice(alphas, *, n_units, warnings):
    table = np.zeros((1, 2))
    unit_alpha = np.asarray(alphas, np.float64)
    return choice.Choice(5, 1.0, (5,), (1.0, 9.0), table, table, 3, n_units, tuple(warnings), unit_alpha)


def test_notes_of_blocks_are_added_up() -> None:
    better = "a wider grid may do better"
    null = "no candidate predicts held-out stimuli better than their mean (best: -0.1000)"
    first = one_choice(
        [1, 1, 9, 9], n_units=3, warnings=[f"2 of 3 units chose the smallest alpha of the grid, 1; {better}", "1 of 3"]
    )
    second = one_choice([9, 9], n_units=2, warnings=["2 of 2 units chose the largest alpha of the grid, 9", null])
    constant = one_choice([9, 9], n_units=0, warnings=[])
    assert choosing.notes_of([first, second, constant]) == [
        f"2 of 5 units chose the smallest alpha of the grid, 1; {better}",
        f"3 of 5 units chose the largest alpha of the grid, 9; {better}",
        null,
    ]
    assert choosing.notes_of([constant]) == []


def test_the_choice_inside_a_fold_does_not_see_it(decodable, run_verb, oracle) -> None:
    grids = {"n_voxels": 12, "alpha": {"grid": ALPHAS}, "folds": 3, "out_of_fold": True}
    study, truth = decodable(fit=grids)
    run_verb(fit, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    dealt = oracle.dealt(study, 24)
    found = content(study, "S1", "VC", "_out_of_fold", "net", "fc")
    assert len(found) == 3
    for fold, chosen in enumerate(found):
        others = [i for i in range(3) if i != fold]
        X1, Y1, codes1, _ = oracle.without(X, Y, codes, dealt == fold)
        inner = np.searchsorted(others, dealt[dealt != fold])
        errors, total = oracle.validate(X1, Y1, codes1, dealt=inner, alphas=ALPHAS, k=12)
        got = [row["explained_variance"] for row in chosen["table"]]
        np.testing.assert_allclose(got, explained(errors, total), atol=1e-3)


def test_a_choice_that_was_not_made_names_the_command(decodable) -> None:
    from hpc_recon.stores import shapes

    study, _ = decodable(fit={"n_voxels": 12, "alpha": {"grid": ALPHAS}, "folds": 3, "out_of_fold": True})
    tiles = {tile.stage: tile for tile in fit.plan(study, shapes.read(study))}
    for asked, stage in (
        (lambda group: choosing.chosen(study, group, n_voxels=40), "fit"),
        (lambda group: choosing.chosen_inside(study, group), "out_of_fold"),
    ):
        with pytest.raises(MissingStore, match=r"fc.json does not exist; run `python -m hpc_recon.fit"):
            asked(tiles[stage].group)


def test_a_fixed_setting_needs_no_choice(decodable) -> None:
    from hpc_recon.stores import shapes

    for options, expected in (
        ({"n_voxels": 12, "alpha": 5.0}, (12, 5.0)),
        ({"n_voxels": 500, "alpha": 5.0}, (40, 5.0)),
        ({"n_voxels": "all", "alpha": 5.0}, (40, 5.0)),
        ({"n_voxels": 12, "alpha": {"grid": ALPHAS, "per": "unit"}}, (12, None)),
    ):
        study, _ = decodable(fit=options)
        group = fit.plan(study, shapes.read(study))[-1].group
        assert choosing.chosen(study, group, n_voxels=40) == expected
