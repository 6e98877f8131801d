from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.transform import resize

from hpc_recon.core.config import Network
from hpc_recon.core.errors import DataError
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods import icnn
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import taps, zoo

LAYERS = ("conv1_1", "conv2_1", "conv3_1")
NETWORK = Network(architecture="vgg11_quarter", layers=LAYERS)
SIZE = 32


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    photographs = (data.astronaut(), data.chelsea(), data.coffee())
    return np.stack([resize(p[:256, 100:356] / 255, (SIZE, SIZE), anti_aliasing=True) for p in photographs]).astype(
        np.float32
    )


def features(pictures: np.ndarray, layers=LAYERS) -> dict[str, np.ndarray]:
    net = zoo.load(NETWORK, image_size=SIZE)
    with torch.inference_mode():
        found = taps.activations(net, torch.from_numpy(pictures).permute(0, 3, 1, 2), layers)
    return {layer: values.flatten(1).numpy().copy() for layer, values in found.items()}


def targets(wanted: dict[str, np.ndarray], **fields) -> Targets:
    n = len(next(iter(wanted.values())))
    start = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    return Targets(names=tuple(f"i{i}" for i in range(n)), features=wanted, start=start, **fields)


def options(**fields) -> IcnnOptions:
    return IcnnOptions(**{"method": "icnn", "network": "v", "iterations": 40, **fields})


def correlations(a: np.ndarray, b: np.ndarray) -> list[float]:
    return [float(np.corrcoef(x.ravel(), y.ravel())[0, 1]) for x, y in zip(a, b, strict=True)]


def run(given: Targets, **fields):
    return icnn.reconstruct(given, options(**fields), network=NETWORK, device="cpu")


def test_true_features_give_the_image_back(pictures: np.ndarray):
    made = run(targets(features(pictures)))
    assert made.images.shape == pictures.shape
    assert made.images.dtype == np.float32
    assert made.images.min() >= 0
    assert made.images.max() <= 1
    assert min(correlations(made.images, pictures)) >= 0.98
    assert made.losses.shape == (3, 40)
    assert (np.diff(made.losses, axis=1) <= 0).all()


def test_batching_does_not_change_an_image(pictures: np.ndarray):
    wanted = features(pictures)
    rng = np.random.default_rng(0)
    noisy = {
        layer: (v + 0.5 * v.std() * rng.standard_normal(v.shape)).astype(np.float32) for layer, v in wanted.items()
    }
    together = run(targets(noisy), iterations=25, total_variation=1.0)
    for i in range(3):
        alone = icnn.reconstruct(
            Targets(
                names=(f"i{i}",),
                features={layer: values[i : i + 1] for layer, values in noisy.items()},
                start=np.full((SIZE, SIZE, 3), 0.5, np.float32),
            ),
            options(iterations=25, total_variation=1.0),
            network=NETWORK,
            device="cpu",
        )
        assert correlations(alone.images, together.images[i : i + 1])[0] > 0.999


def test_a_sample_of_units_is_enough_for_an_image(pictures: np.ndarray):
    rng = np.random.default_rng(1)
    wanted = features(pictures)
    index = {layer: np.sort(rng.choice(v.shape[1], v.shape[1] // 3, replace=False)) for layer, v in wanted.items()}
    index["conv3_1"] = None
    chosen = {layer: v if index[layer] is None else v[:, index[layer]] for layer, v in wanted.items()}
    made = run(targets(chosen, unit_index=index))
    assert min(correlations(made.images, pictures)) >= 0.95


def test_a_subset_of_layers_is_used_and_total_variation_smooths(pictures: np.ndarray):
    wanted = {"conv1_1": features(pictures)["conv1_1"]}
    sharp = run(targets(wanted), layers=("conv1_1",), iterations=15)
    smooth = run(targets(wanted), layers=("conv1_1",), iterations=15, total_variation=100.0)

    def rough(images: np.ndarray) -> float:
        return float((np.diff(images, axis=1) ** 2).mean())

    assert rough(smooth.images) < 0.8 * rough(sharp.images)


def test_the_result_has_the_size_of_the_stimuli_whatever_is_optimised(pictures: np.ndarray):
    made = run(targets(features(pictures)), image_size=16, iterations=15)
    assert made.images.shape == pictures.shape
    assert min(correlations(made.images, pictures)) > 0.8


def test_the_smaller_of_stimuli_and_network_input_is_optimised():
    assert icnn.working_size(options(), stimuli=(500, 400), network=(224, 224)) == (224, 224)
    assert icnn.working_size(options(), stimuli=(28, 28), network=(112, 112)) == (28, 28)
    assert icnn.working_size(options(image_size=64), stimuli=(28, 28), network=(112, 112)) == (64, 64)


@pytest.mark.parametrize("start", ["training_mean", "gray", "uniform"])
def test_starts_depend_on_seed_and_name_alone(pictures: np.ndarray, start: str):
    wanted = features(pictures[:1])
    first, again, other = (run(targets(wanted, seed=seed), start=start, iterations=1).images for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_unusable_features_are_all_named(pictures: np.ndarray):
    wanted = features(pictures)
    wanted["conv1_1"][1, 3] = np.nan
    wanted["conv2_1"][0] = 0
    del wanted["conv3_1"]
    with pytest.raises(DataError) as caught:
        run(targets(wanted))
    for part in ("conv1_1: 1 features are not finite", "conv2_1: all features of i0 are zero", "conv3_1: no features"):
        assert part in str(caught.value)
