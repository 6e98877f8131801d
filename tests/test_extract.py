from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from hpc_recon import extract
from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError, MissingStore, StudyError
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.nets import taps, zoo
from hpc_recon.stores import arrays, images, layout, shapes

LAYERS = ["conv1_1", "conv2_1", "conv3_1"]
NETWORKS = {
    "vgg": {"architecture": "vgg11_quarter", "layers": LAYERS},
    "half": {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "dtype": "float16", "image_size": 24},
    "grey": {"architecture": "pixels_gray", "layers": ["pixels"]},
}
N = 56


@pytest.fixture
def study(make_study) -> Study:
    """56 random stimuli of 16 pixels, with the receipts that `simulate` would have written."""
    made = make_study(networks=NETWORKS)
    pixels = np.random.default_rng(0).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
    labels = tuple(f"s{i:02d}" for i in range(N))
    stimuli = images.Stimuli(pixels, labels, ("training",) * N, ("",) * N, labels)
    group = Group("simulate", ("stimuli",))
    files = images.write_stimuli(made.workspace, stimuli, made_by=group.key)
    receipts.write(made.workspace, Tile(group, "stimuli", 0, 1), files, {})
    write_json(receipts.group_folder(made.workspace, group) / receipts.GROUP_FILE, {"digest": "x"})
    return made


def truth(study: Study, name: str, layer: str, rows: slice) -> np.ndarray:
    """Oracle: all images in one pass."""
    net = zoo.load(study.networks[name], image_size=16)
    pictures = torch.from_numpy(images.read_images(study.workspace, rows).copy()).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return taps.activations(net, pictures, [layer])[layer].flatten(1).numpy()


def test_all_features_are_written_with_their_statistics(study: Study, run_verb):
    tiles = run_verb(extract, study)
    assert len(tiles) == 3 * 2  # three networks of one block each, 48 + 8 stimuli
    sizes = shapes.read(study)
    assert sizes.unit_shape("vgg", "conv2_1") == (32, 8, 8)
    assert sizes.unit_shape("half", "conv1_1") == (16, 24, 24)
    assert sizes.unit_shape("grey", "pixels") == (1, 16, 16)
    assert sizes.made_by("vgg", "conv2_1") == "extract/vgg/conv1_1..conv5_2"
    for name, layer in (("vgg", "conv1_1"), ("vgg", "conv3_1"), ("grey", "pixels")):
        found = arrays.read(study.workspace, layout.features(name, layer))
        np.testing.assert_allclose(found, truth(study, name, layer, slice(0, N)), rtol=1e-5, atol=1e-5)
        norms = arrays.read(study.workspace, layout.norms(name, layer))
        assert norms.shape == (N, 3)
        np.testing.assert_allclose(norms[:, 0], np.linalg.norm(found, axis=1), rtol=1e-5)
    half = arrays.read(study.workspace, layout.features("half", "conv1_1"))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, truth(study, "half", "conv1_1", slice(0, N)), rtol=1e-3, atol=1e-3)


def test_absolute_features_are_stored_exactly_with_their_own_statistics(make_study, study: Study, run_verb):
    networks = {"plain": NETWORKS["vgg"], "absolute": {**NETWORKS["vgg"], "transform": "abs"}}
    both = make_study(networks=networks)
    run_verb(extract, both)
    for layer in LAYERS:
        plain, absolute = (arrays.read(both.workspace, layout.features(name, layer)) for name in networks)
        assert (plain < 0).any()
        np.testing.assert_array_equal(absolute, np.abs(plain))
        norms = arrays.read(both.workspace, layout.norms("absolute", layer))
        maps = absolute.astype(float).reshape(N, *shapes.read(both).unit_shape("absolute", layer))
        spread = maps.reshape(N, len(maps[0]), -1).std(axis=2).mean(axis=1)
        np.testing.assert_allclose(norms[:, 1], spread, rtol=1e-5)


def test_a_file_of_units_is_checked_before_anything_is_extracted(make_study, study: Study, tmp_path: Path):
    np.savez(tmp_path / "units.npz", conv1_1=[0, 4096], conv2_1=[0], conv3_1=[0])
    chosen = {"file": str(tmp_path / "units.npz")}
    wrong = make_study(networks={"vgg": NETWORKS["vgg"]}, units=chosen)
    with pytest.raises(StudyError, match=r"names the unit 4,096 of the layer 'conv1_1', which has 4,096 units"):
        extract.plan(wrong, shapes.read(wrong))
    np.savez(tmp_path / "units.npz", conv1_1=[0, 4095], conv2_1=[0], conv3_1=[0])
    assert extract.plan(wrong, shapes.read(wrong))


def test_a_tile_writes_exactly_the_files_it_projects(study: Study):
    extract.prepare(study)
    for tile in extract.plan(study, shapes.read(study)):
        files = extract.work(study, tile)
        assert len(files) == len(set(files)) == tile.need.files_out
        assert all(path.is_absolute() and path.is_file() for path in files)
        assert tile.need.bytes_out < sum(path.stat().st_size for path in files) * 1.2 + 4096


def test_prepare_twice_keeps_what_is_written(study: Study, run_verb):
    run_verb(extract, study)
    before = arrays.read(study.workspace, layout.features("vgg", "conv1_1"))
    extract.prepare(study)
    np.testing.assert_array_equal(arrays.read(study.workspace, layout.features("vgg", "conv1_1")), before)


def test_settings_name_weights_by_content(study: Study):
    (tile,) = {t.group.path: t for t in extract.plan(study, shapes.read(study)) if t.group.path[0] == "vgg"}.values()
    for part in ('"weights":"random:0"', '"layers":["conv1_1","conv2_1","conv3_1"]', '"preprocessing":"imagenet"'):
        assert part in tile.group.settings
    assert tile.group.upstream == ("simulate/stimuli",)


def test_missing_stimuli_name_their_command(make_study):
    study = make_study(networks=NETWORKS)
    with pytest.raises(MissingStore, match=r"hpc_recon\.simulate"):
        extract.plan(study, shapes.read(study))


def test_unknown_layers_and_missing_weights_stop_the_plan(make_study, study: Study, tmp_path: Path):
    wrong = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_2", "conv9_1"]}}
    with pytest.raises(StudyError) as caught:
        extract.plan(make_study(networks=wrong), shapes.read(study))
    assert len(caught.value.problems) == 2
    absent = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "weights": "absent.pth"}}
    with pytest.raises(StudyError, match=r"absent\.pth cannot be read"):
        extract.plan(make_study(networks=absent), shapes.read(study))


def test_prepare_warns_of_weights_that_are_not_the_published_ones(make_study, study: Study, monkeypatch):
    from hpc_recon.nets import weights

    monkeypatch.setattr(weights, "torchvision_file", lambda network: Path("cached"))
    foreign = {"big": {"architecture": "vgg19", "layers": ["conv1_1"], "weights": "torchvision:DEFAULT"}}
    with pytest.warns(UserWarning, match="not the network of the published studies"):
        extract.prepare(make_study(networks=foreign))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extract.prepare(study)


def test_a_network_that_overflows_writes_nothing(make_study, study: Study, tmp_path: Path):
    state = {
        key: value * 1e30 for key, value in zoo.load(study.networks["vgg"], image_size=16).body.state_dict().items()
    }
    torch.save(state, tmp_path / "huge.pth")
    network = {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv3_1"], "weights": "huge.pth"}
    wrong = make_study(networks={"vgg": network})
    extract.prepare(wrong)
    with pytest.raises(DataError, match=r"values of vgg/conv3_1 are not .*use other weights"):
        extract.work(wrong, extract.plan(wrong, shapes.read(wrong))[0])
    assert not list((wrong.workspace / "features.zarr").rglob("c/0/*"))
