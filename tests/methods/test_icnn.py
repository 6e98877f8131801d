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


def features(pictures: np.ndarray, layers=LAYERS, network=NETWORK) -> dict[str, np.ndarray]:
    net = zoo.load(network, image_size=SIZE)
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


def run(given: Targets, network=NETWORK, **fields):
    return icnn.reconstruct(given, options(**fields), network=network, device="cpu")


ABSOLUTE = NETWORK.model_copy(update={"transform": "abs"})


def loss_and_gradient(wanted: dict[str, np.ndarray], images: np.ndarray, network: Network):
    net = zoo.load(network, image_size=SIZE)
    given = {layer: torch.from_numpy(values) for layer, values in wanted.items()}
    shape = (3, SIZE, SIZE)
    evaluate = icnn.loss_function(net, given, dict.fromkeys(given), options(), shape=shape)
    flat = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).flatten(1)
    loss, gradient = evaluate(flat, torch.arange(len(images)))
    return loss.numpy(), gradient.numpy()


def test_absolute_targets_are_met_by_the_true_image_and_by_no_other(pictures: np.ndarray):
    wanted = {layer: np.abs(values) for layer, values in features(pictures).items()}
    loss, gradient = loss_and_gradient(wanted, pictures, ABSOLUTE)
    # Relative squared errors in float32: rounding is about eps^2 = 1.4e-14, more where gradients choose other kernels.
    assert (loss < 1e-12).all()
    other, steep = loss_and_gradient(wanted, pictures[::-1].copy(), ABSOLUTE)
    assert (other[[0, 2]] > 0.01).all()
    assert np.linalg.norm(gradient[[0, 2]]) < 1e-4 * np.linalg.norm(steep[[0, 2]])
    assert (loss_and_gradient(wanted, pictures, NETWORK)[0] > 0.01).all()  # the plain network would be misled


def test_the_gradient_of_absolute_features_is_that_of_the_loss(pictures: np.ndarray):
    """Oracle: central differences in float64 along a random direction, on |f| from the plain network."""
    wanted = features(pictures[1:2], network=ABSOLUTE)
    start, direction = pictures[:1].astype(float), np.random.default_rng(2).standard_normal((1, SIZE, SIZE, 3))
    net = zoo.load(NETWORK, image_size=SIZE).double()

    def loss(images: np.ndarray) -> float:
        with torch.inference_mode():
            found = taps.activations(net, torch.from_numpy(images).permute(0, 3, 1, 2), LAYERS)
        parts = [
            ((np.abs(found[layer].flatten(1).numpy()) - wanted[layer]) ** 2).sum() / (wanted[layer] ** 2).sum()
            for layer in LAYERS
        ]
        return float(sum(parts) / len(LAYERS))

    try:
        slope = (loss(start + 1e-5 * direction) - loss(start - 1e-5 * direction)) / 2e-5
    finally:
        net.float()  # nets are shared
    gradient = loss_and_gradient(wanted, pictures[:1], ABSOLUTE)[1].reshape(1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-3)  # kinks of |f| within the step


def test_absolute_features_give_the_image_back_from_nearby(pictures: np.ndarray):
    """Signs are lost, so that from grey other images of equal |f| are found; from nearby the true one is."""
    wanted = features(pictures[1:2], network=ABSOLUTE)
    near = Targets(names=("i0",), features=wanted, start=pictures[1])
    made = run(near, network=ABSOLUTE, start_noise=0.1, iterations=60)
    assert correlations(made.images, pictures[1:2])[0] >= 0.99
    assert made.losses[0, -1] < 1e-3 * made.losses[0, 0]


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
