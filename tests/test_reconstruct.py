from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hpc_recon import extract, reconstruct
from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.files import write_json
from hpc_recon.core.sampling import unit_sample
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.nets.preprocess import resize
from hpc_recon.stores import arrays, brain, images, layout, shapes

LAYERS = ["conv1_1", "conv2_1"]
CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {
        "training": {"role": "training"},
        "natural": {"role": "test"},
        "shapes": {"role": "test"},
    },
    "simulate": {"image_size": 16, "n_training": 10, "n_natural": 3, "n_shapes": 2, "n_letters": 2, "n_voxels": 50},
    "networks": {
        "vgg": {"architecture": "vgg11_quarter", "layers": LAYERS},
        "raw": {"architecture": "pixels", "layers": ["pixels"]},
    },
    "reconstruct": {
        "images": {"method": "icnn", "network": "vgg", "iterations": 40, "images_per_tile": 2},
        "plain": {"method": "pixels", "network": "raw", "datasets": ["natural"]},
    },
}


def decode_truly(study: Study, *, gain: float = 1.0, offset: float = 0.0, split: str = "S1") -> None:
    """Store true features as decoded ones, or what becomes true by the correction, with receipts as `decode` writes."""
    workspace = study.workspace
    for network, described in study.networks.items():
        name = study.decoded_name(network)
        for layer in described.layers:
            group = Group("decode", (split, "VC", name, layer))
            files = []
            n_all = shapes.read(study).n_units(network, layer)
            mean = np.linspace(-1, 1, n_all).astype(np.float32)
            for dataset in study.test_datasets():
                rows = brain.read_items(study, split, dataset).rows
                true = arrays.read(
                    workspace, layout.features(network, layer), rows, unit_sample(study, network, layer, n_all)
                )
                n_items = len(true)
                centre = mean if study.decode.norm_correction == "train_mean_center" else 0.0
                raw = ((true - centre - offset) / gain + centre).astype(np.float32)
                parts = {
                    "features": raw,
                    "gain": np.full(n_items, gain, np.float32),
                    "offset": np.full(n_items, offset, np.float32),
                }
                for part, values in parts.items():
                    ref = layout.decoded(split, "VC", dataset, name, layer, part)
                    arrays.create(
                        workspace, ref, shape=values.shape, dtype="float32",
                        geometry=layout.whole_geometry(*values.shape), made_by=group.key,
                    )  # fmt: skip
                    files += arrays.write(workspace, ref, [0] * values.ndim, values)
            stats = np.stack([0 * mean, mean, 0 * mean + 1], axis=1)
            ref = layout.decoder(split, "VC", name, layer, "stats")
            arrays.create(
                workspace, ref, shape=stats.shape, dtype="float32",
                geometry=layout.whole_geometry(*stats.shape), made_by=group.key,
            )  # fmt: skip
            files += arrays.write(workspace, ref, (0, 0), stats)
            finish(study, group, files)


def finish(study: Study, group: Group, files: list[Path]) -> None:
    receipts.write(study.workspace, Tile(group, "fake", 0, 1), files, {})
    write_json(receipts.group_folder(study.workspace, group) / receipts.GROUP_FILE, {"digest": "x"})


@pytest.fixture
def study(make_study, run_verb) -> Study:
    """Smooth random stimuli, two brain samples each, with receipts; real features."""
    made = make_study(CONTENT)
    dataset = ("training",) * 10 + ("natural",) * 3 + ("shapes",) * 2
    labels = tuple(f"s{i:02d}" for i in range(len(dataset)))
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((len(dataset), 3, 5, 5), dtype=np.float32))
    smooth = resize(coarse, (16, 16)).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    stimuli = images.Stimuli((smooth * 255).astype(np.uint8), labels, dataset, ("",) * len(dataset), labels)
    group = Group("simulate", ("stimuli",))
    finish(made, group, images.write_stimuli(made.workspace, stimuli, made_by=group.key))
    group, files = Group("simulate", ("S1",)), []
    for name in made.datasets:
        shown = tuple(label for label, own in zip(labels, dataset, strict=True) if own == name) * 2
        samples = rng.standard_normal((len(shown), 6)).astype(np.float32)
        files += brain.write_brain(made.workspace, "S1", name, brain.Brain(samples, shown), made_by=group.key)
    finish(made, group, files)
    run_verb(extract, made)
    return made


def truth(study: Study, dataset: str) -> tuple[tuple[str, ...], np.ndarray]:
    items = brain.read_items(study, "S1", dataset)
    return items.names, images.read_images(study.workspace, items.rows) / np.float32(255)


def picture(study: Study, variant: str, dataset: str, name: str) -> np.ndarray:
    path = layout.image_file(study, variant, "S1", "VC", dataset, name)
    return np.load(path.with_suffix(".npy"))


def test_true_features_become_their_images(study: Study, run_verb):
    decode_truly(study)
    tiles = run_verb(reconstruct, study)
    assert [(t.group.path[0], t.group.path[3], t.start, t.stop) for t in tiles] == [
        ("images", "natural", 0, 2), ("images", "natural", 2, 3), ("images", "shapes", 0, 2),
        ("plain", "natural", 0, 1), ("plain", "natural", 1, 2), ("plain", "natural", 2, 3),
    ]  # fmt: skip
    for dataset in ("natural", "shapes"):
        for name, image in zip(*truth(study, dataset), strict=True):
            made = picture(study, "images", dataset, name)
            assert np.corrcoef(made.ravel(), image.ravel())[0, 1] > 0.98
    for name, image in zip(*truth(study, "natural"), strict=True):
        np.testing.assert_allclose(picture(study, "plain", "natural", name), image, atol=1e-6)


def test_every_image_keeps_its_loss_curve(study: Study, run_verb):
    decode_truly(study)
    run_verb(reconstruct, study)
    path = layout.image_file(study, "images", "S1", "VC", "natural", truth(study, "natural")[0][0])
    record = json.loads(path.with_suffix(".json").read_text())
    assert len(record["losses"]) == 40
    assert record["losses"][-1] < 0.1 * record["losses"][0]
    assert record["item"] == path.stem
    assert record["options"]["iterations"] == 40
    assert path.is_file()


def test_work_returns_the_files_that_it_projects(study: Study):
    decode_truly(study)
    reconstruct.prepare(study)
    for tile in reconstruct.plan(study, shapes.read(study)):
        files = reconstruct.work(study, tile)
        assert len(set(files)) == tile.need.files_out
        assert all(path.is_absolute() and path.is_file() for path in files)


@pytest.mark.parametrize("method", ["channel_std", "train_mean_center"])
def test_the_norm_correction_is_applied(study: Study, make_study, run_verb, method: str):
    corrected = make_study({**CONTENT, "decode": {"norm_correction": method}})
    decode_truly(corrected, gain=2.5, offset=0.25)
    reconstruct.prepare(corrected)
    tile = reconstruct.plan(corrected, shapes.read(corrected))[0]
    targets = reconstruct._read_targets(corrected, tile)
    rows = brain.read_items(corrected, "S1", "natural").rows[:2]
    true = arrays.read(corrected.workspace, layout.features("vgg", "conv2_1"), rows)
    np.testing.assert_allclose(targets.features["conv2_1"], true, atol=1e-5)


def test_a_sample_of_units_is_matched_by_number(study: Study, make_study):
    sampled = make_study({**CONTENT, "units": 1500, "reconstruct": {"images": CONTENT["reconstruct"]["images"]}})
    decode_truly(sampled)
    reconstruct.prepare(sampled)
    for tile in reconstruct.plan(sampled, shapes.read(sampled)):
        reconstruct.work(sampled, tile)
    for name, image in zip(*truth(study, "natural"), strict=True):
        assert np.corrcoef(picture(sampled, "images", "natural", name).ravel(), image.ravel())[0, 1] > 0.9


def test_the_start_is_the_mean_training_image(study: Study):
    reconstruct.prepare(study)
    table = images.read_table(study.workspace)
    rows = np.array([i for i, name in enumerate(table.dataset) if name == "training"])
    expected = (images.read_images(study.workspace, rows) / 255).mean(axis=0)
    path = study.workspace / "starts" / "S1.npy"
    np.testing.assert_allclose(np.load(path), expected, atol=1e-6)
    changed = path.stat().st_mtime_ns
    reconstruct.prepare(study)
    assert path.stat().st_mtime_ns == changed


def test_undecoded_layers_name_the_command(study: Study):
    reconstruct.prepare(study)
    tile = reconstruct.plan(study, shapes.read(study))[0]
    with pytest.raises(MissingStore, match=r"hpc_recon\.decode"):
        reconstruct.work(study, tile)


def test_missing_start_names_the_command(study: Study):
    decode_truly(study)
    tile = reconstruct.plan(study, shapes.read(study))[0]
    with pytest.raises(MissingStore, match=r"hpc_recon\.reconstruct"):
        reconstruct.work(study, tile)


def test_groups_depend_on_the_layers_that_they_read(make_study, study: Study):
    one = make_study(
        {**CONTENT, "reconstruct": {"images": {"method": "icnn", "network": "vgg", "layers": ["conv2_1"]}}}
    )
    (tile, *_) = reconstruct.plan(one, shapes.read(one))
    assert tile.group.upstream == ("simulate/stimuli", "simulate/S1", "decode/S1/VC/vgg/conv2_1")
    (other, *_) = reconstruct.plan(study, shapes.read(study))
    assert tile.group.settings != other.group.settings
