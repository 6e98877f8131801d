"""Files that change behind the back of their receipts: never silently used, and made anew on request.

Each fault is made on a finished study. Then three ways lead back to the bytes of an undisturbed run: the command that
the error names, `--verify`, and, where only a receipt is gone, the same command again.
"""

import json
import re
import shlex

import harness
import pytest

from hpc_recon.core import storage
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.stores import arrays, layout


def weight(roi, layer):
    return layout.decoder("S1", roi, "vgg", layer, "weight")


def voxel(roi, layer):
    return layout.decoder("S1", roi, "vgg", layer, "voxel")


@pytest.fixture(autouse=True)
def _no_memory():
    """This process reads several workspaces of the same paths."""
    yield
    storage.look_again()


def first_shard(workspace, ref):
    return min(path for path in (workspace / ref.path / "c").rglob("*") if path.is_file())


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def garble(path):
    """Make JSON that is none: the first half, then rubbish."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\0\xff{")


def exchange(path, other):
    """Put another shard of equal length there, whole and with sound checksums of its own."""
    content = other.read_bytes()
    assert path.stat().st_size == len(content)
    assert path.read_bytes() != content
    path.write_bytes(content)


def named_command(message):
    """Return the verb and the options of the command that a message names, without the study."""
    found = re.search(r"`python -m hpc_recon\.(\w+) ([^`]*)`", " ".join(message.split()))
    assert found, message
    return found.group(1), tuple(shlex.split(found.group(2).replace("--study <study file>", "")))


def test_a_reader_names_the_shard_and_the_command_that_repairs_it(copy, whole):
    study, workspace = copy
    other = first_shard(workspace, weight("VC", "conv3_1"))
    faults = [
        (weight("V1", "conv1_1"), truncate, "bytes, its receipt says"),
        (voxel("V1", "conv1_1"), empty, "is empty, its receipt says"),
        (weight("V1", "conv3_1"), lambda path: exchange(path, other), "is not the one that was written"),
        (weight("VC", "conv3_1"), flip, "fails its checksum"),
        (voxel("VC", "conv3_1"), lambda path: path.unlink(), "is absent, its receipt says"),
    ]
    commands = set()
    for ref, fault, reason in faults:
        path = first_shard(workspace, ref)
        fault(path)
        with pytest.raises(DamagedStore) as caught:
            arrays.read(workspace, ref)
        assert reason in str(caught.value)
        assert str(path) in str(caught.value)
        commands.add(named_command(str(caught.value)))
    assert {verb for verb, _ in commands} == {"fit"}
    assert len(commands) == 3, "one for each group"
    for verb, options in commands:
        assert harness.run_verb(verb, study, *options) == 0
    for ref, _, _ in faults:
        arrays.read(workspace, ref)
    assert harness.digests(workspace, *harness.STORES) == whole


def test_a_read_that_runs_out_of_memory_is_not_called_damage(decoded, monkeypatch):
    def too_large(*_):
        raise MemoryError("Unable to allocate 3.2 GiB")

    monkeypatch.setattr(arrays, "_load", too_large)
    with pytest.raises(MemoryError, match=r"3\.2 GiB"):
        arrays.read(decoded[0], weight("V1", "conv1_1"))


def test_a_damaged_input_stops_a_run_with_the_command_that_repairs_it(copy, whole, capfd):
    """The same as a user meets it: a tile on a worker reads a torn shard."""
    study, workspace = copy
    truncate(first_shard(workspace, weight("V1", "conv1_1")))
    assert harness.run_verb("decode", study, "--redo", "--only", "*V1/vgg/conv1_1*", processes=True) == 2
    printed = capfd.readouterr().err
    assert "its receipt says" in printed
    assert "Traceback" not in printed
    verb, options = named_command(printed)
    assert verb == "fit"
    assert harness.run_verb(verb, study, *options) == 0
    assert harness.run_verb("decode", study) == 0  # what was discarded before the damage showed
    assert "decode: 2 tiles done" in capfd.readouterr().err
    assert harness.digests(workspace, *harness.STORES) == whole


def test_all_kinds_of_damage_at_once_are_repaired_by_verify(copy, whole, capfd):
    study, workspace = copy
    damaged = {
        "extract": [(truncate, first_shard(workspace, layout.features("vgg", "conv1_1")))],
        "fit": [
            (empty, first_shard(workspace, weight("V1", "conv1_1"))),
            (flip, first_shard(workspace, voxel("VC", "conv3_1"))),
            (garble, next((workspace / "receipts" / "fit" / "S1" / "V1" / "_brain").glob("statistics-*"))),
            (empty, next((workspace / "receipts" / "fit" / "S1" / "VC" / "vgg" / "conv1_1").glob("fit-*"))),
        ],
        "decode": [
            (
                lambda path: path.unlink(),
                first_shard(workspace, layout.decoded("S1", "VC", "natural", "vgg", "conv1_1")),
            ),
        ],
    }
    for fault, path in (one for faults in damaged.values() for one in faults):
        fault(path)
    here, there = (layout.decoded("S1", roi, "natural", "vgg", "conv3_1") for roi in ("V1", "VC"))
    exchange(first_shard(workspace, here), first_shard(workspace, there))
    assert harness.run_verb("pipeline", study, "--through", "decode", "--verify") == 0
    printed = " ".join(capfd.readouterr().err.split())
    assert "extract: 1 of 2 tiles is damaged and computed anew" in printed
    assert "fit: 4 of 6 tiles are damaged and computed anew" in printed
    assert "decode: 2 of 8 tiles are damaged and computed anew" in printed
    assert "has the length that its receipt says, but another checksum" in printed
    assert harness.digests(workspace, *harness.STORES) == whole


def test_verify_repairs_the_selected_tiles_and_refuses_damaged_inputs_of_others(copy, whole, capfd):
    study, workspace = copy
    torn = first_shard(workspace, weight("V1", "conv1_1"))
    truncate(torn)
    flip(first_shard(workspace, layout.decoded("S1", "V1", "natural", "vgg", "conv1_1")))
    select = ("--verify", "--only", "*V1/vgg/conv1_1*")
    assert harness.run_verb("decode", study, *select) == 2
    printed = capfd.readouterr().err
    assert f"{torn} has" in printed
    verb, options = named_command(printed)
    assert (verb, "--verify" in options) == ("fit", True)
    assert harness.run_verb(verb, study, *options) == 0
    assert harness.run_verb("decode", study, *select) == 0
    assert harness.digests(workspace, *harness.STORES) == whole


def test_a_receipt_deleted_emptied_or_garbled_is_named_and_its_tile_computed_again(copy, whole, capfd):
    study, workspace = copy
    refs = [layout.decoded("S1", roi, "natural", "vgg", layer) for roi, layer in (("V1", "conv1_1"), ("VC", "conv1_1"))]
    deleted, emptied, garbled = (
        next((workspace / "receipts" / "decode" / "S1" / roi / "vgg" / layer).glob("decode-*"))
        for roi, layer in (("V1", "conv3_1"), ("V1", "conv1_1"), ("VC", "conv1_1"))
    )
    deleted.unlink()
    empty(emptied)
    garble(garbled)
    with pytest.raises(MissingStore, match="have no receipt"):
        arrays.read(workspace, layout.decoded("S1", "V1", "natural", "vgg", "conv3_1"))
    for ref, receipt in zip(refs, (emptied, garbled), strict=True):
        with pytest.raises(DamagedStore, match="remove it and run its command again") as caught:
            arrays.read(workspace, ref)
        assert str(receipt) in str(caught.value)
        receipt.unlink()
    assert harness.run_verb("decode", study) == 0
    assert "decode: 3 tiles done" in capfd.readouterr().err
    assert harness.digests(workspace, *harness.STORES) == whole


@pytest.mark.parametrize("name", ["group.json", "finished.json"])
def test_a_damaged_file_of_a_group_is_named_with_its_remedy(name, fake_copy, undisturbed):
    study, workspace = fake_copy
    (path,) = (workspace / "receipts").rglob(name)
    garble(path)
    code, printed = harness.attempt(study)
    printed = " ".join(printed.split())
    assert code == 2, printed
    assert f"{path} is damaged" in printed or f"{path}, the receipts of a finished group, is damaged" in printed
    assert "Traceback" not in printed
    for target in (path.parent / other for other in ("group.json", "finished.json")):
        if "remove its folder" in printed or target == path:
            target.unlink()
    harness.complete(study)
    assert harness.outputs(workspace) == undisturbed
    assert json.loads((path.parent / "group.json").read_text())["tiles"] == {"fit": harness.N_TILES}


def test_verify_of_a_compacted_group_computes_the_damaged_tile_alone(fake_copy, undisturbed):
    study, workspace = fake_copy
    assert list((workspace / "receipts").rglob("finished.json"))
    flip(sorted((workspace / "out").glob("*.bin"))[3])
    assert harness.outputs(workspace) != undisturbed
    printed = harness.complete(study, "verify")
    assert "fit: 1 of 8 tiles is damaged and computed anew" in printed
    assert [len(harness.starts(workspace, i)) for i in range(harness.N_TILES)] == [1, 1, 1, 2, 1, 1, 1, 1]
    assert harness.outputs(workspace) == undisturbed
