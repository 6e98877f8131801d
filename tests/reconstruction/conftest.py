"""A tiny study whose decoded features are the true ones, for the tests of `reconstruct` and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hpc_recon import extract
from hpc_recon.core import receipts
from hpc_recon.core.config import Study
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


def _decode_truly(study: Study, *, gain: float = 1.0, offset: float = 0.0, split: str = "S1") -> None:
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
            _finish(study, group, files)


def _finish(study: Study, group: Group, files: list[Path]) -> None:
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
    _finish(made, group, images.write_stimuli(made.workspace, stimuli, made_by=group.key))
    group, files = Group("simulate", ("S1",)), []
    for name in made.datasets:
        shown = tuple(label for label, own in zip(labels, dataset, strict=True) if own == name) * 2
        samples = rng.standard_normal((len(shown), 6)).astype(np.float32)
        files += brain.write_brain(made.workspace, "S1", name, brain.Brain(samples, shown), made_by=group.key)
    _finish(made, group, files)
    run_verb(extract, made)
    return made


def _truth(study: Study, dataset: str) -> tuple[tuple[str, ...], np.ndarray]:
    items = brain.read_items(study, "S1", dataset)
    return items.names, images.read_images(study.workspace, items.rows) / np.float32(255)


def _picture(study: Study, variant: str, dataset: str, name: str) -> np.ndarray:
    path = layout.image_file(study, variant, "S1", "VC", dataset, name)
    return np.load(path.with_suffix(".npy"))


@pytest.fixture
def content() -> dict[str, object]:
    """What the study file holds."""
    return CONTENT


@pytest.fixture
def decode_truly() -> Callable[..., None]:
    """Store true features as decoded ones, or what becomes true by the correction."""
    return _decode_truly


@pytest.fixture
def finish() -> Callable[..., None]:
    """Write the receipt of one group's files."""
    return _finish


@pytest.fixture
def truth() -> Callable[..., tuple[tuple[str, ...], np.ndarray]]:
    """Return names and stimuli of the items of a dataset."""
    return _truth


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """Return the values of one reconstructed image."""
    return _picture


@pytest.fixture
def variant(make_study) -> Callable[..., Study]:
    """Return the study with one variant `images`."""

    def made(**fields) -> Study:
        own = {"method": "icnn", "network": "vgg", "iterations": 6, "recovery": 0, "datasets": ["natural"], **fields}
        return make_study({**CONTENT, "reconstruct": {"images": own}})

    return made
