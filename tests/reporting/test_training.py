"""Curves of trained networks on the page."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd

from hpc_recon.reporting import training


def write(folder, start, rows):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, row)) for row in rows]
    (folder / f"losses-{start:08d}.csv").write_text("\n".join(["step,pixel,feature,real", *lines]) + "\n")


def test_parts_are_one_curve_and_the_last_picture_is_shown(tmp_path):
    place = tmp_path / "models" / "e2e" / "S1" / "VC"
    write(place, 0, [[1, 8.0, "", 0.5], [2, 6.0, "", 0.4]])
    write(place, 2, [[3, 4.0, "", 0.3]])
    (place / "examples-00000002.png").write_bytes(b"first")
    (place / "examples-00000003.png").write_bytes(b"last")
    (found,) = training.collect(tmp_path, ["e2e"])
    assert found.name == "e2e/S1/VC"
    assert [panel.alt for panel in found.panels] == [
        "Losses of e2e/S1/VC from step 1 to 3: pixel 8 to 4",
        "Losses of e2e/S1/VC from step 1 to 3: discriminator, stimuli 0.5 to 0.3",
    ]  # what was not computed is not drawn
    uri = "data:image/png;base64,"
    assert found.pictures == tuple((n, uri + base64.b64encode(b).decode()) for n, b in ((2, b"first"), (3, b"last")))
    for n in range(4, 30):
        (place / f"examples-{n:08d}.png").write_bytes(b"more")
    assert [step for step, _ in training.collect(tmp_path, ["e2e"])[0].pictures] == [2, 11, 20, 29]
    assert training.collect(tmp_path / "nothing", ["e2e"]) == []
    assert training.collect(tmp_path, ["renamed"]) == []  # left by an entry that the study has no more
    assert [one.pictures for one in training.collect(tmp_path, ["e2e"], with_pictures=False)] == [()]


def test_losses_of_pictures_are_drawn_over_their_first_value():
    table = pd.DataFrame({"step": [5, 10], "pixel": [4e6, 1e6], "fooled": [0.7, np.nan]})
    pictures, classes = training.curves(table, title="<x>")
    assert pictures.svg.startswith("<svg")
    assert "discriminator" not in classes.svg
    assert "adversarial" in classes.svg
    assert (pictures.title, classes.title) == ("Losses of pictures", "Losses of classes")
    assert "pixel 4e+06 to 1e+06" in pictures.alt


def test_nothing_is_drawn_of_losses_that_do_not_exist():
    assert training.curves(pd.DataFrame({"step": [1, 2]}), title="x") == ()
