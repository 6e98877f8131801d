"""Images of a trained generator: the items, how they are z-scored, scaled and shown, for every dataset."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from hpc_recon import reconstruct, train
from hpc_recon.core.errors import DataError, MissingStore, StudyError
from hpc_recon.methods import display, end_to_end, trainers
from hpc_recon.nets import generators
from hpc_recon.stores import brain, layout, shapes
from hpc_recon.training import models
from hpc_recon.training.models import Model

TRAIN = {
    "e2e": {
        "method": "end_to_end",
        "profile": "tiny",
        "steps": 2,
        "steps_per_tile": 1,
        "batch": 4,
        "log_every": 1,
        "image_size": 40,
        "crop": 36,
        "dense": 16,
        "losses": {"feature": 0, "adversarial": 0},
    }
}
ENTRY = {"method": "end_to_end", "model": "e2e", "network": "net"}


@pytest.fixture
def made(decodable, run_verb):
    study, written = decodable(train=TRAIN, reconstruct={"e2e": {**ENTRY, "display": "both", "images_per_tile": 4}})
    run_verb(train, study)
    run_verb(reconstruct, study)
    return study, written


def image(study, variant, dataset, item):
    path = layout.image_file(study, variant, "S1", "VC", dataset, item)
    record = json.loads(path.with_suffix(".json").read_text())
    return np.load(path.with_suffix(".npy")), np.asarray(Image.open(path)), record


def test_images_are_the_generators_of_scaled_means(made):
    study, written = made
    checkpoint = Model(study, "e2e", "S1", "VC").read(2)
    generator = end_to_end.trained(study.train["e2e"], checkpoint.trainer, n_voxels=40)
    samples = written.brain["S1", "training"][0].astype(np.float64)
    for dataset in ("natural", "shapes"):
        items = brain.read_items(study, "S1", dataset)
        assert set(items.n_averaged) == {2}
        own, rows = written.brain["S1", dataset]
        for i, name in enumerate(items.names):
            mean = own[rows == items.rows[i]].astype(np.float64).mean(axis=0)
            voxels = np.sqrt(2) * (mean - samples.mean(axis=0)) / samples.std(axis=0)
            expected = end_to_end.images_of(generator, voxels.astype(np.float32)[None], crop=36, device="cpu")
            for kind, shown in (("raw", display.raw(expected)), ("stretched", display.stretched(expected))):
                values, picture, record = image(study, f"e2e.{kind}", dataset, name)
                placed = display.placed(shown, image_size=40, stimuli=(16, 16))[0]
                np.testing.assert_allclose(values, placed, atol=2e-4)
                np.testing.assert_array_equal(picture, np.rint(values * 255).astype(np.uint8))
                assert (record["display"], record["step"]) == (kind, 2)
                assert record["factor"] == pytest.approx(np.sqrt(2))


def test_tiles_hold_some_items_and_follow_their_network(made):
    study, _ = made
    tiles = reconstruct.plan(study, shapes.read(study))
    assert [(t.group.path[-1], t.start, t.stop) for t in tiles][:3] == [
        *(("natural", 0, 4), ("natural", 4, 6)),
        ("shapes", 0, 3),
    ]
    assert tiles[0].group.upstream == ("simulate/stimuli", "simulate/S1", "train/e2e/S1/VC")
    longer = study.model_copy(update={"train": {"e2e": study.train["e2e"].model_copy(update={"steps": 3})}})
    other = reconstruct.plan(longer, shapes.read(study))
    assert other[0].group.settings != tiles[0].group.settings  # more steps make other images


def test_single_trials_and_no_rescaling(made, run_verb):
    study, _ = made
    entries = {"plain": study.reconstruct["e2e.raw"].model_copy(update={"rescale": False})}
    decode = study.decode.model_copy(update={"average": False})
    single = study.model_copy(update={"reconstruct": entries, "decode": decode})
    run_verb(reconstruct, single)
    items = brain.read_items(single, "S1", "natural")
    assert len(items.names) == 12
    assert image(single, "plain", "natural", items.names[0])[2]["factor"] == 1.0


def test_a_network_that_was_not_trained_to_its_end_is_named(decodable):
    study, _ = decodable(train=TRAIN, reconstruct={"e2e": ENTRY})
    with pytest.raises(MissingStore, match=r"train/e2e/S1/VC was not trained to step 2; run .*hpc_recon.train"):
        reconstruct.prepare(study)


@pytest.fixture(scope="module")
def published():
    """Return a state dict as converted from a published generator of 40 voxels, its convolutions' biases 0."""
    with torch.device("meta"):
        shapes_of = generators.Generator("end_to_end", n_inputs=40).state_dict()
    drawn = torch.Generator().manual_seed(1)
    return {
        key: torch.zeros(value.shape)
        if key.endswith("bias")
        else torch.empty(value.shape).normal_(0, 0.05, generator=drawn)
        for key, value in shapes_of.items()
    }


def varint(n):
    """A whole number of a protobuf message."""
    return bytes([n]) if n < 128 else bytes([n % 128 + 128]) + varint(n // 128)


def field(number, content):
    """One field of a protobuf message, its length before its content."""
    return varint(8 * number + 2) + varint(len(content)) + content


def write_caffemodel(path, state):
    """Write layers (field 100: name 1, blobs 7) with their blobs (shape 7, data 5), as Caffe does."""
    layers = {}
    for key, value in state.items():
        shape = field(1, b"".join(varint(n) for n in value.shape))
        layers.setdefault(key.rpartition(".")[0], []).append(
            field(7, field(7, shape) + field(5, value.numpy().tobytes()))
        )
    with path.open("wb") as stream:
        for name, blobs in layers.items():
            stream.write(field(100, field(1, name.encode()) + b"".join(blobs)))


@pytest.mark.parametrize("suffix", ["pt", "caffemodel"])
def test_a_published_generator_makes_images(decodable, run_verb, published, tmp_path, suffix):
    path = tmp_path / f"S1.{suffix}"
    if suffix == "pt":
        torch.save(published, path)
    else:
        write_caffemodel(path, published)
    entry = {"method": "end_to_end", "weights": {"S1": str(path)}, "network": "net", "datasets": ["shapes"]}
    study, written = decodable(reconstruct={"published": entry})
    run_verb(reconstruct, study)
    values, _, record = image(study, "published", "shapes", "shapes00")
    assert record["file"] == path.name
    generator = generators.load("end_to_end", path, n_inputs=40)
    samples = written.brain["S1", "training"][0].astype(np.float64)
    item = brain.read_items(study, "S1", "shapes").samples[:1]
    voxels = np.sqrt(2) * (item - samples.mean(axis=0)) / samples.std(axis=0)
    with torch.no_grad():
        output = generator(torch.from_numpy(voxels.astype(np.float32)))[..., 14:241, 14:241]
    rgb = (output[0] + torch.tensor([104.0, 117.0, 123.0]).reshape(3, 1, 1)).flip(0).permute(1, 2, 0).numpy()
    expected = display.placed(display.raw(rgb[None]), image_size=248, stimuli=(16, 16))[0]
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_a_published_generator_of_other_voxels_or_none_is_refused(decodable, run_verb, published, tmp_path):
    path = tmp_path / "S1.pt"
    torch.save({**published, "defc7.weight": torch.zeros(4096, 41)}, path)
    entry = {"method": "end_to_end", "weights": {"S1": str(path)}, "network": "net"}
    study, _ = decodable(reconstruct={"published": entry})
    with pytest.raises(DataError, match=r"defc7.weight is \(4096, 41\), not \(4096, 40\)"):
        run_verb(reconstruct, study)
    study, _ = decodable(reconstruct={"published": {**entry, "weights": {"S1": str(tmp_path / "absent.pt")}}})
    with pytest.raises(StudyError, match=r"absent.pt cannot be read"):
        reconstruct.plan(study, shapes.read(study))
    study, _ = decodable(reconstruct={"published": {**entry, "weights": {"S1": "random:0"}}})
    with pytest.raises(StudyError, match="must be a file of a published generator"):
        reconstruct.prepare(study)


def test_the_scaling_of_a_checkpoint_is_that_of_training(made):
    study, written = made
    scaling = models.scaling_of(trainers.read(Model(study, "e2e", "S1", "VC").checkpoint(1), remedy=""))
    samples = written.brain["S1", "training"][0].astype(np.float64)
    np.testing.assert_allclose(scaling.scale, samples.std(axis=0))
    assert scaling.n_averaged == 1.0
