from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hpc_recon import extract, reconstruct
from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import ChangedStudy, MissingStore
from hpc_recon.core.files import write_json
from hpc_recon.core.sampling import unit_sample
from hpc_recon.core.tiles import Group, Tile, digest
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
    found = [(t.group.path[0], t.group.path[3] if len(t.group.path) > 2 else None, t.start, t.stop) for t in tiles]
    assert found == [
        ("images", "natural", 0, 2), ("images", "natural", 2, 3), ("images", "shapes", 0, 2),
        ("plain", "natural", 0, 1), ("plain", "natural", 1, 2), ("plain", "natural", 2, 3), ("images", None, 0, 2),
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
    options = corrected.reconstruct["images"]
    targets, _ = reconstruct._read_targets(corrected, tile, options, ("S1", "VC", "natural"))
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


def variant(make_study, **fields) -> Study:
    """The study with one variant `images`."""
    own = {"method": "icnn", "network": "vgg", "iterations": 6, "recovery": 0, "datasets": ["natural"], **fields}
    return make_study({**CONTENT, "reconstruct": {"images": own}})


def test_the_recovery_check_says_what_perfect_decoding_would_give(study: Study, run_verb):
    decode_truly(study, gain=2.0, offset=3.0)  # gain and offset belong to a correction that is not asked for: wrong
    run_verb(reconstruct, study)
    names, true = truth(study, "natural")
    folder = study.workspace / "images" / "images" / "_recovery"
    assert sorted(path.name for path in folder.glob("*.json")) == [f"{name}.json" for name in names[:2]]
    for name, image in zip(names[:2], true[:2], strict=True):
        record = json.loads((folder / f"{name}.json").read_text())
        made = np.load(folder / f"{name}.npy")
        expected = np.corrcoef(made.ravel(), image.ravel())[0, 1]
        assert record["pixel_correlation"] == pytest.approx(expected, abs=1e-6)
        assert expected > 0.98
        assert np.corrcoef(picture(study, "images", "natural", name).ravel(), image.ravel())[0, 1] < 0.98


def test_true_features_as_source_need_no_decoding(study: Study, make_study, run_verb):
    own = variant(make_study, source="true", iterations=40, recovery=2)
    tiles = run_verb(reconstruct, own)  # nothing was decoded, and there is nothing to recover
    assert {tile.stage for tile in tiles} == {"reconstruct"}
    for name, image in zip(*truth(own, "natural"), strict=True):
        assert np.corrcoef(picture(own, "images", "natural", name).ravel(), image.ravel())[0, 1] > 0.98


def test_starts_and_snapshots_are_stored_beside_the_images(study: Study, make_study):
    from PIL import Image

    own = variant(make_study, n_starts=3, keep_starts=True, start="uniform", snapshots=2)
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


def test_auto_batches_depend_on_shapes_alone(study: Study, make_study):
    tiles = reconstruct.plan(variant(make_study, images_per_tile="auto"), shapes.read(study))
    assert [(tile.start, tile.stop) for tile in tiles] == [(0, 3)]


def out_of_fold(study: Study, correlation: np.ndarray, layer: str) -> None:
    """Store statistics of out-of-fold predictions as `fit` does."""
    group = Group("fit", ("S1", "VC", "_out_of_fold", "vgg", layer))
    values = np.stack([1 - correlation**2, correlation], axis=1).astype(np.float32)
    ref = layout.out_of_fold("S1", "VC", "vgg", layer, "stats")
    geometry = layout.whole_geometry(*values.shape)
    arrays.create(study.workspace, ref, shape=values.shape, dtype="float32", geometry=geometry, made_by=group.key)
    finish(study, group, arrays.write(study.workspace, ref, (0, 0), values))


@pytest.mark.parametrize("kind", ["residual", "calibrated"])
def test_reliable_units_count_more(study: Study, make_study, kind: str):
    made = make_study(
        {
            **CONTENT,
            "fit": {"out_of_fold": True},
            "reconstruct": {"images": {"method": "icnn", "network": "vgg", "reliability": kind, "iterations": 3}},
        }
    )
    decode_truly(made)
    for layer in LAYERS:
        n = shapes.read(made).n_units("vgg", layer)
        out_of_fold(made, np.linspace(0, 0.9, n), layer)
    reconstruct.prepare(made)
    (tile, *_) = reconstruct.plan(made, shapes.read(made))
    assert "fit/S1/VC/_out_of_fold/vgg/conv1_1" in tile.group.upstream
    options = made.reconstruct["images"]
    targets, _ = reconstruct._read_targets(made, tile, options, ("S1", "VC", "natural"))
    weights = targets.unit_weights["conv1_1"]
    assert (np.diff(weights) >= 0).all()
    assert weights[-1] > weights[len(weights) // 2] > 0
    reconstruct.work(made, tile)


def test_features_of_another_network_are_refused(study: Study, make_study):
    decode_truly(study)
    reconstruct.prepare(study)  # its own network: fine
    networks = {**CONTENT["networks"], "vgg": {**CONTENT["networks"]["vgg"], "weights": "random:7"}}
    other = make_study({**CONTENT, "networks": networks})
    with pytest.raises(ChangedStudy, match=r"conv1_1 were made by another network.*weights was 'random:0' and is"):
        reconstruct.prepare(other)


def test_features_decoded_before_extraction_was_repeated_are_refused(study: Study, make_study, run_verb):
    decode_truly(study)
    key = "decode/S1/VC/vgg/conv1_1"
    made_by = shapes.read(study).made_by("vgg", "conv1_1")
    recorded = {made_by: digest(dict(receipts.group_digests(study.workspace, made_by)))}
    path = study.workspace / "receipts" / key / receipts.GROUP_FILE
    write_json(path, {"digest": "x", "upstream": recorded})
    reconstruct.prepare(study)
    networks = {**CONTENT["networks"], "vgg": {**CONTENT["networks"]["vgg"], "weights": "random:7"}}
    other = make_study({**CONTENT, "networks": networks})
    run_verb(extract, other)
    with pytest.raises(ChangedStudy, match=f"{key} was made from an earlier {made_by}"):
        reconstruct.prepare(other)


def test_a_file_counts_by_its_content(study: Study, make_study, tmp_path: Path):
    settings = []
    for folder, value in (("a", 1), ("b", 1), ("c", 0)):
        (tmp_path / folder).mkdir()
        mask = np.ones((16, 16))
        mask[0] = value
        np.save(tmp_path / folder / "mask.npy", mask)
        own = variant(make_study, masks={"conv1_1": {"file": f"{folder}/mask.npy"}})
        settings.append(reconstruct.plan(own, shapes.read(own))[0].group.settings)
    assert settings[0] == settings[1] != settings[2]


def test_new_options_do_not_disown_older_images(study: Study):
    found = json.loads(reconstruct.plan(study, shapes.read(study))[0].group.settings)["options"]
    assert found == {
        "method": "icnn", "network": "vgg", "images_per_tile": 2, "layers": None, "layer_weights": {}, "iterations": 40,
        "total_variation": 0.0, "image_size": None, "start": "training_mean", "start_noise": 0.0, "smoothness": 1.0,
    }  # fmt: skip


def test_a_method_that_fails_with_true_features_says_so(study: Study, make_study):
    own = variant(make_study, recovery=2, iterations=1, start="uniform")
    reconstruct.prepare(own)
    (tile,) = [tile for tile in reconstruct.plan(own, shapes.read(own)) if tile.stage == "recovery"]
    with pytest.warns(UserWarning, match=r"images: images from true features correlate 0\.\d\d, 0\.\d\d with their"):
        files = reconstruct.work(own, tile)
    assert len(set(files)) == tile.need.files_out == 6


def test_an_image_of_one_colour_correlates_with_nothing():
    flat, noise = np.full((4, 4, 3), 0.5), np.random.default_rng(0).random((4, 4, 3))
    assert reconstruct._correlation(flat, noise) == 0
    assert reconstruct._correlation(noise, noise) == pytest.approx(1)
