"""The files of one image."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_recon import reconstruct
from hpc_recon.core.config import Study
from hpc_recon.stores import layout, shapes


def test_every_image_keeps_its_loss_curve(study: Study, run_verb, decode_truly, truth):
    decode_truly(study)
    run_verb(reconstruct, study)
    path = layout.image_file(study, "images", "S1", "VC", "natural", truth(study, "natural")[0][0])
    record = json.loads(path.with_suffix(".json").read_text())
    assert len(record["losses"]) == 40
    assert record["losses"][-1] < 0.1 * record["losses"][0]
    assert record["item"] == path.stem
    assert record["options"]["iterations"] == 40
    assert path.is_file()


def test_work_returns_the_files_that_it_projects(study: Study, decode_truly):
    decode_truly(study)
    reconstruct.prepare(study)
    for tile in reconstruct.plan(study, shapes.read(study)):
        files = reconstruct.work(study, tile)
        assert len(set(files)) == tile.need.files_out
        assert all(path.is_absolute() and path.is_file() for path in files)


def test_starts_and_snapshots_are_stored_beside_the_images(study: Study, decode_truly, truth, variant):
    from PIL import Image

    own = variant(n_starts=3, keep_starts=True, start="uniform", snapshots=2)
    decode_truly(own)
    reconstruct.prepare(own)
    (tile, *_) = reconstruct.plan(own, shapes.read(own))
    files = reconstruct.work(own, tile)
    assert len(set(files)) == tile.need.files_out == 5
    path = layout.image_file(own, "images", "S1", "VC", "natural", truth(own, "natural")[0][0])
    starts = np.load(path.parent / "starts" / f"{path.stem}.npy")
    record = json.loads(path.with_suffix(".json").read_text())
    best = int(np.argmin(record["start_losses"]))
    np.testing.assert_array_equal(starts[best], np.load(path.with_suffix(".npy")))
    assert starts.shape == (3, 16, 16, 3)
    assert not np.array_equal(starts[0], starts[1])
    assert sum(record["layer_losses"].values()) == pytest.approx(record["start_losses"][best], rel=1e-5)
    with Image.open(path.parent / "snapshots" / f"{path.stem}.webp") as film:
        assert (film.n_frames, film.size) == (4, (32, 16))  # iterations 1, 3, 5 and the last, 6
