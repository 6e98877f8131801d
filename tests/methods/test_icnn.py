from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from skimage import data
from skimage.transform import resize

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods import icnn, latents
from hpc_recon.methods.objective import Objective
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
    latent = latents.make(options(), net, stimuli=(SIZE, SIZE), device="cpu")
    evaluate = Objective(net, latent, targets(wanted), options(), layers=tuple(wanted))
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


@pytest.mark.parametrize("start", ["training_mean", "gray", "uniform"])
def test_starts_depend_on_seed_and_name_alone(pictures: np.ndarray, start: str):
    wanted = features(pictures[:1])
    noise = 0.05 if start == "training_mean" else None
    first, again, other = (
        run(targets(wanted, seed=seed), start=start, start_noise=noise, iterations=1).images for seed in (3, 3, 4)
    )
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


GENERATOR = {"generator": "small", "weights": "random:1", "upper": 3.0}
WIDE = NETWORK.model_copy(update={"image_size": 64})


def generated(n: int = 2) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images (n, 64, 64, 3) that the generator makes of random latents, and their features."""
    latent = latents.make(
        options(latent=GENERATOR), zoo.load(WIDE, image_size=SIZE), stimuli=(SIZE, SIZE), device="cpu"
    )
    z = np.abs(np.random.default_rng(4).standard_normal((n, 2048), dtype=np.float32))
    with torch.no_grad():
        images = latent.images(torch.from_numpy(z)).permute(0, 2, 3, 1).numpy()
    net = zoo.load(WIDE, image_size=SIZE)
    with torch.inference_mode():
        found = taps.activations(net, torch.from_numpy(images).permute(0, 3, 1, 2), LAYERS)
    return images.clip(0, 1), {layer: values.flatten(1).numpy().copy() for layer, values in found.items()}


OPTIMISERS = {
    "lbfgs": ({"optimiser": "lbfgs", "iterations": 40}, 0.98),
    "lbfgs, short history": ({"optimiser": {"name": "lbfgs", "history": 3}, "iterations": 40}, 0.98),
    "adam": ({"optimiser": "adam", "iterations": 80}, 0.95),
    "adamw": ({"optimiser": "adamw", "iterations": 80}, 0.95),
    "momentum": ({"optimiser": {"name": "momentum", "bounded": True}, "iterations": 80}, 0.9),
    "published gd": ({"preset": "pixels_gd", "iterations": 80}, 0.8),
    "published lbfgs": ({"preset": "pixels_lbfgs", "iterations": 40}, 0.97),
}


@pytest.mark.parametrize("case", OPTIMISERS)
def test_every_optimiser_gives_the_image_back(pictures: np.ndarray, case: str):
    fields, least = OPTIMISERS[case]
    made = run(targets(features(pictures)), **fields)
    assert min(correlations(made.images, pictures)) >= least
    assert made.losses.shape == (3, fields["iterations"])
    assert 0 <= made.images.min() <= made.images.max() <= 1


@pytest.mark.parametrize("case", ["adam", "published gd"])
def test_batching_does_not_change_an_image_of_any_optimiser(pictures: np.ndarray, case: str):
    fields, wanted = OPTIMISERS[case][0], features(pictures)
    jitter = {} if case == "adam" else {"optimiser": {"jitter": 2}}
    together = run(targets(wanted), **{**fields, "iterations": 20, **jitter})
    for i in range(3):
        one = Targets((f"i{i}",), {layer: v[i : i + 1] for layer, v in wanted.items()}, targets(wanted).start)
        alone = run(one, **{**fields, "iterations": 20, **jitter})
        assert correlations(alone.images, together.images[i : i + 1])[0] > 0.999


@pytest.mark.parametrize(
    "fields",
    [
        {"preset": "generator_lbfgs", "iterations": 40},
        {"preset": "generator_gd", "iterations": 80, "optimiser": {"learning_rate": (0.1, 0.0)}},
        {"optimiser": "adam", "iterations": 80},
    ],
    ids=["lbfgs", "gd", "adam"],
)
def test_a_generators_input_is_found(fields):
    images, wanted = generated()
    given = Targets(("i0", "i1"), wanted, np.full((64, 64, 3), 0.5, np.float32))
    made = run(given, network=WIDE, latent=GENERATOR, **fields)
    assert min(correlations(made.images, images)) > 0.9
    assert made.images.shape == (2, 64, 64, 3)


def test_the_best_of_several_starts_is_kept(pictures: np.ndarray):
    wanted = targets(features(pictures[:2]))
    fields = {"start": "uniform", "iterations": 5}
    made = run(wanted, n_starts=3, keep_starts=True, snapshots=2, **fields)
    assert made.start_losses.shape == (2, 3)
    best = made.start_losses.argmin(axis=1)
    for i, k in enumerate(best):
        np.testing.assert_array_equal(made.images[i], made.start_images[i, k])
        assert sum(float(part[i]) for part in made.layer_losses.values()) == pytest.approx(
            float(made.start_losses[i, k]), rel=1e-5
        )
        assert made.losses[i, -1] == pytest.approx(made.start_losses[i, k], rel=1e-4)
    first = run(wanted, **fields)  # the first start does not depend on how many there are
    np.testing.assert_array_equal(first.images, made.start_images[:, 0])


@pytest.mark.parametrize(("iterations", "every", "expected"), [(10, 4, 4), (9, 4, 3), (5, 1, 5), (1, 7, 1)])
def test_snapshots_end_with_the_image(pictures: np.ndarray, iterations: int, every: int, expected: int):
    made = run(targets(features(pictures[:1])), iterations=iterations, snapshots=every)
    assert made.snapshots.shape == (1, expected, SIZE, SIZE, 3)
    assert icnn.n_snapshots(options(iterations=iterations, snapshots=every)) == expected
    np.testing.assert_allclose(made.snapshots[0, -1] / 255, made.images[0], atol=0.51 / 255)


def test_stretched_images_fill_the_range(pictures: np.ndarray):
    made = run(targets(features(pictures[:1])), iterations=3, stretch=True)
    assert (made.images.min(), made.images.max()) == (0, 1)


def test_the_order_of_layers_cannot_mislabel_them(pictures: np.ndarray):
    wanted = features(pictures[:1])
    backwards = {layer: wanted[layer] for layer in reversed(LAYERS)}
    one, other = run(targets(wanted), iterations=5), run(targets(backwards), layers=LAYERS[::-1], iterations=5)
    np.testing.assert_allclose(one.images, other.images, atol=1e-4)  # sums in another order
    assert list(other.layer_losses) == list(LAYERS[::-1])


def test_a_masked_region_is_all_that_is_reconstructed(pictures: np.ndarray):
    """Left half wanted: the right half stays near its start, except where receptive fields or smooth steps reach."""
    wanted = {"conv1_1": features(pictures[:1])["conv1_1"]}
    fields = {"layers": ("conv1_1",), "masks": {"default": {"region": (0, 0, 1, 0.5)}}, "start_noise": 0.0}
    fields["optimiser"] = {"name": "lbfgs", "smoothness": 0}
    made = run(targets(wanted), start="gray", **fields).images[0]
    assert np.corrcoef(made[:, :15].ravel(), pictures[0, :, :15].ravel())[0, 1] > 0.95
    np.testing.assert_allclose(made[:, 18:], 0.5, atol=1e-6)


@pytest.mark.parametrize("loss", ["l1", "correlation", "target_normalised_mse"])
def test_other_losses_give_the_image_back(pictures: np.ndarray, loss: str):
    made = run(targets(features(pictures[:1])), loss=loss, iterations=60)
    assert correlations(made.images, pictures[:1])[0] > 0.9


def test_a_thousand_images_leave_no_hooks_and_no_tensors():
    network = Network(architecture="vgg11_quarter", layers=("conv1_1",))
    net = zoo.load(network, image_size=8)
    wanted = {"conv1_1": np.random.default_rng(0).standard_normal((1, 16 * 64)).astype(np.float32)}

    def make(i: int) -> None:
        given = Targets((f"i{i}",), wanted, np.full((8, 8, 3), 0.5, np.float32))
        run(given, network=network, iterations=1)

    def tensors() -> int:
        gc.collect()
        return sum(1 for found in gc.get_objects() if type(found) is torch.Tensor)

    make(0)
    before = tensors()
    for i in range(1000):
        make(i)
    assert tensors() <= before + 2
    assert all(not module._forward_hooks for module in net.modules())


def test_hooks_are_removed_when_a_loss_fails(pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    def broken(*_args):
        raise RuntimeError("as if out of memory")

    monkeypatch.setattr("hpc_recon.methods.losses.layer_loss", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(targets(features(pictures[:1])), iterations=2)
    assert all(not module._forward_hooks for module in zoo.load(NETWORK, image_size=SIZE).modules())


def test_a_generator_whose_image_is_too_small(pictures: np.ndarray):
    large = NETWORK.model_copy(update={"image_size": 80})
    wanted = {"conv1_1": np.ones((1, 16 * 80 * 80), np.float32)}
    with pytest.raises(StudyError, match="makes 64 x 64 pixels and the network reads 80 x 80"):
        run(targets(wanted), network=large, layers=("conv1_1",), latent=GENERATOR)


def test_images_without_a_finite_loss_are_named(pictures: np.ndarray):
    wanted = {layer: values * np.float32(1e30) for layer, values in features(pictures[:2]).items()}
    with pytest.raises(DataError, match="no finite loss: i0, i1"):
        run(targets(wanted), iterations=2)


def test_smooth_steps_recover_more_where_pooling_hides_fine_structure(pictures: np.ndarray):
    """conv3_1 alone sees little of single pixels: white noise of the way there stays, unless steps are smooth."""
    wanted = features(pictures, layers=("conv3_1",))
    found = {
        power: run(
            targets(wanted), layers=("conv3_1",), start_noise=0.0, optimiser={"name": "lbfgs", "smoothness": power}
        )
        for power in (0.0, 1.0)
    }
    rough, smooth = (np.mean(correlations(found[power].images, pictures)) for power in (0.0, 1.0))
    assert smooth > rough + 0.05
    alone = run(
        Targets(("i0",), {"conv3_1": wanted["conv3_1"][:1]}, np.full((SIZE, SIZE, 3), 0.5, np.float32)),
        layers=("conv3_1",), start_noise=0.0, optimiser={"name": "lbfgs", "smoothness": 1.0},
    )  # fmt: skip
    assert correlations(alone.images, found[1.0].images[:1])[0] > 0.999
