from __future__ import annotations

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods import icnn_costs

LAYERS = ("conv1_1", "conv3_1")
NETWORK = Network(architecture="vgg11_quarter", layers=LAYERS)
GENERATOR = {"generator": "small", "weights": "random:1"}


def project(n: int = 1, size: int = 64, **fields) -> icnn_costs.Cost:
    options = IcnnOptions.model_validate({"method": "icnn", "network": "v", "iterations": 100, **fields})
    return icnn_costs.project(options, NETWORK, LAYERS, stimuli=(size, size), n=n)


def test_bytes_and_seconds_grow_with_images() -> None:
    assert project(4).compute_bytes == 4 * project(1).compute_bytes
    assert project(4).seconds == pytest.approx(4 * project(1).seconds)
    assert project(4).weights_bytes == project(1).weights_bytes


def test_starts_cost_time_and_pictures_but_no_activations() -> None:
    plain, three = project(), project(n_starts=3, start="uniform")
    assert three.seconds == pytest.approx(3 * plain.seconds)
    assert plain.compute_bytes < three.compute_bytes < 1.2 * plain.compute_bytes
    films = project(snapshots=1)
    assert films.compute_bytes - plain.compute_bytes == 2 * 100 * 3 * 64 * 64


def test_the_history_is_what_lbfgs_costs() -> None:
    image = 4 * 3 * 64 * 64
    long, short = project(optimiser={"name": "lbfgs", "history": 20}), project()
    assert long.compute_bytes - short.compute_bytes == 20 * image
    assert short.compute_bytes - project(optimiser="adam").compute_bytes == 20 * image


def test_a_generator_costs_its_weights_and_activations() -> None:
    plain, made = project(optimiser="adam"), project(optimiser="adam", latent=GENERATOR)
    assert made.weights_bytes > plain.weights_bytes
    assert made.compute_bytes > plain.compute_bytes
    with pytest.raises(StudyError, match="makes 64 x 64 pixels"):
        project(size=80, latent=GENERATOR)


def test_auto_takes_what_fits_a_gibibyte_and_48_at_most() -> None:
    options = IcnnOptions(method="icnn", network="v", images_per_tile="auto")
    few, many = (icnn_costs.images_at_once(options, NETWORK, LAYERS, stimuli=(size, size)) for size in (256, 32))
    assert many == 48
    assert 1 < few < 48
    assert few * project(size=256).compute_bytes <= icnn_costs.AUTO_BYTES
    huge = Network(architecture="vgg19", layers=("conv5_4",))
    assert icnn_costs.images_at_once(options, huge, ("conv5_4",), stimuli=(512, 512)) == 1
    fixed = options.model_copy(update={"images_per_tile": 7})
    assert icnn_costs.images_at_once(fixed, NETWORK, LAYERS, stimuli=(64, 64)) == 7
