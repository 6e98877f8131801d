"""Networks on a CUDA device: features, images, training and rendering are those of the CPU within rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hpc_recon.core.latent_options import LatentGenerator
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.methods import icnn, trainers
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import devices, features, latent_generators

pytestmark = pytest.mark.gpu

LAYERS = ("conv1_1", "conv3_1")
NETWORK = Network(architecture="vgg11_quarter", layers=LAYERS)


@pytest.fixture
def device() -> str:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device: torch.cuda.is_available() is False")
    return "cuda"


@pytest.fixture
def pictures() -> np.ndarray:
    coarse = torch.from_numpy(np.random.default_rng(0).random((3, 3, 6, 6), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (48, 48), mode="bicubic").clamp(0, 1)
    return (255 * smooth.permute(0, 2, 3, 1).numpy()).astype(np.uint8)


def on_cpu(pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    with monkeypatch.context() as patch:
        patch.setenv(devices.VARIABLE, "numpy")
        return {layer: values for layer, (values, _) in features.compute(NETWORK, LAYERS, pictures=pictures).items()}


def test_features(device, pictures, monkeypatch) -> None:
    assert devices.choose() == device
    host = on_cpu(pictures, monkeypatch)
    there = features.compute(NETWORK, LAYERS, pictures=pictures)
    for layer in LAYERS:
        scale = host[layer].std()
        np.testing.assert_allclose(there[layer][0] / scale, host[layer] / scale, rtol=0, atol=1e-4)
    again = features.compute(NETWORK, LAYERS, pictures=pictures)
    assert all(np.array_equal(again[layer][0], there[layer][0]) for layer in LAYERS), "not the same twice"


@pytest.mark.parametrize(
    ("more", "least"),
    [({}, 0.999), ({"channels_last": True}, 0.999), ({"precision": "bfloat16", "channels_last": True}, 0.98)],
)
def test_images(device, pictures, monkeypatch, more, least) -> None:
    wanted = on_cpu(pictures, monkeypatch)
    start = np.full((48, 48, 3), 0.5, np.float32)
    targets = Targets(names=("a", "b", "c"), features=wanted, start=start)

    def made(where: str, **fields) -> np.ndarray:
        options = IcnnOptions(method="icnn", network="v", iterations=30, **fields)
        with devices.settings(2**20):
            return icnn.reconstruct(targets, options, network=NETWORK, device=where).images

    host, there = made("cpu"), made(device, **more)
    for one, other in zip(there, host, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > least


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_goes_on_to_the_very_bits(device, tmp_path: Path, precision) -> None:
    options = EndToEndTraining(
        method="end_to_end",
        profile="tiny",
        image_size=40,
        crop=36,
        dense=16,
        width=0.0625,
        batch=4,
        precision=precision,
    )
    rng = np.random.default_rng(0)
    batches = [
        {
            "voxels": rng.standard_normal((4, 12)).astype(np.float32),
            "images": (255 * rng.random((4, 3, 36, 36))).astype(np.float32),
        }
        for _ in range(6)
    ]

    def trained(trainer: trainers.Trainer, steps: slice) -> dict[str, torch.Tensor]:
        for batch in batches[steps]:
            trainer.step(batch)
        return {name: value.cpu().clone() for name, value in trainer.state()["generator"].items()}

    with devices.settings(2**20), trainers.own_randomness(device):
        whole = trained(trainers.make(options, n_voxels=12, seed=3, device=device), slice(0, 6))
    with devices.settings(2**20), trainers.own_randomness(device):
        first = trainers.make(options, n_voxels=12, seed=3, device=device)
        trained(first, slice(0, 3))
        kept = (first.state(), trainers.random_state(device))
        path = tmp_path / "state.pt"
        torch.save(kept, path)
    with devices.settings(2**20), trainers.own_randomness(device):
        second = trainers.make(options, n_voxels=12, seed=99, device=device)
        state, randomness = torch.load(path, map_location="cpu", weights_only=True)
        second.load(state)
        trainers.set_random_state(randomness, device)
        resumed = trained(second, slice(3, 6))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_rendering(device) -> None:
    options = LatentGenerator(kind="pggan", weights="random:3", resolution=32, n_inputs=16)
    latents = np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32)
    host, there = (latent_generators.render(latents, options, size=(48, 48), device=d) for d in ("cpu", device))
    np.testing.assert_allclose(there, host, rtol=0, atol=1e-3)
