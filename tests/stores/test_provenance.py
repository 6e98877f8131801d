from __future__ import annotations

from pathlib import Path

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import ChangedStudy
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import digest
from hpc_recon.stores.provenance import Provenance


def group(workspace: Path, key: str, value: str, upstream: tuple[str, ...] = (), **settings) -> None:
    """Write group.json with the present digests of what it reads."""
    found = {name: digest(dict(receipts.group_digests(workspace, name))) for name in upstream}
    content = {"settings": settings, "upstream": found, "digest": value}
    write_json(workspace / "receipts" / key / receipts.GROUP_FILE, content)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    group(tmp_path, "extract/vgg/all", "e1", architecture="vgg19", weights="random:0", dtype="float32", layers=["a"])
    group(tmp_path, "simulate/S1", "s1")
    group(tmp_path, "fit/S1/VC/vgg/a", "f1", ("extract/vgg/all", "simulate/S1"))
    group(tmp_path, "decode/S1/VC/vgg/a", "d1", ("fit/S1/VC/vgg/a",))
    return tmp_path


def test_what_was_made_in_order_is_current(workspace: Path) -> None:
    Provenance(workspace).require_current("decode/S1/VC/vgg/a")


def test_a_distant_change_is_named(workspace: Path) -> None:
    group(workspace, "extract/vgg/all", "e2")
    with pytest.raises(ChangedStudy, match=r"fit/S1/VC/vgg/a was made from an earlier extract/vgg/all.*fit .*--redo"):
        Provenance(workspace).require_current("decode/S1/VC/vgg/a")


def test_a_near_change_is_named(workspace: Path) -> None:
    group(workspace, "fit/S1/VC/vgg/a", "f2", ("extract/vgg/all", "simulate/S1"))
    with pytest.raises(ChangedStudy, match=r"decode/S1/VC/vgg/a was made from an earlier fit/S1/VC/vgg/a"):
        Provenance(workspace).require_current("decode/S1/VC/vgg/a")


def test_what_does_not_exist_is_left_to_its_readers(workspace: Path) -> None:
    Provenance(workspace).require_current("decode/S2")


IDENTITY = {"architecture": "vgg19", "weights": "random:0"}


def test_the_network_of_features(workspace: Path) -> None:
    look = Provenance(workspace)
    look.require_network("extract/vgg/all", IDENTITY, network="vgg", layer="a")
    for changed, message in (
        ({"weights": "random:1"}, "weights was 'random:0' and is 'random:1'"),
        ({"transform": "abs"}, "transform was None and is 'abs'"),
    ):
        with pytest.raises(ChangedStudy, match=message):
            look.require_network("extract/vgg/all", {**IDENTITY, **changed}, network="vgg", layer="a")
    with pytest.raises(ChangedStudy, match="weights was 'random:0' and is None"):
        look.require_network("extract/vgg/all", {"architecture": "vgg19"}, network="vgg", layer="a")


def test_features_from_files_may_be_any_networks_but_not_other_values(workspace: Path) -> None:
    group(workspace, "extract/lab/conv", "e3", files="0f", unit_shape=[2, 3, 4], dtype="float32", transform="none")
    look = Provenance(workspace)
    look.require_network("extract/lab/conv", IDENTITY, network="lab", layer="conv")
    with pytest.raises(ChangedStudy, match="transform was None and is 'abs'"):
        look.require_network("extract/lab/conv", {**IDENTITY, "transform": "abs"}, network="lab", layer="conv")
