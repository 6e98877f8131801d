"""The ledger: what counts as done, what changed, what is missing."""

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import ChangedStudy, DamagedStore, MissingStore
from hpc_recon.core.places import Folder
from hpc_recon.core.tiles import Group, Tile, canonical
from hpc_recon.run import ledger


def group(name="a", verb="fit", upstream=(), **settings):
    return Group(verb, tuple(name.split("/")), canonical(settings), upstream)


def tiles(of, n=3, stage="fit"):
    return [Tile(of, stage, i, i + 1) for i in range(n)]


def finish(workspace, todo, plan=None):
    """Compute tiles: commit their groups, write a file and a receipt each."""
    ledger.commit(workspace, todo, ledger.survey(workspace, plan or todo))
    for tile in todo:
        path = workspace / "data" / tile.group.key / tile.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        receipts.write(workspace, tile, [path], {})


def test_tiles_with_receipts_are_done(tmp_path):
    plan = tiles(group(alpha=1))
    entries = ledger.survey(tmp_path, plan)
    assert ledger.missing(plan, entries) == plan
    assert not (tmp_path / "receipts").exists(), "a survey writes nothing"
    finish(tmp_path, plan[:2], plan)
    assert ledger.missing(plan, ledger.survey(tmp_path, plan)) == plan[2:]


def test_changed_settings_name_the_keys_and_values(tmp_path):
    finish(tmp_path, tiles(group(fit={"alpha": 1, "k": 5}, seed=0)))
    entries = ledger.survey(tmp_path, tiles(group(fit={"alpha": 2, "k": 5}, seed=0, more=[1])))
    with pytest.raises(ChangedStudy) as caught:
        ledger.require_unchanged(entries.values(), verb="fit")
    text = str(caught.value)
    assert "fit.alpha: 1 -> 2" in text
    assert "more: 'absent' -> [1]" in text
    assert "seed" not in text
    assert "--redo" in text
    assert "--set workspace=" in text


def test_changed_settings_without_finished_tiles_are_simply_replaced(tmp_path):
    old = tiles(group(alpha=1))
    ledger.commit(tmp_path, old, ledger.survey(tmp_path, old))
    plan = tiles(group(alpha=2))
    entries = ledger.survey(tmp_path, plan)
    ledger.require_unchanged(entries.values(), verb="fit")
    ledger.commit(tmp_path, plan, entries)
    assert receipts.group_fingerprint(tmp_path, "fit/a")["settings"] == {"alpha": 2}


def test_commit_after_a_change_discards_the_old_receipts_and_files(tmp_path):
    finish(tmp_path, tiles(group(alpha=1)))
    array = tmp_path / "data" / "fit" / "a"
    (array / "zarr.json").write_text("{}")
    plan = tiles(group(alpha=2))
    ledger.commit(tmp_path, plan[:1], ledger.survey(tmp_path, plan))
    assert not list(receipts.iterate(tmp_path, "fit"))
    assert not list(array.iterdir()), "its array may have another shape now"


def test_tiles_of_unknown_settings_are_computed_again(tmp_path):
    plan = tiles(group(alpha=1))
    finish(tmp_path, plan)
    (tmp_path / "receipts/fit/a/group.json").unlink()  # as after a run that was stopped at once, in its first tiles
    entries = ledger.survey(tmp_path, tiles(group(alpha=2)))
    ledger.require_unchanged(entries.values(), verb="fit")
    assert ledger.missing(plan, entries) == plan
    ledger.commit(tmp_path, plan[:1], entries)
    assert ledger.missing(plan, ledger.survey(tmp_path, tiles(group(alpha=2)))) == plan, "of those not chosen too"


def test_upstream_on_disk_must_exist_and_its_change_is_noticed(tmp_path):
    below = group("b", "decode", ("fit/a",))
    with pytest.raises(MissingStore, match=r"python -m hpc_recon\.fit"):
        ledger.survey(tmp_path, tiles(below))
    finish(tmp_path, tiles(group("a", alpha=1)))
    finish(tmp_path, tiles(below))
    assert not ledger.survey(tmp_path, tiles(below))["decode/b"].differences()
    finish(tmp_path, tiles(group("a", alpha=2)))
    with pytest.raises(ChangedStudy, match="fit/a was computed anew"):
        ledger.require_unchanged(ledger.survey(tmp_path, tiles(below)).values(), verb="decode")


def test_upstream_without_any_finished_tile_counts_as_missing(tmp_path):
    plan = tiles(group("a"))
    ledger.commit(tmp_path, plan, ledger.survey(tmp_path, plan))
    with pytest.raises(MissingStore, match="nothing is computed yet"):
        ledger.survey(tmp_path, tiles(group("b", "decode", ("fit/a",))))
    ledger.forget_empty(tmp_path, [plan[0].group])
    assert receipts.group_digests(tmp_path, "fit") == {}


def test_upstream_in_the_same_plan_needs_no_receipts_but_selection(tmp_path):
    first, second = group("S1/statistics"), group("S1/layer", upstream=("fit/S1/statistics",))
    plan = [*tiles(first, 1, "statistics"), *tiles(second)]
    entries = ledger.survey(tmp_path, plan)
    ledger.require_inputs(plan, entries)
    with pytest.raises(MissingStore, match="--only fit/S1/statistics"):
        ledger.require_inputs(plan[1:], entries)
    finish(tmp_path, plan[:1], plan)
    ledger.require_inputs(plan[1:], ledger.survey(tmp_path, plan))


def test_a_prefix_upstream_covers_all_groups_below_it(tmp_path):
    finish(tmp_path, tiles(group("S1/x")))
    below = tiles(group("r", "report", ("fit",)))
    finish(tmp_path, below)
    finish(tmp_path, tiles(group("S2/x")))
    assert ledger.survey(tmp_path, below)["report/r"].differences() == ["fit was computed anew"]


def walks(monkeypatch):
    """Return a list that fills with every folder that is listed."""
    seen = []
    real = Folder.walk
    monkeypatch.setattr(Folder, "walk", lambda self, prefix: seen.append(prefix) or real(self, prefix))
    return seen


def test_a_survey_lists_each_verb_once_and_opens_no_receipt(tmp_path, monkeypatch):
    plan = [t for i in range(5) for t in tiles(group(f"S1/l{i}"), 8)]
    finish(tmp_path, plan)
    below = [t for i in range(5) for t in tiles(group(f"S1/l{i}", "decode", (f"fit/S1/l{i}", "fit/S1")), 8)]
    finish(tmp_path, below)
    seen, read = walks(monkeypatch), []
    real = Folder.read_bytes
    monkeypatch.setattr(Folder, "read_bytes", lambda self, name: read.append(name) or real(self, name))
    found = ledger.survey(tmp_path, below)
    assert seen == ["receipts/fit", "receipts/decode"]
    assert all(entry.done == entry.planned for entry in found.values())
    assert sorted(read) == sorted(f"receipts/{verb}/S1/l{i}/group.json" for verb in ("fit", "decode") for i in range(5))


def test_finished_groups_are_compacted_and_count_as_before(tmp_path):
    done, half, few = (tiles(group(name), n) for name, n in (("done", 12), ("half", 12), ("few", 3)))
    plan = [*done, *half, *few]
    finish(tmp_path, [*done, *half[:6], *few], plan)
    before = ledger.survey(tmp_path, plan)
    assert ledger.compact_finished(tmp_path, before) == 1
    files = {path.name for path in (tmp_path / "receipts" / "fit" / "done").iterdir()}
    assert files == {"group.json", "finished.json"}
    assert ledger.survey(tmp_path, plan) == before
    assert ledger.missing(plan, before) == half[6:]
    finish(tmp_path, half[6:], plan)
    assert ledger.compact_finished(tmp_path, before) == 1, "entries may be older than the run"
    assert ledger.missing(plan, ledger.survey(tmp_path, plan)) == []
    # A compacted group is a finished upstream.
    ledger.survey(tmp_path, tiles(group("b", "decode", ("fit/done",))))


def test_tiles_of_a_compacted_group_are_redone(tmp_path):
    plan = tiles(group("a"), 12)
    finish(tmp_path, plan)
    ledger.compact_finished(tmp_path, ledger.survey(tmp_path, plan))
    ledger.redo(tmp_path, plan[4:6])
    assert ledger.missing(plan, ledger.survey(tmp_path, plan)) == plan[4:6]
    ledger.forget_empty(tmp_path, [plan[0].group])
    assert receipts.group_fingerprint(tmp_path, "fit/a") is not None
    finish(tmp_path, plan[4:6], plan)
    assert ledger.missing(plan, ledger.survey(tmp_path, plan)) == []


def test_a_compacted_group_with_other_settings_is_discarded_whole(tmp_path):
    old = tiles(group("a", alpha=1), 12)
    finish(tmp_path, old)
    ledger.compact_finished(tmp_path, ledger.survey(tmp_path, old))
    plan = tiles(group("a", alpha=2), 12)
    entries = ledger.survey(tmp_path, plan)
    with pytest.raises(ChangedStudy, match="12 finished tiles"):
        ledger.require_unchanged(entries.values(), verb="fit")
    ledger.commit(tmp_path, plan, entries)
    assert not list((tmp_path / "data" / "fit" / "a").iterdir())
    assert ledger.missing(plan, ledger.survey(tmp_path, plan)) == plan


def test_a_garbled_finished_group_stops_a_survey_and_its_removal_means_computing_again(tmp_path):
    plan = tiles(group("a"), 12)
    finish(tmp_path, plan)
    ledger.compact_finished(tmp_path, ledger.survey(tmp_path, plan))
    path = tmp_path / "receipts" / "fit" / "a" / "finished.json"
    path.write_text("")
    with pytest.raises(DamagedStore, match=r"finished\.json.* is damaged .*remove it and run"):
        ledger.survey(tmp_path, plan)
    path.unlink()
    assert ledger.missing(plan, ledger.survey(tmp_path, plan)) == plan


def test_an_array_whose_shards_are_shared_with_another_group_is_kept(tmp_path):
    """Discarding a group removes an array's metadata only if no other file is left in it."""
    plan = tiles(group("a", alpha=1))
    finish(tmp_path, plan)
    array = tmp_path / "data" / "fit" / "a"
    (array / "zarr.json").write_text("{}")
    (array / "other-shard").write_bytes(b"x")
    ledger.discard(tmp_path, plan[0].group)
    assert {path.name for path in array.iterdir()} == {"zarr.json", "other-shard"}


def test_a_group_that_is_read_no_more_or_newly_is_said_so():
    from hpc_recon.run.ledger import _difference

    assert (
        _difference("upstream.extract/vgg/_reference", "abc", "absent") == "extract/vgg/_reference is not read any more"
    )
    assert _difference("upstream.extract/vgg/_reference", "absent", "abc").endswith("is read now, and was not")
    assert _difference("upstream.fit/S1", "abc", "def") == "fit/S1 was computed anew"
