"""Which files hold the decoders of others: what is missing or twice is told from names, and plans open one header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon import decode, fit
from hpc_recon.core.errors import DataError
from hpc_recon.exchange import given_decoders
from hpc_recon.formats import decoder_trees
from hpc_recon.formats.decoder_trees import DecoderRows, Scaling
from hpc_recon.stores import shapes

SHAPES = {"conv": (4, 5, 5), "fc": (30,)}
WHERE = ("S1", "VC", "net", "conv")
N_VOXELS, K = 40, 6


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return a folder with decoders of 40 voxels, 6 for each unit."""
    rng = np.random.default_rng(2)
    for layer, shape in SHAPES.items():
        n = int(np.prod(shape))
        voxel = np.sort([rng.choice(N_VOXELS, K, replace=False) for _ in range(n)], axis=1).astype(np.uint32)
        rows = DecoderRows(0, voxel, rng.normal(size=(n, K)).astype("f4"), rng.normal(size=n).astype("f4"))
        folder = tmp_path / "lab" / layer / "S1" / "VC" / "model"
        decoder_trees.write_rows(folder, rows, N_VOXELS, shape)
        decoder_trees.write_scaling(folder, Scaling(*np.ones((2, N_VOXELS)), *np.ones((2, n)), shape))
    return tmp_path / "lab"


def make(decodable, folders="lab", **changes):
    study, _ = decodable(fit={"files": {"net": {"folders": folders}}}, **changes)
    return study, shapes.read(study)


def test_files_are_found_by_channel(decodable, lab) -> None:
    study, sizes = make(decodable)
    found = given_decoders.look(study, sizes, WHERE)
    assert (found.unit_shape, found.inner, found.per_file) == ((4, 5, 5), (1, 5, 5), 25)
    channels = [f"{name}/{c:08d}" for c in range(4) for name in ("W", "b")]
    assert list(found.files) == ["x_mean", "x_norm", "y_mean", "y_norm", *channels]
    found = given_decoders.look(study, sizes, (*WHERE[:3], "fc"))
    assert (found.inner, found.per_file, list(found.files)[4:]) == ((30,), 30, ["W", "b"])


def test_folders_and_files_that_are_missing_or_twice(decodable, lab) -> None:
    study, sizes = make(decodable)
    with pytest.raises(
        DataError, match=r"must lie in one folder, .*conv/S2/VC/model, but there is no such folder; add"
    ):
        given_decoders.look(study, sizes, ("S2", *WHERE[1:]))
    folder = lab / "conv" / "S1" / "VC" / "model"
    (folder / "W" / "00000003.mat").unlink()
    with pytest.raises(DataError, match=r"W and b in .* differ in 1 files \(00000003\.mat\)"):
        given_decoders.look(study, sizes, WHERE)
    (folder / "b" / "00000003.mat").unlink()
    with pytest.raises(DataError, match=r"has 3 files in W, but net/conv has units \(4, 5, 5\), which takes 4"):
        given_decoders.look(study, sizes, WHERE)
    for name in ("y_mean", "y_norm"):
        (folder / f"{name}.mat").unlink()
    with pytest.raises(DataError, match=r"2 of 4 files of statistics are missing in .*: y_mean, y_norm"):
        given_decoders.look(study, sizes, WHERE)
    (lab.parent / "copy" / "fc" / "S1" / "VC" / "model").mkdir(parents=True)
    study, sizes = make(decodable, ["lab", "copy"], workspace=str(lab.parent / "other"))
    with pytest.raises(DataError, match=r"but there are 2 of them; name one"):
        given_decoders.look(study, sizes, (*WHERE[:3], "fc"))


def test_tiles_write_what_they_project(decodable, lab, run_verb) -> None:
    study, sizes = make(decodable)
    planned = fit.plan(study, sizes)
    assert [tile.id for tile in planned] == [
        "fit/S1/VC/_brain/statistics-00000000-00000001",
        *(f"fit/S1/VC/net/{layer}/count-00000000-00000001" for layer in SHAPES),
        *(f"fit/S1/VC/net/{layer}/fit-00000000-{n:08d}" for layer, n in (("conv", 100), ("fc", 30))),
    ]
    assert given_decoders.width(study, sizes, WHERE) == K  # by the header of the first file
    files = {}
    for tile in run_verb(fit, study):
        files[tile.id] = fit.work(study, tile)
    assert {tile.id: tile.need.files_out for tile in planned} == {key: len(set(own)) for key, own in files.items()}
    assert fit.plan(study, sizes) == planned
    assert given_decoders.width(study, sizes, WHERE) == K  # as stored
    tile = next(tile for tile in decode.plan(study, sizes) if tile.stage == "decode")
    assert tile.need.bytes_in == 100 * K * 6 + 100 * 3 * 4 + (6 + 3) * N_VOXELS * 4


def test_a_copied_tree_is_the_same_and_a_changed_file_is_not(decodable, lab, run_verb) -> None:
    study, sizes = make(decodable)
    run_verb(fit, study)
    before = {tile.group.key: tile.group.settings for tile in fit.plan(study, sizes)}
    for path in lab.rglob("*.mat"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert {tile.group.key: tile.group.settings for tile in fit.plan(study, sizes)} == before
    folder = lab / "fc" / "S1" / "VC" / "model"
    decoder_trees.write_scaling(folder, Scaling(*np.ones((2, N_VOXELS)), *np.full((2, 30), 2.0), (30,)))
    after = {tile.group.key: tile.group.settings for tile in fit.plan(study, sizes)}
    assert [key for key in before if before[key] != after[key]] == ["fit/S1/VC/net/fc"]
