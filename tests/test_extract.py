from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from hpc_recon import extract, simulate
from hpc_recon.core.config import Network, Study
from hpc_recon.core.errors import DataError, MissingStore, StudyError
from hpc_recon.nets import taps, zoo
from hpc_recon.stores import arrays, images, layout, shapes

LAYERS = ["conv1_1", "conv2_1", "conv3_1"]
NETWORKS = {
    "vgg": {"architecture": "vgg11_quarter", "layers": LAYERS},
    "half": {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "dtype": "float16", "image_size": 24},
    "grey": {"architecture": "pixels_gray", "layers": ["pixels"]},
}
SIMULATE = {"image_size": 16, "n_training": 50, "n_natural": 2, "n_shapes": 2, "n_letters": 2, "n_voxels": 50}
DATASETS = {
    "training": {"role": "training"},
    "natural": {"role": "test"},
    "shapes": {"role": "test"},
    "letters": {"role": "test"},
}


@pytest.fixture
def study(make_study, run_verb) -> Study:
    made = make_study(networks=NETWORKS, simulate=SIMULATE, datasets=DATASETS)
    run_verb(simulate, made)
    return made


def truth(study: Study, name: str, layer: str, rows: slice) -> np.ndarray:
    """Oracle: all images in one pass."""
    net = zoo.load(study.networks[name], image_size=16)
    pictures = torch.from_numpy(images.read_images(study.workspace, rows).copy()).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return taps.activations(net, pictures, [layer])[layer].flatten(1).numpy()


def test_all_features_are_written_with_their_statistics(study: Study, run_verb):
    tiles = run_verb(extract, study)
    assert len(tiles) == 3 * 2  # three networks of one block each, 56 stimuli
    sizes = shapes.read(study)
    assert sizes.unit_shape("vgg", "conv2_1") == (32, 8, 8)
    assert sizes.unit_shape("half", "conv1_1") == (16, 24, 24)
    assert sizes.unit_shape("grey", "pixels") == (1, 16, 16)
    assert sizes.made_by("vgg", "conv2_1") == "extract/vgg/conv1_1..conv5_2"
    for name, layer in (("vgg", "conv1_1"), ("vgg", "conv3_1"), ("grey", "pixels")):
        found = arrays.read(study.workspace, layout.features(name, layer))
        np.testing.assert_allclose(found, truth(study, name, layer, slice(0, 56)), rtol=1e-5, atol=1e-5)
        norms = arrays.read(study.workspace, layout.norms(name, layer))
        assert norms.shape == (56, 3)
        np.testing.assert_allclose(norms[:, 0], np.linalg.norm(found, axis=1), rtol=1e-5)
    half = arrays.read(study.workspace, layout.features("half", "conv1_1"))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, truth(study, "half", "conv1_1", slice(0, 56)), rtol=1e-3, atol=1e-3)


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


def test_blocks_do_not_depend_on_the_chosen_layers():
    def cut(*layers: str) -> list[extract.Block]:
        return extract.blocks("vgg", Network(architecture="vgg19", layers=layers), image_size=(224, 224))

    everything = cut(*zoo.all_layers(Network(architecture="vgg19", layers=("x",))))
    assert [block.path[1] for block in everything] == [
        "conv1_1..conv1_1", "conv1_2..conv2_1", "conv2_2..conv4_1", "conv4_2..fc8",
    ]  # fmt: skip
    (block,) = cut("conv3_4", "conv2_2")
    assert block == extract.Block("vgg", "conv2_2", "conv4_1", ("conv2_2", "conv3_4"))


def test_a_block_of_vgg19_stays_below_one_gibibyte():
    shapes_of = zoo.structure(Network(architecture="vgg19", layers=("x",)), image_size=224).taps
    network = Network(architecture="vgg19", layers=tuple(shapes_of))
    for block in extract.blocks("vgg", network, image_size=(224, 224)):
        size = sum(48 * 4 * zoo.n_units(shapes_of[layer].unit_shape) for layer in block.chosen)
        assert size <= 2**30


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
        extract.prepare(make_study(networks=foreign, simulate=SIMULATE, datasets=DATASETS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extract.prepare(study)


def test_features_that_are_not_finite_are_refused_with_layer_units_and_count():
    values = np.zeros((3, 100), np.float32)
    values[1, 10:14] = np.nan
    values[2, 40] = np.inf
    with pytest.raises(DataError, match=r"5 of 300 values of vgg/conv1_1 .*units 10 to 40.*use other weights"):
        extract.require_finite(values, layer="vgg/conv1_1", dtype="float32")


def test_features_too_large_for_float16_are_refused_with_the_remedy():
    values = np.zeros((3, 100), np.float32)
    values[0, 7] = 1e5
    with pytest.raises(DataError, match=r"units 7 to 7; they exceed 65504.*dtype: float32"):
        extract.require_finite(values, layer="vgg/conv1_1", dtype="float16")
    extract.require_finite(values, layer="vgg/conv1_1", dtype="float32")


def test_micro_batches_do_not_change_features(study: Study, monkeypatch):
    from hpc_recon.nets import costs

    pictures = images.read_images(study.workspace, slice(0, 5))
    whole = extract.features_of(study.networks["vgg"], LAYERS, pictures)
    monkeypatch.setattr(costs, "MICRO_BATCH_BYTES", 1)
    single = extract.features_of(study.networks["vgg"], LAYERS, pictures)
    for layer in LAYERS:
        np.testing.assert_allclose(single[layer][0], whole[layer][0], rtol=1e-5, atol=1e-5)
