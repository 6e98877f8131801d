"""The tiles of `convert`."""

from __future__ import annotations

import pytest

from hpc_recon.conversion import planning
from hpc_recon.core import memory
from hpc_recon.core.errors import MemoryBudgetError, StudyError
from hpc_recon.core.receipts import group_digests
from hpc_recon.stores import shapes


@pytest.fixture
def plan(with_options):
    def planned(**options):
        study = with_options(**options)
        return planning.tiles(study, shapes.read(study))

    return planned


def test_one_tile_a_pair_and_block_then_what_is_made_with_them(plan):
    tiles = plan(blocks=["V1", "VC"])
    assert [(t.stage, t.group.path[-1]) for t in tiles] == [
        ("converters", "S1.from-S2"),
        ("converters", "S1.from-S2"),
        ("converters", "S2.from-S1"),
        ("converters", "S2.from-S1"),
        ("apply", "S1.from-S2"),
        ("apply", "S2.from-S1"),
        ("pool", "S1.with-1"),
        ("pool", "S2.with-1"),
        ("ceilings", "S1"),
        ("ceilings", "S2"),
        ("scores", "S1.from-S2"),
        ("scores", "S2.from-S1"),
    ]
    assert len({tile.id for tile in tiles}) == len(tiles)
    for tile in tiles:
        assert tile.need.host_bytes > 0
        assert tile.need.seconds > 0


def test_weights_of_reliability_are_in_the_fingerprint_and_equal_ones_are_not(plan):
    def settings(**options):
        return plan(pairs=["S1-S2"], **options)[0].group.settings

    assert settings(average=True, weighting="equal") != settings(average=True)
    assert "weighting" not in settings(average=True, weighting="equal")
    assert settings() == settings(weighting="equal") == settings(variance="as_fitted")
    assert settings(variance="matched") != settings() != settings(average=True, variance="as_fitted")


def test_transport_of_whole_regions_is_refused_where_it_does_not_fit(with_options, monkeypatch):
    """At the size of published subjects: five matrices of 11,726 x 11,114 in float64, and 6,000 samples."""
    study = with_options(method="optimal_transport", alpha="published", pairs=["S1-S2"], pool=[])
    known = shapes.read(study)
    monkeypatch.setattr(type(known), "n_voxels", lambda self, split, roi: 11_726 if split == "S1" else 11_114)
    monkeypatch.setattr(type(known), "n_samples", lambda self, split, dataset: 6000)
    (tile,) = (t for t in planning.tiles(study, known) if t.stage == "converters")
    matrix, samples = 8 * 11_726 * 11_114, 8 * 6000 * (11_726 + 11_114)
    assert 5 * matrix + 2 * samples < tile.need.host_bytes < 6 * matrix + 5 * samples
    memory.require_fit([tile], host_budget=12 * 2**30)
    with pytest.raises(MemoryBudgetError, match=r"S2\.from-S1.*has 6\.0 GiB.*cut its blocks \(convert"):
        memory.require_fit([tile], host_budget=6 * 2**30)


def test_a_curve_has_converters_samples_and_scores_of_its_own(plan):
    tiles = plan(pairs=["S1-S2"], pool=[], growth=[20, 10])
    numbers = ["S2.from-S1", "S2.from-S1.n10", "S2.from-S1.n20"]
    assert [(t.stage, t.group.path[-1]) for t in tiles if t.stage != "ceilings"] == [
        (stage, split) for stage in ("converters", "apply", "scores") for split in numbers
    ]
    whole, few, _ = (t for t in tiles if t.stage == "converters")
    assert few.need.seconds < whole.need.seconds
    assert whole.group.settings == plan(pairs=["S1-S2"])[0].group.settings, "a curve does not disown what was fitted"


def test_only_what_fitted_converters_depend_on_is_in_their_fingerprint(plan):
    def settings(**options):
        return {t.group.path: t.group.settings for t in plan(**options) if t.stage == "converters"}

    assert settings() == settings(areas=["V1", "V2"], pool=[], permutations=500)
    assert settings() != settings(alpha=21)


def test_cross_validation_and_larger_blocks_are_projected_longer(plan):
    def seconds(**options):
        return max(t.need.seconds for t in plan(**options) if t.stage == "converters")

    assert seconds(alpha=[1, 10, 100]) > seconds()
    assert seconds() > seconds(samples=10)


def test_upstream_groups_are_those_that_exist(converted):
    for tile in planning.tiles(converted, shapes.read(converted)):
        for key in tile.group.upstream:
            assert group_digests(converted.workspace, key), key


def test_without_the_section_there_is_nothing_to_convert(simulated):
    study = simulated.model_copy(update={"convert": None})
    with pytest.raises(StudyError, match="has no section `convert:`"):
        planning.tiles(study, shapes.read(study))
