"""The verb hands each entry to the module of its method, and makes the recovery checks last."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from hpc_recon import reconstruct, reconstruction
from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Group, Tile

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"n_training": 10},
    "networks": {
        "vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]},
        "raw": {"architecture": "pixels", "layers": ["pixels"]},
    },
    "reconstruct": {
        "one": {"method": "icnn", "network": "vgg"},
        "two": {"method": "pixels", "network": "raw"},
        "three": {"method": "icnn", "network": "vgg", "iterations": 3},
    },
}


class Recorder(ModuleType):
    """A maker that only writes down what it is asked."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.prepared: list[list[str]] = []
        self.worked: list[str] = []

    def plan(self, study: Study, shapes: object, variant: str) -> list[Tile]:
        group = Group("reconstruct", (variant, "S1", "VC", "natural"))
        check = Tile(Group("reconstruct", (variant, "_recovery")), "recovery", 0, 1)
        return [check, Tile(group, "reconstruct", 0, 1)]

    def prepare(self, study: Study, variants: list[str]) -> None:
        self.prepared.append(list(variants))

    def work(self, study: Study, tile: Tile) -> list[object]:
        self.worked.append(tile.group.path[0])
        return []


@pytest.fixture
def makers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorder]:
    found = {}
    for method in ("icnn", "pixels"):
        found[method] = Recorder(f"maker_of_{method}")
        monkeypatch.setitem(sys.modules, found[method].__name__, found[method])
        monkeypatch.setitem(reconstruction.MAKERS, method, found[method].__name__)
    return found


def test_entries_go_to_the_module_of_their_method(make_study, makers):
    study = make_study(CONTENT)
    reconstruct.prepare(study)
    tiles = reconstruct.plan(study, None)
    assert [(t.group.path[0], t.stage) for t in tiles] == [
        ("one", "reconstruct"), ("two", "reconstruct"), ("three", "reconstruct"),
        ("one", "recovery"), ("two", "recovery"), ("three", "recovery"),
    ]  # fmt: skip
    for tile in tiles:
        reconstruct.work(study, tile)
    assert makers["icnn"].prepared == [["one", "three"]]
    assert makers["pixels"].prepared == [["two"]]
    assert makers["icnn"].worked == ["one", "three", "one", "three"]
    assert makers["pixels"].worked == ["two", "two"]
