"""Generators by kind: sizes, levels, own modules, contents that count."""

from __future__ import annotations

import sys

import pytest
import torch

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.latent_options import LatentGenerator
from hpc_recon.nets import latent_generators, pggan


@pytest.fixture
def own(monkeypatch, tmp_path):
    """A module of the lab: its latent is a tensor, which it doubles."""
    (tmp_path / "own_generator.py").write_text(
        "import torch\n"
        "class Maps(torch.nn.Module):\n"
        "    input_shape = (3, 4, 4)\n"
        "    def forward(self, z):\n"
        "        return z * 2\n"
        "make, broken = Maps, torch.nn.Identity\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_generator", None)


def test_the_published_generator_is_described_without_its_weights():
    found = latent_generators.describe(LatentGenerator(kind="pggan", weights="random:0"))
    assert (found.n_inputs, found.output_size, found.n_parameters) == (512, (1024, 1024), 23_071_507)
    # Outputs of all convolutions and of the dense layer: 4 x 4 x 512 twice, then two of each size, then RGB.
    maps = sum(2 * (4 * 2**i) ** 2 * c for i, c in enumerate(pggan.CHANNELS))
    assert found.n_activations == maps + 3 * 1024**2


def test_black_and_white_become_0_and_1_and_files_count_by_content(tmp_path):
    made = pggan.Pggan(pggan.Design(5, (4, 4)))
    pggan.fill_normal(made, 2)
    torch.save(made.state_dict(), tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    a, b = (LatentGenerator(kind="pggan", weights=tmp_path / f"{name}.pt") for name in "ab")
    assert latent_generators.identity(a) == latent_generators.identity(b)
    z = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(latent_generators.load(a)(z), (made(z) + 1) / 2)
    assert latent_generators.describe(a).output_size == (8, 8)
    wrong = LatentGenerator(kind="pggan", weights=tmp_path / "a.pt", sha256="0" * 64)
    with pytest.raises(StudyError, match="sha256"):
        latent_generators.describe(wrong)
    with pytest.raises(StudyError, match="cannot be read"):
        latent_generators.describe(LatentGenerator(kind="pggan", weights=tmp_path / "c.pt"))


def test_linear_is_mean_plus_components(tmp_path):
    mean, components = torch.rand(3, 4, 4), torch.rand(2, 3, 4, 4)
    torch.save({"mean": mean, "components": components}, tmp_path / "pca.pt")
    found = latent_generators.load(LatentGenerator(kind="linear", weights=tmp_path / "pca.pt"))
    torch.testing.assert_close(found(torch.tensor([[2.0, -1.0]]))[0], mean + 2 * components[0] - components[1])
    torch.save({"mean": mean}, tmp_path / "bad.pt")
    with pytest.raises(DataError, match="must hold mean"):
        latent_generators.describe(LatentGenerator(kind="linear", weights=tmp_path / "bad.pt"))


def test_an_own_module_takes_tensors_and_says_its_shape(own):
    options = LatentGenerator(kind="python:own_generator:make", output=(0.0, 2.0))
    assert latent_generators.describe(options).n_inputs == 48
    z = torch.rand(2, 48)
    torch.testing.assert_close(latent_generators.load(options)(z), z.reshape(2, 3, 4, 4))
    with pytest.raises(StudyError, match="input_shape"):
        latent_generators.describe(LatentGenerator(kind="python:own_generator:broken"))
