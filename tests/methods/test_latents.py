from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpc_recon.core.errors import DataError
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods import latents
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import zoo

SIZE = 16
GENERATOR = {"generator": "small", "weights": "random:1", "upper": 0.8}


def options(**fields) -> IcnnOptions:
    return IcnnOptions.model_validate({"method": "icnn", "network": "v", **fields})


def net(preprocessing: str = "caffe"):
    described = Network(architecture="vgg11_quarter", layers=("conv1_1",), preprocessing=preprocessing)
    return zoo.load(described, image_size=SIZE)


def make(preprocessing: str = "caffe", **fields):
    return latents.make(options(**fields), net(preprocessing), stimuli=(SIZE, SIZE), device="cpu")


def start(attempt: int = 0, *, name: str = "i0", preprocessing: str = "caffe", seed: int = 0, **fields) -> torch.Tensor:
    mean = np.linspace(0, 1, SIZE * SIZE * 3, dtype=np.float32).reshape(SIZE, SIZE, 3)
    given = Targets((name,), {}, mean, seed)
    flat = make(preprocessing, **fields).start(given, name, options(**fields), attempt)
    return torch.from_numpy(flat)


def image(**fields) -> np.ndarray:
    """The image (H, W, 3) of a start without noise."""
    fields = {"start_noise": 0, **fields}
    flat = start(**fields)
    fields = {key: value for key, value in fields.items() if key not in ("name", "seed")}
    return make(**fields).images(flat[None])[0].permute(1, 2, 0).numpy()


def test_named_starts_of_pixels() -> None:
    np.testing.assert_allclose(image(start="gray"), 0.5, atol=1e-6)
    np.testing.assert_allclose(image(start="zeros"), 0.0, atol=1e-6)
    np.testing.assert_allclose(image()[3, 4], np.linspace(0, 1, 768).reshape(SIZE, SIZE, 3)[3, 4], atol=1e-5)
    levels = image(start="uniform") * 255
    np.testing.assert_allclose(levels, levels.round(), atol=1e-4)
    assert levels.std() == pytest.approx(np.sqrt((256**2 - 1) / 12), rel=0.1)


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ("caffe", (122.67891434 / 255, 116.66876762 / 255, 104.00698793 / 255)),
        ("imagenet", (0.485, 0.456, 0.406)),
        ("none", (0, 0, 0)),
    ],
)
@pytest.mark.parametrize("optimiser", ["lbfgs", "momentum"])
def test_mean_rgb_is_what_the_network_sees_as_zero(preprocessing: str, expected, optimiser: str) -> None:
    found = image(start="mean_rgb", preprocessing=preprocessing, optimiser=optimiser)
    np.testing.assert_allclose(found[5, 6], expected, atol=1e-6)
    seen = net(preprocessing).preprocess(torch.from_numpy(found).permute(2, 0, 1)[None])
    np.testing.assert_allclose(seen.numpy(), 0, atol=1e-4)


def test_momentum_counts_pixels_in_levels_around_the_mean() -> None:
    made = make(optimiser="momentum")
    low, high = made.box
    mean = np.array([122.67891434, 116.66876762, 104.00698793]).repeat(SIZE * SIZE)
    np.testing.assert_allclose(low.numpy(), -mean, rtol=1e-5)
    np.testing.assert_allclose(high.numpy(), 255 - mean, rtol=1e-5)
    np.testing.assert_allclose(made.images(high[None]).numpy(), 1, atol=1e-6)


def test_an_image_file(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (255, 0, 51)).save(tmp_path / "start.png")
    found = image(start_file=tmp_path / "start.png")
    np.testing.assert_allclose(found, np.broadcast_to([1.0, 0.0, 0.2], (SIZE, SIZE, 3)), atol=1e-5)
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(DataError, match=r"bad\.png cannot be read as an image"):
        image(start_file=tmp_path / "bad.png")


def test_starts_of_a_generator_lie_in_the_box(tmp_path: Path) -> None:
    assert not start(latent=GENERATOR).any()
    normal = start(latent=GENERATOR, start="normal").numpy()
    assert (normal.min(), normal.max()) == (0, pytest.approx(0.8))
    assert (normal == 0).mean() == pytest.approx(0.5, abs=0.05)
    np.save(tmp_path / "z.npy", np.linspace(-1, 2, 2048).reshape(32, 8, 8))
    own = start(latent=GENERATOR, start_file=tmp_path / "z.npy").numpy()
    np.testing.assert_allclose(own, np.linspace(-1, 2, 2048).clip(0, 0.8), atol=1e-6)


@pytest.mark.parametrize("values", [np.zeros(5), np.full(2048, np.nan), np.array(["x"] * 2048)])
def test_a_latent_that_does_not_fit(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "z.npy", values)
    with pytest.raises(DataError, match="must hold 2048 finite numbers"):
        start(latent=GENERATOR, start_file=tmp_path / "z.npy")
    with pytest.raises(DataError, match="cannot be read"):
        start(latent=GENERATOR, start_file=tmp_path / "none.npy")


@pytest.mark.parametrize(
    "fields", [{"start_noise": 0.1}, {"start": "uniform"}, {"latent": GENERATOR, "start": "normal"}]
)
def test_randomness_depends_on_seed_name_and_attempt_alone(fields) -> None:
    assert torch.equal(start(**fields), start(**fields))
    for other in (start(1, **fields), start(name="i1", **fields), start(seed=1, **fields)):
        assert not torch.equal(start(**fields), other)


def test_the_training_mean_is_a_start_without_noise_and_later_starts_differ() -> None:
    assert torch.equal(start(), start(name="i1"))
    assert 0.02 < float((start(1) - start()).std()) < 0.06
    assert torch.equal(start(1, start_noise=0), start())


def test_the_smaller_of_stimuli_and_network_input_is_optimised() -> None:
    assert latents.working_size(options(), stimuli=(500, 400), network=(224, 224)) == (224, 224)
    assert latents.working_size(options(), stimuli=(28, 28), network=(112, 112)) == (28, 28)
    assert latents.working_size(options(image_size=64), stimuli=(28, 28), network=(112, 112)) == (64, 64)
