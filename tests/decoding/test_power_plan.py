"""What `power` tries, from labels alone, and what its tiles need."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.decoding import power_plan
from hpc_recon.stores import brain, layout


class Sizes:
    """Sizes of a study whose data are not there."""

    def n_voxels(self, subject: str, roi: str) -> int:
        return 400

    def n_samples(self, subject: str, dataset: str) -> int:
        return 200

    def n_stimuli(self) -> int:
        return 120

    def n_items(self, subject: str, dataset: str) -> int:
        return 20


def test_a_tile_a_draw_and_all_layers_of_a_network_in_it(make_study):
    study = make_study(subjects=["S1", "S2"], power={"draws": 3})
    few, many = (power_plan.tiles(study, Sizes(), {"a": {"x": n, "y": n}}) for n in (100, 10_000))
    assert [tile.stage for tile in few] == [*["draws"] * 6, *["trials"] * 2, *["curves"] * 2]
    assert few[0].group.upstream == ("simulate/S1", "power/features/a")
    assert few[-1].group.upstream == ("power/training/a/S2/VC", "power/trials/a/S2/VC")
    for one, other in zip(few, many, strict=True):
        assert other.need.host_bytes > one.need.host_bytes > 0
        assert other.need.seconds > one.need.seconds > 0


def test_intervals_do_not_disown_what_was_fitted(make_study):
    one, other = (power_plan.tiles(make_study(power={"resamples": n}), Sizes(), {"a": {"x": 9}}) for n in (100, 200))
    same = [a.group == b.group for a, b in zip(one, other, strict=True)]
    assert same == [tile.stage != "curves" for tile in one]


def test_other_active_voxels_disown_what_was_fitted(make_study):
    """Decoders of the draws read only `fit.most_active`; with others, finished draws counted as done."""
    plain, some, others = (
        power_plan.tiles(make_study(fit={"most_active": own}), Sizes(), {"a": {"x": 9}})[0].group.settings
        for own in (None, {"voxels": 40}, {"voxels": 50})
    )
    assert len({plain, some, others}) == 3
    assert "most_active" not in plain


@pytest.fixture
def write(make_study):
    """Return a function that writes samples of some labels, which nobody reads, and columns beside them."""

    def write(labels, study=None, dataset="training", conditions=None, **columns):
        study = study or make_study(power={"folds": 2, "images": [0.5, 1]})
        workspace = layout.workspace_of(study)
        samples = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
        own = brain.Brain(samples, tuple(labels), columns, conditions or {})
        from hpc_recon.core import receipts
        from hpc_recon.core.tiles import Group, Tile

        made_by = f"simulate/S1-{dataset}"
        files = brain.write_brain(workspace, "S1", dataset, own, made_by=made_by)
        receipts.write(workspace, Tile(Group("simulate", (f"S1-{dataset}",)), "brain", 0, 1), files, {})
        return study

    return write


def test_repeats_and_sessions_are_counted_from_labels(write):
    labels = [f"i{n:02d}" for n in range(16) for _ in range(4)]
    study = write(labels, session=[float(n // 16) for n in range(64)])
    found = power_plan.design(study, "S1", "VC")
    assert (found.n_samples, found.n_stimuli) == (64, 16)
    assert found.images == (4, 8)
    assert (found.repeats, found.at_most) == ((1, 2, 3, 4), (1, 2, 3, 4))
    assert found.voxels == (4, 6, 8)
    assert found.session == power_plan.Session("session", 16, 4)
    assert found.n_settings == 9


def test_unequal_repeats_count_by_their_mean_and_gaps_are_no_sessions(write):
    labels = [f"i{n:02d}" for n in range(16) for _ in range(2)] + ["i00"] * 30
    study = write(labels, session=[float("nan"), *[1.0] * 61])
    found = power_plan.design(study, "S1", "VC")
    assert found.at_most == (1, 2, 6, 12, 24, 32)  # one stimulus has more than two: 3 and 4 add less than a tenth
    assert found.repeats == pytest.approx((1, 2, 36 / 16, 42 / 16, 54 / 16, 62 / 16))
    assert found.session == power_plan.Session("", 15, 0)


def test_single_presentations_make_no_curve_of_repeats(write):
    found = power_plan.design(write([f"i{n:02d}" for n in range(16)]), "S1", "VC")
    assert found.repeats == found.at_most == ()
    assert found.curves["repeats"] == ()


def test_too_few_stimuli_are_an_error(write):
    with pytest.raises(DataError, match=r"two training stimuli or more, but S1 has 3; set power\.folds lower"):
        power_plan.design(write(["a", "b", "c"]), "S1", "VC")


def test_trials_are_those_of_stimuli_and_as_many_as_all_have(write):
    labels = [*[f"i{n}" for n in range(5) for _ in range(7)], "i0", "rest"]
    study = write(labels, dataset="natural", conditions={"rest": "nothing"})
    assert power_plan.trials(study, "S1", "natural") == ((1, 2, 3, 4, 6, 7), 5)
    single = write([f"i{n}" for n in range(5)], study, "natural2")
    assert power_plan.trials(single, "S1", "natural2") == ((), 5)
