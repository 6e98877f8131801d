from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.icnn_options import GeneratorLatent
from hpc_recon.nets import generators, latents

SMALL = GeneratorLatent(generator="small", weights="random:3")


class Tiny(nn.Module):
    """A user's own generator: 4 numbers to 12 x 10 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.input_shape = (4,)
        self.dense = nn.Linear(4, 360)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return self.dense(latent).reshape(-1, 3, 12, 10)


class Nameless(Tiny):
    def __init__(self) -> None:
        super().__init__()
        del self.input_shape


class Flat(Tiny):
    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return self.dense(latent)


class Failing(Tiny):
    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        raise KeyError("dense")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that names a class of this file as a user would."""
    text = f"import importlib.util\nspec = importlib.util.spec_from_file_location('t', {__file__!r})\n"
    text += "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\n"
    text += "def tiny():\n    return module.Tiny()\ndef nameless():\n    return module.Nameless()\n"
    text += "def flat():\n    return module.Flat()\ndef failing():\n    return module.Failing()\n"
    (tmp_path / "ownlatents.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    latents._describe.cache_clear()
    latents._load.cache_clear()
    return lambda name, weights="own", **fields: GeneratorLatent(
        generator=f"python:ownlatents:{name}", weights=weights, **fields
    )


def test_what_ones_own_generator_raises_is_told_not_thrown(own) -> None:
    with pytest.raises(StudyError, match=r"failing fails on a latent \(1, 4\): KeyError: 'dense'; correct its forward"):
        latents.describe(own("failing"))


def test_shapes_of_the_published_designs() -> None:
    relu7 = latents.describe(GeneratorLatent(generator="relu7", weights="random:0"))
    assert (relu7.input_shape, relu7.output_size, relu7.n_inputs) == ((4096,), (256, 256), 4096)
    norm1 = latents.describe(GeneratorLatent(generator="norm1", weights="random:0"))
    assert (norm1.input_shape, norm1.output_size) == ((96, 27, 27), (240, 240))
    small = latents.describe(SMALL)
    weights = 32 * 32 * 16 + 32 + 32 * 16 * 16 + 16 + 16 * 3 * 16 + 3
    assert (small.n_inputs, small.output_size, small.n_parameters) == (2048, (64, 64), weights)
    assert small.n_activations == 32 * 16 * 16 + 16 * 32 * 32 + 3 * 64 * 64


def test_random_generators_have_contrast_and_depend_on_their_seed_alone() -> None:
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 2048), dtype=np.float32))
    state = torch.random.get_rng_state()
    first = latents.load(SMALL, size=(64, 64))(z)
    assert torch.equal(torch.random.get_rng_state(), state)
    latents._load.cache_clear()
    assert torch.equal(latents.load(SMALL, size=(64, 64))(z), first)
    other = latents.load(SMALL.model_copy(update={"weights": "random:4"}), size=(64, 64))(z)
    assert not torch.equal(first, other)
    assert 0.1 < float(first.std()) < 0.5


@pytest.mark.parametrize("name", ["norm2", "norm1"])
def test_random_weights_of_a_published_design_have_contrast(name: str) -> None:
    made = latents.load(GeneratorLatent(generator=name, weights="random:0"), size=(224, 224))
    z = torch.from_numpy(
        np.random.default_rng(0).standard_normal((1, int(np.prod(made.input_shape))), dtype=np.float32)
    )
    with torch.no_grad():
        image = made(z)
    assert image.shape == (1, 3, 224, 224)
    assert 0.02 < float(image.std()) < 1
    latents._load.cache_clear()  # 10 to 20 MB each


def test_the_middle_is_cut_out_in_the_networks_colours() -> None:
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2048), dtype=np.float32))
    whole = latents.load(SMALL, size=(64, 64))
    part = latents.load(SMALL, size=(40, 50))(z)
    expected = generators.to_images(whole.body(z.reshape(1, 32, 8, 8)), (64, 64))
    torch.testing.assert_close(part, expected[..., 12:52, 7:57])


def test_a_file_of_weights(tmp_path: Path) -> None:
    body = generators.Generator("small")
    latents.fill_random(body, 5)
    torch.save(body.state_dict(), tmp_path / "g.pt")
    latent = GeneratorLatent(generator="small", weights=str(tmp_path / "g.pt"))
    z = torch.ones(1, 2048)
    expected = latents.load(SMALL.model_copy(update={"weights": "random:5"}), size=(64, 64))(z)
    assert torch.equal(latents.load(latent, size=(64, 64))(z), expected)
    assert latents.identity(latent)["weights"].startswith("sha256:")
    with pytest.raises(StudyError, match="but the study expects 000"):
        latents.load(latent.model_copy(update={"sha256": "0" * 64}), size=(64, 64))
    with pytest.raises(StudyError, match="cannot be read"):
        latents.identity(latent.model_copy(update={"weights": tmp_path / "none.pt"}))


def test_a_replaced_file_is_loaded_anew(tmp_path: Path) -> None:
    path, z = tmp_path / "g.pt", torch.ones(1, 2048)
    latent = GeneratorLatent(generator="small", weights=str(path))
    images = []
    for seed in (1, 2):
        body = generators.Generator("small")
        latents.fill_random(body, seed)
        torch.save(body.state_dict(), path)
        images.append(latents.load(latent, size=(64, 64))(z))
    assert not torch.equal(*images)


def test_your_own_generator(own, tmp_path: Path) -> None:
    latent = own("tiny", "random:0")
    made = latents.load(latent, size=(12, 8))
    assert made(torch.zeros(2, 4)).shape == (2, 3, 12, 8)
    found = latents.identity(latent)
    assert found["output"] == "rgb"
    assert len(found["code"]) == 64
    torch.save(Tiny().state_dict(), tmp_path / "own.pt")
    assert latents.load(own("tiny", str(tmp_path / "own.pt")), size=(12, 8)).size == (12, 8)
    assert latents.load(own("tiny", output="caffe"), size=(12, 8)).output == "caffe"


@pytest.mark.parametrize(
    ("name", "message"),
    [("nameless", "needs an attribute input_shape"), ("flat", r"returned \(1, 360\)"), ("none", "no function 'none'")],
)
def test_your_own_generator_says_what_is_missing(own, name: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        latents.describe(own(name))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"generator": "relu77", "weights": "random:0"}, "did you mean 'relu7'"),
        ({"generator": "end_to_end", "weights": "random:0"}, "unknown generator 'end_to_end'"),
        ({"generator": "relu7", "weights": "random:x"}, "written random:<seed>"),
        ({"generator": "relu7", "weights": "own"}, "those that a python: function has loaded"),
    ],
)
def test_unknown_generators_and_weights(fields, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        latents.identity(GeneratorLatent(**fields))


def test_an_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(StudyError, match="small makes 64 x 64 pixels and the network reads 64 x 65"):
        latents.require_fit(SMALL, (64, 65))


def test_bounds(tmp_path: Path) -> None:
    low, high = latents.box(SMALL)
    assert (low.shape, low.min(), high.max()) == ((2048,), 0, 100)
    path = tmp_path / "range.txt"
    path.write_text(" ".join(["2.5"] * 2047 + ["6"]))
    low, high = latents.box(SMALL.model_copy(update={"upper_file": path}))
    assert (high[0], high[-1]) == (2.5, 6)
    path.write_text("1 2 3")
    with pytest.raises(DataError, match="must hold 2048 positive numbers, but holds 3"):
        latents.box(SMALL.model_copy(update={"upper_file": path}))
