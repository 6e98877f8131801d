"""Designs on disk: what is read is what was written, or an error."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.stores import rating_design

DESIGN = rating_design.Design(
    name="letters", task="identify", study="tiny", subject="S1", roi="VC", dataset="letters", variants=("deep",),
    images=("a", "b"), seed=3, per_image=None, trials=((0, 0, 1), (1, 0, 1)), pictures="f" * 64,
)  # fmt: skip


def test_a_design_reads_back(tmp_path):
    assert rating_design.write(tmp_path, DESIGN) == rating_design.path_of(tmp_path, "letters")
    assert rating_design.read(tmp_path, "letters") == DESIGN


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"trials": ((0, 0, 1), (1, 1, 0))}, {"images": ("a", "c")}, {"pictures": "0" * 64}]
)
def test_the_digest_tells_designs_apart(change):
    assert dataclasses.replace(DESIGN, **change).digest != DESIGN.digest


def test_an_unknown_set_names_those_there_are(tmp_path):
    rating_design.write(tmp_path, DESIGN)
    for name in ("other", "../letters"):
        with pytest.raises(MissingStore, match="it has letters"):
            rating_design.read(tmp_path, name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:100],
        lambda text: "[]",
        lambda text: text.replace('"seed": 3', '"seed": 5'),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"seed": 3', '"more": 3'),
        lambda text: json.dumps({**json.loads(text), "trials": [[0, 1]]}),
        lambda text: json.dumps({**json.loads(text), "images": None}),
    ],
)
def test_damage_is_told(tmp_path, damage):
    path = rating_design.write(tmp_path, DESIGN)
    path.write_text(damage(path.read_text()))
    with pytest.raises(DamagedStore, match=r"design\.json.*rate"):
        rating_design.read(tmp_path, "letters")
