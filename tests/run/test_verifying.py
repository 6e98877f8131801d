"""Files of finished tiles, and of what the tiles to do read, compared with their receipts."""

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.run import ledger, verifying

FEATURES = Group("extract", ("net", "conv"))
DECODERS = Group("fit", ("S1", "VC", "net", "conv"), upstream=("extract/net",))


def finish(workspace, tile):
    """Write a tile's file and its receipt."""
    path = workspace / "out" / f"{tile.group.verb}-{tile.name}.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(tile.id.encode())
    receipts.write(workspace, tile, [path], {})
    return path


@pytest.fixture
def done(tmp_path):
    """Three tiles of each of two groups, the second of which reads the first; and their files."""
    plan = [Tile(group, group.verb, i, i + 1) for group in (FEATURES, DECODERS) for i in range(3)]
    files = {}
    for group in (FEATURES, DECODERS):
        members = [tile for tile in plan if tile.group == group]
        ledger.commit(tmp_path, members, ledger.survey(tmp_path, [t for t in plan if t.group == group]))
        files |= {tile.id: finish(tmp_path, tile) for tile in members}
    return tmp_path, plan, files


def test_damaged_tiles_are_found_by_their_bytes(done):
    workspace, plan, files = done
    entries = ledger.survey(workspace, plan)
    assert verifying.damaged_tiles(workspace, plan, entries) == {}
    path = files[plan[4].id]
    path.write_bytes(path.read_bytes()[::-1])
    found = verifying.damaged_tiles(workspace, plan, entries)
    assert list(found) == [plan[4].id]
    assert "another checksum" in found[plan[4].id]
    receipts.remove(workspace, plan[4])
    assert verifying.damaged_tiles(workspace, plan, ledger.survey(workspace, plan)) == {}, "not done, so not damaged"


def test_the_summary_names_the_first_and_counts_the_rest():
    text = verifying.summary({f"t{i}": "is gone" for i in range(7)}, n_tiles=9)
    assert text.startswith("7 of 9 tiles are damaged and computed anew:\n  - t0: is gone\n")
    assert text.endswith("  - and 2 more")


def test_damaged_inputs_are_refused_with_the_command_unless_they_were_looked_at_before(done):
    workspace, plan, files = done
    todo = [tile for tile in plan if tile.group == DECODERS]
    verifying.require_sound_inputs(workspace, todo, verified=set())
    files[plan[0].id].unlink()
    with pytest.raises(DamagedStore) as caught:
        verifying.require_sound_inputs(workspace, todo, verified=set())
    assert "1 tiles of extract/net/conv are damaged" in str(caught.value)
    assert "`python -m hpc_recon.extract --study <study file> --verify --only 'extract/net/conv/'`" in str(caught.value)
    verifying.require_sound_inputs(workspace, todo, verified={"extract/net/conv"})
    verifying.require_sound_inputs(workspace, [], verified=set())
