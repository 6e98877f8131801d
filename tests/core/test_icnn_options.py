"""Options of deep image reconstruction: short forms, presets, and combinations that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hpc_recon.core.icnn_options import PRESETS, AdamW, GeneratorLatent, Lbfgs, Momentum
from hpc_recon.core.options import IcnnOptions

GENERATOR = {"generator": "relu7", "weights": "generator_relu7.pt"}


def options(**fields) -> IcnnOptions:
    return IcnnOptions.model_validate({"method": "icnn", "network": "vgg", **fields})


def test_defaults() -> None:
    found = options()
    assert (found.latent, found.optimiser, found.loss_of("x")) == ("pixels", Lbfgs(), "l2")
    assert (found.first, found.noise, found.mask_of("x")) == ("training_mean", 0.0, None)
    assert [options(start=start).noise for start in ("gray", "mean_rgb", "uniform")] == [0.05, 0.05, 0.0]
    assert (found.noise_of(1), options(start="uniform").noise_of(1), options(start_noise=0).noise_of(1)) == (0.05, 0, 0)


def test_short_forms() -> None:
    assert options(optimiser="adamw").optimiser == AdamW()
    assert options(optimiser={"name": "momentum", "learning_rate": 1}).optimiser.learning_rate == (1, 1)
    found = options(loss={"conv1_1": "gram", "default": "l1"})
    assert (found.loss_of("conv1_1"), found.loss_of("conv2_1")) == ("gram", "l1")
    assert options(loss={"conv1_1": "gram"}).loss_of("conv2_1") == "l2"
    assert options(images_per_tile="auto").images_per_tile == 0


def test_weights_are_a_path_or_words() -> None:
    assert GeneratorLatent(generator="relu7", weights="a.pt").weights == Path("a.pt")
    assert GeneratorLatent(generator="relu7", weights="random:0").weights == "random:0"
    assert options(latent=GENERATOR).first == "zeros"
    assert options(latent=GENERATOR).noise == 0


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_being_saved(name: str) -> None:
    own = {"latent": GENERATOR} if name.startswith("generator") else {}
    found = options(preset=name, **own)
    assert IcnnOptions.model_validate(found.model_dump(mode="json", exclude_none=True)) == found


def test_presets_are_the_published_routines() -> None:
    gd, dgn = options(preset="pixels_gd"), options(preset="generator_gd", latent=GENERATOR)
    assert isinstance(gd.optimiser, Momentum)
    assert isinstance(dgn.optimiser, Momentum)
    assert (gd.optimiser.learning_rate, gd.optimiser.momentum) == ((2, 1e-10), (0.9, 0.9))
    assert (gd.optimiser.decay, gd.optimiser.blur, gd.first) == ((0.2, 1e-10), (2, 0.5), "uniform")
    assert (dgn.optimiser.decay, dgn.optimiser.blur, dgn.first) == ((0.01, 0.01), (0, 0), "zeros")
    assert (options(preset="pixels_lbfgs").first, options(preset="pixels_lbfgs").noise) == ("mean_rgb", 0)
    assert options(preset="generator_lbfgs", latent=GENERATOR).iterations == 500


def test_what_the_study_says_counts_before_the_preset() -> None:
    found = options(preset="pixels_gd", iterations=7, optimiser={"blur": 0}, start="gray")
    assert isinstance(found.optimiser, Momentum)
    assert (found.iterations, found.optimiser.blur, found.optimiser.decay) == (7, (0, 0), (0.2, 1e-10))
    assert found.first == "gray"
    assert options(preset="pixels_gd", optimiser="adam").optimiser.name == "adam"
    assert options(preset="pixels_gd", start_file="a.png").first == "file"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preset": "generator_gd"}, "write latent: {generator: relu7, weights: <file>}"),
        ({"preset": "pixels_gd", "latent": GENERATOR}, "write latent: pixels"),
        ({"start": "normal"}, "start of pixels must be one of training_mean, mean_rgb"),
        ({"start": "gray", "latent": GENERATOR}, "start of a generator must be one of zeros, normal"),
        ({"start": "gray", "start_file": "a.png"}, "give start or start_file, not both"),
        ({"latent": GENERATOR, "image_size": 64}, "image_size is there for pixels"),
        ({"latent": GENERATOR, "optimiser": {"name": "momentum", "blur": 1}}, "optimiser: blur change pixels"),
        ({"n_starts": 2, "start_noise": 0}, "n_starts would begin at one place"),
        ({"keep_starts": True}, "keep_starts needs n_starts"),
        ({"reliability": "residual", "loss": "gram"}, "which a gram loss does not compare"),
        ({"reliability": "residual", "source": "true"}, "give reliability: none"),
        ({"masks": {"a": {}}}, "a mask needs channels, region or file"),
        ({"masks": {"a": {"region": [0.5, 0, 0.5, 1]}}}, "0 <= top < bottom <= 1"),
        ({"latent": {**GENERATOR, "lower": 9, "upper": 8}}, "lower must be below upper"),
        ({"latent": {**GENERATOR, "lower": 9, "upper_file": "a.txt"}}, "give lower: 0 or less"),
        ({"latent": {"generator": "relu7"}}, "Field required"),
        ({"optimiser": "sgd"}, "sgd"),
        ({"optimiser": {"name": "adam", "blur": 1}}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(fields, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        options(**fields)
    assert message in str(caught.value)
