from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.nets import generators, weights

#: generator_relu7.pt: weight shapes by both of its names (two modules of the class hold the same parameters).
RELU7 = {
    ("defc7", "defc.0"): (4096, 4096), ("defc6", "defc.2"): (4096, 4096), ("defc5", "defc.4"): (4096, 4096),
    ("deconv5", "deconv.0"): (256, 256, 4, 4), ("conv5_1", "deconv.2"): (256, 512, 3, 3),
    ("deconv4", "deconv.4"): (512, 256, 4, 4), ("conv4_1", "deconv.6"): (256, 256, 3, 3),
    ("deconv3", "deconv.8"): (256, 128, 4, 4), ("conv3_1", "deconv.10"): (128, 128, 3, 3),
    ("deconv2", "deconv.12"): (128, 64, 4, 4), ("deconv1", "deconv.14"): (64, 32, 4, 4),
    ("deconv0", "deconv.16"): (32, 3, 4, 4),
}  # fmt: skip


def n_outputs(shape: tuple[int, ...]) -> int:
    """A transposed convolution's weight is (inputs, outputs, height, width)."""
    return shape[0] if len(shape) == 2 else shape[1]


def constant(value: float, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor of that shape whose file holds one number."""
    return torch.full((1,), value).expand(shape)


def published(names: int | None, first_inputs: int = 4096) -> dict[str, torch.Tensor]:
    """The state dict with the first names, the second, or both (None)."""
    state = {}
    for i, (pair, shape) in enumerate(RELU7.items()):
        shape = (shape[0], first_inputs) if pair[0] == "defc7" else shape
        for name in pair if names is None else (pair[names],):
            state[f"{name}.weight"] = constant(i + 1.0, shape)
            state[f"{name}.bias"] = constant(-i - 1.0, (n_outputs(shape),))
    return state


@pytest.mark.parametrize("names", [0, 1, None], ids=["attributes", "sequences", "both"])
@pytest.mark.parametrize("generator", ["relu7", "relu6"])
def test_published_files_are_loaded_whatever_their_keys(tmp_path: Path, names: int | None, generator: str):
    path = tmp_path / "generator_relu7.pt"
    torch.save(published(names), path)
    found = generators.load(generator, path)
    for i, (pair, shape) in enumerate(RELU7.items()):
        weight = found.get_parameter(f"{pair[0]}.weight")
        assert (tuple(weight.shape), float(weight.flatten()[0])) == (shape, i + 1)
        assert not weight.requires_grad
    assert sum(1 for _ in found.parameters()) == 2 * len(RELU7)


def test_a_parameter_stored_twice_must_be_the_same(tmp_path: Path):
    state = published(None) | {"deconv.16.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "g.pt")
    with pytest.raises(DataError, match=r"deconv0\.bias twice"):
        generators.load("relu7", tmp_path / "g.pt")


def test_mismatches_name_keys_and_shapes(tmp_path: Path):
    state = published(0) | {"deconv0.weight": constant(0, (32, 1, 4, 4)), "other": torch.zeros(1)}
    del state["conv3_1.bias"]
    torch.save(state, tmp_path / "g.pt")
    with pytest.raises(DataError) as caught:
        generators.load("relu7", tmp_path / "g.pt")
    for part in ("1 missing: conv3_1.bias", "1 unknown: ", "deconv0.weight is (32, 1, 4, 4), not (32, 3, 4, 4)"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match=r"missing: Rconv6\.weight"):
        generators.load("pool5", tmp_path / "g.pt")


def test_an_end_to_end_generator_takes_as_many_voxels_as_it_was_trained_with(tmp_path: Path):
    torch.save(published(0, first_inputs=11726), tmp_path / "g.pt")
    assert generators.load("end_to_end", tmp_path / "g.pt", n_inputs=11726).input_shape == (11726,)
    with pytest.raises(DataError, match=r"defc7.weight is \(4096, 11726\), not \(4096, 11114\)"):
        generators.load("end_to_end", tmp_path / "g.pt", n_inputs=11114)
    for name, n_inputs in (("end_to_end", None), ("relu7", 4096)):
        with pytest.raises(StudyError, match="needs the number of its voxels"):
            generators.load(name, tmp_path / "g.pt", n_inputs=n_inputs)


def test_sha256_is_checked_and_names_are_known(tmp_path: Path):
    (tmp_path / "g.pt").write_bytes(b"x")
    with pytest.raises(StudyError, match="expects 0000"):
        generators.load("relu7", tmp_path / "g.pt", sha256="0" * 64)
    with pytest.raises(StudyError, match="did you mean 'relu7'"):
        generators.load("relu77", tmp_path / "g.pt")


def reference(name: str) -> nn.Sequential:
    """Oracle: the published modules written as one sequence each, with the shapes of the published classes."""
    up = lambda i, o: nn.ConvTranspose2d(i, o, 4, 2, 1)  # noqa: E731
    leak = lambda: nn.LeakyReLU(0.3)  # noqa: E731
    if name == "relu7":
        dense = [x for _ in range(3) for x in (nn.Linear(4096, 4096), leak())]
        maps = [up(256, 256), nn.ConvTranspose2d(256, 512, 3, 1, 1)]
        return nn.Sequential(*dense, nn.Unflatten(1, (256, 4, 4)), maps[0], leak(), maps[1], leak(), *_to_256(up, leak))
    if name == "pool5":
        front = [nn.Conv2d(256, 512, 3, 1, 1), nn.Conv2d(512, 512, 3, 1, 1), nn.Conv2d(512, 512, 3)]
        maps = [up(512, 256), nn.ConvTranspose2d(256, 512, 3, 1, 1)]
        return nn.Sequential(*(x for m in (*front, *maps) for x in (m, leak())), *_to_256(up, leak))
    if name in ("relu4", "relu3"):
        front = [nn.Conv2d(384, 384, 3), nn.Conv2d(384, 512, 3), nn.Conv2d(512, 512, 2)]
        maps = [
            up(512, 256),
            nn.ConvTranspose2d(256, 256, 3, 1, 1),
            up(256, 128),
            nn.ConvTranspose2d(128, 128, 3, 1, 1),
        ]
        maps += [
            up(128, 128),
            nn.ConvTranspose2d(128, 128, 3, 1, 1),
            up(128, 64),
            nn.Conv2d(64, 32, 3, 1, 1),
            up(32, 16),
        ]
        return nn.Sequential(*(x for m in (*front, *maps) for x in (m, leak())), nn.Conv2d(16, 3, 3, 1, 1), nn.Tanh())
    first = nn.Conv2d(256, 256, 3, 1, 2) if name == "norm2" else nn.Conv2d(96, 128, 3, 2, 2)
    second = nn.Conv2d(256 if name == "norm2" else 128, 128, 3, 1, 1)
    maps = [first, second, nn.Conv2d(128, 128, 3, 1, 1), up(128, 128), nn.Conv2d(128, 128, 3, 1, 1), up(128, 64)]
    maps += [nn.Conv2d(64, 64, 3, 1, 1), up(64, 32), nn.Conv2d(32, 32, 3, 1, 1)]
    return nn.Sequential(
        *(x for m in maps for x in (m, leak())), up(32, 16), nn.Conv2d(16, 3, 3, 1, 1), nn.Tanh()
    )  # fmt: skip


def _to_256(up, leak) -> list[nn.Module]:
    maps = [up(512, 256), nn.ConvTranspose2d(256, 256, 3, 1, 1), up(256, 128), nn.ConvTranspose2d(128, 128, 3, 1, 1)]
    return [x for m in (*maps, up(128, 64), up(64, 32)) for x in (m, leak())] + [up(32, 3)]


@pytest.mark.parametrize(
    ("name", "size"),
    [("relu7", 256), ("pool5", 256), ("relu4", 256), ("relu3", 256), ("norm2", 240), ("norm1", 240)],
)
def test_generators_compute_what_the_published_classes_compute(name: str, size: int):
    generator, oracle = generators.Generator(name), reference(name)
    with torch.no_grad():
        for ours, theirs in zip(generator.parameters(), oracle.parameters(), strict=True):
            assert ours.shape == theirs.shape
            theirs.copy_(ours)
        features = torch.rand(1, *generator.input_shape)
        expected = oracle(features) * (1 if name in ("relu7", "pool5") else 255)
        found = generator(features.flatten(start_dim=1))
    assert found.shape == (1, 3, size, size)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["pool5", "relu4", "norm1"])
def test_other_generators_are_loaded_by_either_name(tmp_path: Path, name: str):
    generator, oracle = generators.Generator(name), reference(name)
    front = [i for i, m in enumerate(oracle) if isinstance(m, nn.LeakyReLU)][2] + 1
    sequences = nn.ModuleDict({"rconv": oracle[:front], "deconv": nn.Sequential(*list(oracle)[front:])})
    torch.save(sequences.state_dict(), tmp_path / "sequences.pt")
    torch.save(generator.state_dict(), tmp_path / "attributes.pt")
    for file, source in (("sequences.pt", oracle), ("attributes.pt", generator)):
        for ours, theirs in zip(generators.load(name, tmp_path / file).parameters(), source.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_images_are_the_middle_in_rgb():
    rgb = torch.rand(2, 3, 256, 256)
    output = rgb[:, [2, 1, 0]] * 255 - torch.tensor([104.00698793, 116.66876762, 122.67891434])[:, None, None]
    found = generators.to_images(output, (224, 224))
    torch.testing.assert_close(found, rgb[:, :, 16:240, 16:240], rtol=0, atol=1e-5)
    odd = generators.to_images(output, (227, 227))  # the end-to-end networks': 29 pixels too many, 14 before
    torch.testing.assert_close(odd, rgb[:, :, 14:241, 14:241], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="256 x 256 pixels cannot be cut to 300 x 200"):
        generators.to_images(output, (300, 200))


def test_gradients_flow_to_the_features():
    generator = generators.Generator("norm2")
    weights.fill_random(generator, 0)
    features = torch.rand(1, 256, 13, 13, requires_grad=True)
    generators.to_images(generator(features), (224, 224)).sum().backward()
    assert float(features.grad.abs().sum()) > 0


def test_ranges_are_read(tmp_path: Path):
    path = tmp_path / "fc7.txt"
    values = np.random.default_rng(0).integers(2, 7, 4096)
    path.write_text(" ".join(map(str, values)) + "\n")
    found = generators.read_activation_range(path, n_units=4096)
    assert found.dtype == np.float32
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 2", "must hold 3 positive numbers, but holds 2"),
        ("1 2 0", "holds 3; number 3 is 0"),
        ("1 nan 3", "number 2 is nan"),
        ("1 2 x", "separated by white space"),
        ("1 2 \u00e9", "separated by white space"),
        ("1 " * 2**20, "more than 1048576 bytes"),
    ],
)
def test_wrong_ranges_are_refused(tmp_path: Path, text: str, problem: str):
    path = tmp_path / "range.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        generators.read_activation_range(path, n_units=3)
    with pytest.raises(DataError, match="cannot be read"):
        generators.read_activation_range(tmp_path / "none.txt", n_units=3)


def test_names_without_a_module_are_told_as_they_are(tmp_path: Path):
    torch.save({"mean": torch.ones(2)}, tmp_path / "g.pt")
    with pytest.raises(DataError, match="1 unknown: mean"):
        generators.load("relu7", tmp_path / "g.pt")


def test_the_oracle_of_a_transposed_convolution():
    """The one that all others rest on: stride 2, kernel 4, padding 1 is a sum of shifted kernels."""
    x, kernel = torch.rand(1, 1, 3, 3), torch.rand(1, 1, 4, 4)
    full = torch.zeros(8, 8)
    for i in range(3):
        for j in range(3):
            full[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += x[0, 0, i, j] * kernel[0, 0]
    torch.testing.assert_close(functional.conv_transpose2d(x, kernel, stride=2, padding=1)[0, 0], full[1:7, 1:7])
