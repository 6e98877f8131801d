"""Tiles of `fit` for every combination of options: stages in order, what each depends on, needs above zero."""

from __future__ import annotations

import itertools
import json

import pytest
from pydantic import ValidationError

from hpc_recon import fit
from hpc_recon.core.fit_options import Fit
from hpc_recon.core.tiles import stages
from hpc_recon.decoding import planning
from hpc_recon.stores import shapes

LAYER, UNIT = {"grid": [1.0, 30.0]}, {"grid": [1.0, 30.0], "per": "unit"}
VOXELS = {"grid": [4, 12]}
STAGES = {
    "fixed": ({}, ["statistics", "fit"]),
    "all": ({"n_voxels": "all"}, ["statistics", "maps", "fit"]),
    "voxel grid": ({"n_voxels": VOXELS}, ["statistics", "folds", "choose", "fit"]),
    "alpha grid": ({"alpha": LAYER}, ["statistics", "folds", "choose", "fit"]),
    "per unit": ({"alpha": UNIT}, ["statistics", "folds", "fit"]),
    "voxel grid, per unit": ({"n_voxels": VOXELS, "alpha": UNIT}, ["statistics", "folds", "choose", "fit"]),
    "all, alpha grid": ({"n_voxels": "all", "alpha": LAYER}, ["statistics", "folds", "maps", "choose", "fit"]),
    "all, per unit": ({"n_voxels": "all", "alpha": UNIT}, ["statistics", "folds", "maps", "fit"]),
    "ard": ({"estimator": "ard"}, ["statistics", "fit"]),
    "gradient": ({"estimator": "gradient", "n_voxels": "all"}, ["statistics", "fit"]),
    "gradient, out of fold": (
        {"estimator": "gradient", "n_voxels": "all", "out_of_fold": True},
        ["statistics", "folds", "fit", "out_of_fold"],
    ),
    "all, out of fold, grid": (
        {"n_voxels": "all", "out_of_fold": True, "alpha": LAYER},
        ["statistics", "folds", "maps", "choose", "fit", "choose_inside", "out_of_fold"],
    ),
    "spatial_norm": ({"spatial_norm": "std1"}, ["statistics", "fit"]),
    "out of fold": ({"out_of_fold": True}, ["statistics", "folds", "fit", "out_of_fold"]),
    "out of fold, grid": (
        {"out_of_fold": True, "alpha": LAYER},
        ["statistics", "folds", "choose", "fit", "choose_inside", "out_of_fold"],
    ),
}


def plan(study, **changes):
    section = Fit(**{"n_voxels": 12, "alpha": 5.0, "folds": 3, **changes})
    changed = study.model_copy(update={"fit": section})
    return fit.plan(changed, shapes.read(changed))


def fingerprints(tiles):
    """Return settings and upstream of each group."""
    return {tile.group.key: (json.loads(tile.group.settings), tile.group.upstream) for tile in tiles}


@pytest.fixture
def planned(decodable):
    """Return a function that plans the same study with other options; it is made once for a whole table of them."""
    study, _ = decodable(rois=["VC", "V1"])
    return lambda **changes: plan(study, **changes)


def test_stages_in_order(planned) -> None:
    for name, (options, expected) in STAGES.items():
        tiles = planned(**options)
        found = stages(tiles)
        assert [stage for stage, _ in found] == expected, name
        per_place = {"statistics": 1, "folds": 3, "maps": 4 if "grid" in name or "unit" in name else 1}
        for stage, own in found:
            assert len(own) == 2 * per_place.get(stage, 2), (name, stage)  # two ROIs of two layers
        assert len({tile.id for tile in tiles}) == len(tiles), name
        keys, known = fingerprints(tiles), set()
        for tile in tiles:  # what a group reads was planned before it, or is another verb's
            for key in keys[tile.group.key][1]:
                assert not key.startswith("fit/") or key in known, (name, key)
            known.add(tile.group.key)


def combinations():
    names = (
        "estimator",
        "n_voxels",
        "alpha",
        "penalize_bias",
        "spatial_norm",
        "out_of_fold",
        "decode",
        "statistics_by",
    )
    values = (
        ("ridge", "ard"), (12, "all", VOXELS), (5.0, LAYER, UNIT), (False, True), (None, "norm2"), (False, True),
        (False, True), (None, "session"),
    )  # fmt: skip
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]


def test_every_combination_plans_or_says_why_not(decodable) -> None:
    study, _ = decodable()
    planned, refused = 0, 0
    for options in combinations():
        try:
            Fit(folds=3, **options)
        except ValidationError as error:
            text = str(error)
            refused += 1
            assert (
                (options["estimator"] == "ard" and "estimator: ard sets its own penalties" in text)
                or (options["out_of_fold"] and "out_of_fold is there for estimator: ridge" in text)
                or (options["spatial_norm"] and "spatial_norm needs one number each" in text)
            ), options
            continue
        tiles = plan(study, **options)
        planned += 1
        for tile in tiles:
            need = tile.need
            assert min(need.host_bytes, need.bytes_in, need.bytes_out, need.files_out, need.seconds) > 0, (
                options,
                tile,
            )
        assert all(tile.need.device_bytes > 0 for tile in tiles if tile.stage in ("statistics", "fit"))
    assert planned > 100
    assert refused > 100


def changed_groups(before, after):
    old, new = fingerprints(before), fingerprints(after)
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


LAYERS = {"fit/S1/VC/net/conv", "fit/S1/VC/net/fc"}
BRAIN, FOLDS, MAPS = "fit/S1/VC/_brain", "fit/S1/VC/_folds", "fit/S1/VC/_all_voxels"
HONEST = {"fit/S1/VC/_out_of_fold/net/conv", "fit/S1/VC/_out_of_fold/net/fc"}


#: Options, what is changed in them, and the groups of one ROI that are then others.
CHANGES = [
    ({}, {"n_voxels": 13}, LAYERS),
    ({}, {"alpha": 6.0}, LAYERS),
    ({}, {"penalize_bias": True}, LAYERS),
    ({}, {"decode": True}, LAYERS),
    ({}, {"spatial_norm": "norm1"}, LAYERS),
    ({}, {"estimator": "ard"}, LAYERS),
    ({}, {"samples": {"session": [1.0]}}, {BRAIN}),  # the digest of what is upstream changes all others
    ({}, {"statistics_by": "session"}, {BRAIN}),
    ({}, {"folds": 4}, set()),
    ({}, {"choice_units": 7}, set()),
    ({"estimator": "ard"}, {"ard": {"iterations": 5}}, LAYERS),
    ({"estimator": "ard"}, {"alpha": 7.0}, set()),
    ({"alpha": LAYER}, {"folds": 4}, {FOLDS} | LAYERS),
    ({"alpha": LAYER}, {"choice_units": 7}, LAYERS),
    ({"alpha": LAYER}, {"alpha": UNIT}, LAYERS),
    ({"alpha": LAYER}, {"samples": {"session": [1.0]}}, {BRAIN, FOLDS}),
    ({"n_voxels": "all"}, {"alpha": 6.0}, {MAPS} | LAYERS),
    ({"n_voxels": "all"}, {"penalize_bias": True}, LAYERS),
    ({"n_voxels": "all", "alpha": LAYER}, {"folds": 4}, {FOLDS, MAPS} | LAYERS),
    ({}, {"out_of_fold": True}, {FOLDS} | HONEST),
    ({"out_of_fold": True}, {"folds": 4}, {FOLDS} | HONEST),
    ({"out_of_fold": True}, {"alpha": 6.0}, LAYERS | HONEST),
    ({"out_of_fold": True}, {"decode": True}, LAYERS),
]


def test_fingerprints_change_with_what_matters_only(planned) -> None:
    for base, change, expected in CHANGES:
        found = changed_groups(planned(**base), planned(**{**base, **change}))
        assert {key for key in found if "/V1/" not in key} == expected, (base, change)
        assert {key.replace("/V1/", "/VC/") for key in found if "/V1/" in key} == expected, (base, change)


def test_fingerprints_depend_on_the_units_chosen(decodable) -> None:
    settings = []
    for units in (None, 50, {"every": 2}, {"every": 3}):
        study, _ = decodable(units=units, fit={"n_voxels": 12, "alpha": 5.0})
        tiles = fit.plan(study, shapes.read(study))
        settings += [tile.group.settings for tile in tiles if tile.group.path[-1] == "fc"]
    assert len(set(settings)) == 4


def test_the_test_data_matter_only_while_fitting(decodable) -> None:
    study, _ = decodable()
    single = study.model_copy(update={"decode": study.decode.model_copy(update={"average": False})})
    assert changed_groups(plan(study), plan(single)) == set()
    assert changed_groups(plan(study, decode=True), plan(single, decode=True)) == LAYERS


def test_sizes(decodable) -> None:
    study, _ = decodable(rois=["V1"])
    s = planning.sizes_of(study, shapes.read(study), "S1", "V1")
    assert (s.n_samples, s.n_stimuli) == (72, 33)
    assert s.gram_bytes == 4 * s.n_voxels * (s.n_voxels + 33)
    assert s.sample_bytes == 4 * 72 * s.n_voxels
    assert s.held(5) == 30
    assert s.held(3, 2) == 72  # never more than there are


def test_sums_have_products_where_statistics_have_no_gram_matrix(decodable) -> None:
    study, _ = decodable(data={"repeats": 1, "n_voxels": 5000})
    plain, by = plan(study)[0].need, plan(study, statistics_by="session")[0].need
    assert by.host_bytes - plain.host_bytes >= 3 * 4 * 5000 * 5000


def test_files_of_a_tile_are_counted(decodable, run_verb, tmp_path) -> None:
    """On one shard each: what is projected is what a tile writes."""
    from hpc_recon.core import receipts

    every = (STAGES["fixed"][0], STAGES["per unit"][0], {"decode": True}, STAGES["out of fold, grid"][0])
    for i, options in enumerate(every):
        network = {"architecture": "vgg11_quarter", "layers": ["fc"]}
        study, _ = decodable(
            workspace=str(tmp_path / str(i)), fit={"n_voxels": 12, "folds": 3, **options}, networks={"net": network}
        )
        for tile in run_verb(fit, study):
            found = receipts.parse(receipts.receipt_path(study.workspace, tile)).files
            assert len(found) == tile.need.files_out, tile.id
