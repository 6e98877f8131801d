"""Reference images of a network, through the command that measures them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from hpc_recon import extract
from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.formats import feature_trees
from hpc_recon.nets import reference
from hpc_recon.stores import arrays, layout, shapes, tables

LAYERS = ["conv1_1", "conv2_1", "conv3_1"]
NETWORKS = {"vgg": {"architecture": "vgg11_quarter", "layers": LAYERS}}


def _photos(folder: Path, n: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(n):
        Image.fromarray(rng.integers(256, size=(20, 30, 3), dtype=np.uint8)).save(folder / f"{i:02d}.jpg")
    return folder


def test_reference_images_are_measured_in_tiles_of_their_own(make_study, study: Study, run_verb, tmp_path: Path):
    photos = _photos(tmp_path / "photos", 50)
    given = {**NETWORKS["vgg"], "image_size": 24, "reference": {"folder": str(photos)}}
    other = make_study(networks={"vgg": given})
    tiles = [tile for tile in run_verb(extract, other) if tile.stage == "reference"]
    assert [(tile.group.key, tile.start, tile.stop) for tile in tiles] == [
        ("extract/vgg/_reference", 0, 48),
        ("extract/vgg/_reference", 48, 50),
    ]
    # Oracle: the library's own pass over a folder, with spreads by numpy.
    for layer, expected in reference.folder_statistics(other.networks["vgg"], photos, _spreads).items():
        found = arrays.read(other.workspace, layout.reference("vgg", layer))
        assert found.shape == (50, 3)
        np.testing.assert_allclose(found.mean(axis=0), expected.mean, rtol=1e-5)
    before = tiles[0].group.settings
    Image.new("RGB", (20, 30)).save(photos / "07.jpg")  # another picture under the same name
    changed = [tile for tile in extract.plan(other, shapes.read(other)) if tile.stage == "reference"]
    assert changed[0].group.settings != before


def _spreads(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    maps = values.reshape(len(values), shape[0], -1).astype(float)
    stds = [maps.std(axis=2, ddof=ddof).mean(axis=1) for ddof in (0, 1)]
    return np.stack([np.sqrt((maps**2).sum(axis=(1, 2))), *stds], axis=1)


def test_the_labs_file_becomes_a_table(make_study, study: Study, run_verb, tmp_path: Path):
    channels = np.array([[1.0, 2.0, 6.0]])
    savemat(tmp_path / "std.mat", {"conv1_1": np.array([[54.19]]), "conv2_1": channels, "conv3_1": [[7.0]]})
    network = {**NETWORKS["vgg"], "reference": {"file": "std.mat"}}
    other = make_study(networks={"vgg": network})
    tiles = run_verb(extract, other)
    assert [tile.stage for tile in tiles] == ["extract", "extract", "reference"]
    table = tables.read_checked(other.workspace, layout.reference_table("vgg"))
    assert table["layer"] == LAYERS
    assert table["statistic"] == ["channel_std"] * 3
    assert table["value"] == pytest.approx([54.19, 3.0, 7.0])
    savemat(tmp_path / "std.mat", {"conv1_1": np.array([[54.19]])})
    with pytest.raises(StudyError, match=r"has no statistics of conv2_1, conv3_1; it has conv1_1"):
        extract.plan(other, shapes.read(other))


def test_a_network_known_by_its_features_takes_statistics_from_a_file_alone(
    make_study, study: Study, run_verb, tmp_path: Path
):
    rows = np.random.default_rng(0).normal(size=(56, 5))
    for i, row in enumerate(rows):
        feature_trees.write_feature(tmp_path / "lab", "fc", f"s{i:02d}", row, (5,))
    network = {"architecture": "features", "features": {"folders": "lab"}, "layers": ["fc"]}
    savemat(tmp_path / "std.mat", {"fc": np.array([[2.5]])})
    given = make_study(networks={"net": {**network, "reference": {"file": "std.mat"}}})
    run_verb(extract, given)
    assert tables.read_checked(given.workspace, layout.reference_table("net"))["value"] == [2.5]
    _photos(tmp_path / "photos", 3)
    with pytest.raises(StudyError, match="only known by its features; give a file of statistics"):
        make_study(networks={"net": {**network, "reference": {"folder": "photos"}}})
