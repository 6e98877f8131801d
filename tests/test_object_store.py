"""A small study whose arrays and receipts lie in an S3 bucket: the same bytes as in a folder, and damage is found."""

from __future__ import annotations

import importlib
import os
import warnings

import boto3
import numpy as np
import pytest

from hpc_recon import status
from hpc_recon.core import objects, receipts, storage
from hpc_recon.core.errors import DamagedStore, MissingStore, StoreUnreachable
from hpc_recon.core.places import Bound, Storage
from hpc_recon.run import ledger
from hpc_recon.stores import arrays, brain, images, layout, shapes

VERBS = ("simulate", "extract", "fit", "decode")
STUDY = {
    "name": "tiny",
    "subjects": ["S1"],
    "rois": ["VC", "V1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 60, "n_natural": 4, "n_voxels": 60},
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 10, "alpha": 5.0},
}


def compute(study, verbs=VERBS, *, redo=False) -> dict[str, int]:
    """Run verbs as the controller does, without a cluster; return how many tiles each computed."""
    storage.bind(study.workspace, study.arrays)
    computed = {}
    for name in verbs:
        verb = importlib.import_module(f"hpc_recon.{name}")
        tiles = verb.plan(study, shapes.read(study))
        entries = ledger.survey(study.workspace, tiles)
        todo = tiles if redo else ledger.missing(tiles, entries)
        ledger.commit(study.workspace, todo, entries)
        if redo:
            ledger.redo(study.workspace, todo)
        verb.prepare(study)
        for tile in todo:
            receipts.remove(study.workspace, tile)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # few samples: what tiles warn of, others test
                files = verb.work(study, tile)
            receipts.write(study.workspace, tile, files, {"seconds": 1.0})
        ledger.compact_finished(study.workspace, entries)
        computed[name] = len(todo)
    return computed


def zarr_files(place: Storage) -> dict[str, bytes]:
    """Return the bytes of every file of every zarr hierarchy, by name."""
    _, folders = place.listing("")
    names = [name for folder in folders if folder.endswith(".zarr") for name in place.walk(folder)]
    return place.read_many(names)


@pytest.fixture
def planned(make_study, tmp_path, bucket, monkeypatch):
    """The study with `arrays:` in a bucket; groups of two tiles are compacted already."""
    monkeypatch.setattr(receipts, "FEWEST", 2)
    return make_study(STUDY, arrays=f"{bucket}/studies/tiny", workspace=str(tmp_path / "remote"))


@pytest.fixture
def remote(planned):
    """The study with features computed."""
    compute(planned, VERBS[:2])
    return planned


def client():
    return boto3.client("s3", region_name="us-east-1", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def locate(study, name: str) -> dict[str, str]:
    """Return bucket and key of a file, for boto3: what another program, or a fault, would change."""
    url = storage.of(study.workspace).where(name)
    bucket_name, _, key = url.removeprefix("s3://").partition("/")
    return {"Bucket": bucket_name, "Key": key}


def a_shard(study) -> str:
    """Return the name of a shard of the features."""
    return next(name for name in storage.of(study.workspace).walk("features.zarr") if "/c/" in name)


def test_the_stores_are_byte_identical_to_those_in_a_folder(planned, make_study, tmp_path):
    remote = planned
    compute(remote)
    local = make_study(STUDY, workspace=str(tmp_path / "local"))
    compute(local)
    here, there = storage.of(local.workspace), storage.of(remote.workspace)
    assert isinstance(there, Bound)
    files = zarr_files(here)
    assert len(files) > 25
    assert zarr_files(there.arrays) == files
    assert {p.name for p in remote.workspace.iterdir()} == {"arrays.json", "brain_statistics"}
    # And the receipts say the same, files that stayed in the folder included.
    assert receipts.records(remote.workspace, "fit") == receipts.records(local.workspace, "fit")
    assert any(name.startswith("brain_statistics/") for name in receipts.records(remote.workspace, "fit"))
    assert brain.read_roi(remote.workspace, "S1", "V1").sum() == brain.read_roi(local.workspace, "S1", "V1").sum()
    assert images.read_table(remote.workspace) == images.read_table(local.workspace)


def test_a_second_run_computes_nothing_and_a_group_that_is_redone_comes_back_the_same(remote):
    assert compute(remote, VERBS[:2]) == dict.fromkeys(VERBS[:2], 0)
    before = zarr_files(storage.of(remote.workspace).arrays)
    assert compute(remote, ("extract",), redo=True)["extract"] > 1
    assert zarr_files(storage.of(remote.workspace).arrays) == before


def _truncate(where):
    body = client().get_object(**where)["Body"].read()
    client().put_object(**where, Body=body[:-7])


def _empty(where):
    client().put_object(**where, Body=b"")


def _flip(where):
    body = bytearray(client().get_object(**where)["Body"].read())
    body[len(body) // 3] ^= 16
    client().put_object(**where, Body=bytes(body))


def _delete(where):
    client().delete_object(**where)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(_delete, "is absent"), (_truncate, "has .* bytes"), (_empty, "is empty"), (_flip, "fails its checksum")],
)
def test_a_changed_object_is_damage_and_redo_repairs_it(remote, harm, reason, capsys):
    ref, shard = layout.features("pixels", "pixels"), a_shard(remote)
    before = storage.of(remote.workspace).read_bytes(shard)
    sound = arrays.read(remote.workspace, ref)
    harm(locate(remote, shard))
    with pytest.raises(DamagedStore, match=reason) as caught:
        arrays.read(remote.workspace, ref)
    assert f"s3://{locate(remote, shard)['Bucket']}/studies/tiny/features.zarr" in str(caught.value)
    study_file = str(remote.workspace.parent / "study.yaml")
    assert status.main(["--study", study_file, "--verify", "--checksums"]) == 1
    printed = capsys.readouterr().out
    assert "1 of " in printed
    assert shard in printed
    compute(remote, ("extract",), redo=True)
    assert storage.of(remote.workspace).read_bytes(shard) == before
    np.testing.assert_array_equal(arrays.read(remote.workspace, ref), sound)
    assert status.main(["--study", study_file, "--verify", "--checksums"]) == 0


def test_lost_receipts_are_missing_tiles(remote):
    finished = [
        name for name in storage.of(remote.workspace).walk("receipts/extract") if name.endswith("finished.json")
    ]
    assert finished, "the group of extract was not compacted"
    _delete(locate(remote, finished[0]))
    with pytest.raises(MissingStore, match="have no receipt"):
        arrays.read(remote.workspace, layout.features("pixels", "pixels"))
    assert compute(remote, VERBS[:2])["extract"] > 1


def test_lost_metadata_are_missing(remote):
    _delete(locate(remote, "features.zarr/pixels/pixels/zarr.json"))
    with pytest.raises(MissingStore, match=r"features\.zarr/pixels/pixels does not exist in s3://"):
        arrays.read(remote.workspace, layout.features("pixels", "pixels"))


def test_no_secret_is_written(remote, capsys):
    assert status.main(["--study", str(remote.workspace.parent / "study.yaml")]) == 0
    place = storage.of(remote.workspace)
    written = [p.read_bytes() for p in remote.workspace.rglob("*") if p.is_file()]
    written += place.read_many([*place.walk("receipts"), *place.walk("features.zarr")]).values()
    written.append(capsys.readouterr().out.encode())
    for secret in (b"secret-of-the-test", b"key-of-the-test"):
        assert not any(secret in content for content in written)


def test_a_store_that_does_not_answer_is_named_without_its_secrets(remote, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hidden-token@127.0.0.1:9")
    monkeypatch.setitem(objects.RETRIES, "max_retries", 0)
    storage.look_again()
    for ask in (
        lambda: arrays.read(remote.workspace, layout.features("pixels", "pixels")),
        lambda: receipts.records(remote.workspace, "extract"),
        lambda: storage.bind(remote.workspace, remote.arrays),
        lambda: storage.of(remote.workspace).write_atomic("receipts/x", b""),
    ):
        with pytest.raises(StoreUnreachable, match=r"the object store s3://.* cannot be used") as caught:
            ask()
        assert "hidden-token" not in str(caught.value)
        assert caught.value.__suppress_context__, "a traceback would show the store's own message"


def test_a_bucket_that_does_not_exist_is_named_before_anything_is_written(make_study, bucket, tmp_path):
    study = make_study(STUDY, arrays=f"{bucket}-other/x", workspace=str(tmp_path / "ws"))
    with pytest.raises(StoreUnreachable, match="bucket"):
        storage.bind(study.workspace, study.arrays)
    assert not (study.workspace / storage.MARKER).exists()
