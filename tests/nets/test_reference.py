from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from hpc_recon.core.errors import DataError
from hpc_recon.core.network_options import Network
from hpc_recon.formats.images import list_images
from hpc_recon.nets import features, reference
from hpc_recon.numerics.corrections import reference_statistics

LAYERS = ("conv1_1", "conv3_1")


def network(**fields) -> Network:
    return Network(architecture="vgg11_quarter", layers=LAYERS, **{"image_size": 16, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(50):  # more than one batch
        Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(tmp_path / f"{i:02d}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def test_statistics_of_a_folder_are_means_over_its_images(folder: Path):
    found = reference.folder_statistics(network(), folder, reference_statistics)
    pictures = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("[0-9]*.png"))])
    assert list(found) == list(LAYERS)
    for layer, (values, shape) in features.compute(network(), LAYERS, pictures=pictures).items():
        # Oracle: the three spreads by numpy.
        maps = values.reshape(50, shape[0], -1).astype(np.float64)
        norms = np.sqrt((maps**2).sum(axis=(1, 2)))
        expected = [norms.mean(), maps.std(axis=2).mean(), maps.std(axis=2, ddof=1).mean()]
        assert found[layer].n_images == 50
        assert found[layer].mean == pytest.approx(expected, rel=1e-5)  # float32 features


def test_images_are_put_on_white_and_resized_whatever_their_aspect(tmp_path: Path):
    half = np.zeros((4, 8, 4), np.uint8)
    half[:, 4:] = (255, 0, 0, 255)
    Image.fromarray(half).save(tmp_path / "x.png")
    found = reference.read_image(tmp_path / "x.png", (8, 8))
    assert found.shape == (8, 8, 3)
    assert (found[:, 0] == 255).all()
    assert (found[:, 7] == (255, 0, 0)).all()
    Image.fromarray(np.full((5, 5), 7, np.uint8)).save(tmp_path / "grey.png")
    assert (reference.read_image(tmp_path / "grey.png", (3, 2)) == np.full((3, 2, 3), 7)).all()


def test_folders_and_images_that_are_wrong_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match="is not a folder"):
        list_images(tmp_path / "none")
    with pytest.raises(DataError, match="has no image"):
        list_images(tmp_path)
    path = tmp_path / "x.png"
    for content in (b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n" + bytes(30)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.png cannot be decoded"):
            reference.read_image(path, (8, 8))
    Image.new("RGB", (40, 40)).save(path)
    for limit in (1000, 500):  # one more is a warning of Pillow's, twice as many an error
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match="too many pixels"):
            reference.read_image(path, (8, 8))
    with pytest.raises(DataError, match="write image_size"):
        next(reference.folder_features(network(image_size=None), tmp_path))


def test_the_labs_standard_deviations_are_read(tmp_path: Path):
    path = tmp_path / "estimated_vgg19_cnn_feat_std.mat"
    savemat(path, {"conv1_1": np.float32([[54.19]]), "fc6": np.float32([[11.587]]), "conv2_1": np.array([[1.0, 3.0]])})
    found = reference.read_std_file(path)
    assert found == {"conv1_1": pytest.approx(54.19), "fc6": pytest.approx(11.587), "conv2_1": 2.0}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"conv1_1": np.array([[np.nan]])}, "conv1_1 must hold positive numbers"),
        ({"conv1_1": np.array([[0.0]])}, "conv1_1 must hold positive numbers"),
        ({"conv1_1": "text"}, "conv1_1 must hold numbers, but is text"),
        ({}, "holds no layer"),
        (b"", "neither a v5 nor a v7.3"),
        (b"garbage" * 40, "neither a v5 nor a v7.3"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n", "version 7.3"),
        (bytes(2**20 + 1), "more than 1048576 bytes"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: dict | bytes, problem: str):
    path = tmp_path / "x.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(DataError, match=problem) as caught:
        reference.read_std_file(path)
    assert "x.mat" in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"none\.mat cannot be read"):
        reference.read_std_file(tmp_path / "none.mat")


def test_mutated_files_of_statistics_never_crash(tmp_path: Path):
    path = tmp_path / "x.mat"
    savemat(path, {"conv1_1": np.float32([[54.19]])})
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for i in range(300):
        content = bytearray(whole)
        content[rng.integers(116, len(whole))] = rng.integers(256)
        path.write_bytes(content[: len(whole) - (i % 3) * int(rng.integers(40))])
        try:
            assert all(value > 0 for value in reference.read_std_file(path).values())
        except DataError:
            refused += 1
    assert refused > 50


def test_images_are_read_at_the_size_of_the_input(folder: Path):
    paths = list_images(folder)[:3]
    found = reference.read_images(network(image_size=24), paths)
    assert found.shape == (3, 24, 24, 3)
    np.testing.assert_array_equal(found[1], reference.read_image(paths[1], (24, 24)))
    with pytest.raises(DataError, match="write image_size"):
        reference.read_images(network(image_size=None), paths)
