"""The generator of progressive growing: counts, operations against a second implementation, layouts of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.nets import pggan

SMALL = pggan.Design(8, (6, 6, 4))


def _small(seed: int = 0) -> pggan.Pggan:
    made = pggan.Pggan(SMALL)
    pggan.fill_normal(made, seed)
    draw = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return made.eval()


def _latents(n: int = 3) -> Tensor:
    return torch.randn(n, SMALL.n_inputs, generator=torch.Generator().manual_seed(9))


def _norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-8)


def _original(state: dict[str, Tensor], z: Tensor, *, fused: bool) -> Tensor:
    """The published graph in the operations of its own code, on weights in its own layout."""
    gain = 2.0**0.5
    x = _norm(z)
    dense = state["4x4/Dense/weight"]
    x = (x @ (dense * (gain / 4 / dense.shape[0] ** 0.5))).reshape(len(z), -1, 4, 4)
    x = _norm(functional.leaky_relu(x + state["4x4/Dense/bias"].reshape(1, -1, 1, 1), 0.2))

    def conv(x: Tensor, key: str, gain: float = gain, padding: int = 1) -> Tensor:
        w = state[f"{key}/weight"]
        w = w * (gain / (w.shape[0] * w.shape[1] * w.shape[2]) ** 0.5)
        return functional.conv2d(x, w.permute(3, 2, 0, 1), padding=padding) + state[f"{key}/bias"].reshape(1, -1, 1, 1)

    def conv_up(x: Tensor, key: str) -> Tensor:
        w = state[f"{key}/weight"]  # (3, 3, outputs, inputs)
        w = w * (gain / (9 * w.shape[3]) ** 0.5)
        w = functional.pad(w, (0, 0, 0, 0, 1, 1, 1, 1))
        w = w[1:, 1:] + w[:-1, 1:] + w[1:, :-1] + w[:-1, :-1]  # (4, 4, outputs, inputs)
        made = functional.conv_transpose2d(x, w.permute(3, 2, 0, 1), stride=2, padding=1)
        return made + state[f"{key}/bias"].reshape(1, -1, 1, 1)

    x = _norm(functional.leaky_relu(conv(x, "4x4/Conv"), 0.2))
    for size in (8, 16):
        if fused:
            x = conv_up(x, f"{size}x{size}/Conv0_up")
        else:
            x = conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), f"{size}x{size}/Conv0")
        x = _norm(functional.leaky_relu(x, 0.2))
        x = _norm(functional.leaky_relu(conv(x, f"{size}x{size}/Conv1"), 0.2))
    return conv(x, "ToRGB_lod0", gain=1.0, padding=0)


def _original_state(*, fused: bool) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    state = {"4x4/Dense/weight": normal(8, 6 * 16), "4x4/Conv/weight": normal(3, 3, 6, 6)}
    for size, inputs, outputs in ((8, 6, 6), (16, 6, 4)):
        own = {"Conv0_up": normal(3, 3, outputs, inputs)} if fused else {"Conv0": normal(3, 3, inputs, outputs)}
        own["Conv1"] = normal(3, 3, outputs, outputs)
        state |= {f"{size}x{size}/{layer}/weight": w for layer, w in own.items()}
    state["ToRGB_lod0/weight"] = normal(1, 1, 4, 3)
    outputs_of = {
        key: (w.shape[2] if "Conv0_up" in key else w.shape[3] if w.ndim == 4 else 6) for key, w in state.items()
    }
    return state | {key.replace("weight", "bias"): normal(n) for key, n in outputs_of.items()}


def test_the_published_generator_has_23071507_parameters() -> None:
    with torch.device("meta"):
        made = pggan.Pggan(pggan.Design())
    assert sum(p.numel() for p in made.parameters()) == 23_071_507
    assert made.design.resolution == 1024
    assert len(made.layers) == 19


def test_maps_double_from_4_pixels_and_every_map_behind_a_norm_has_mean_square_1() -> None:
    sizes = {}
    for name, maps in _small().activations(_latents()):
        sizes[name] = tuple(maps.shape[1:])
        if name != "rgb":
            torch.testing.assert_close(maps.square().mean(1), torch.ones_like(maps[:, 0]), rtol=0, atol=1e-4)
    assert sizes == {
        "4x4/dense": (6, 4, 4),
        "4x4/conv": (6, 4, 4),
        "8x8/conv0": (6, 8, 8),
        "8x8/conv1": (6, 8, 8),
        "16x16/conv0": (4, 16, 16),
        "16x16/conv1": (4, 16, 16),
        "rgb": (3, 16, 16),
    }


def test_an_image_depends_on_the_direction_of_its_latent_alone() -> None:
    made, z = _small(), _latents()
    torch.testing.assert_close(made(3 * z), made(z), rtol=1e-4, atol=1e-5)
    assert (made(-z) - made(z)).abs().max() > 0.01


@pytest.mark.parametrize("fused", [False, True])
def test_original_variables_give_the_images_of_the_original_graph(tmp_path: Path, *, fused: bool) -> None:
    state = _original_state(fused=fused)
    torch.save(state, tmp_path / "g.pt")
    made = pggan.load(tmp_path / "g.pt")
    assert made.design == SMALL
    torch.testing.assert_close(made(_latents()), _original(state, _latents(), fused=fused), rtol=1e-4, atol=1e-5)


def test_the_torch_conversion_is_a_convolution_of_one_padded_pixel(tmp_path: Path) -> None:
    own = _small()
    state = {"lod": torch.tensor(0.0)}
    for i, module in enumerate([own.dense, *own.steps], start=1):
        weight = module.weight.detach()
        state[f"layer{i}.conv.weight"] = weight.flip((2, 3)) if i == 1 else weight
        state[f"layer{i}.wscale.bias"] = module.bias.detach()
    state |= {"output_16x16.conv.weight": own.rgb.weight.detach(), "output_16x16.wscale.bias": own.rgb.bias.detach()}
    torch.save(state, tmp_path / "g.pt")
    loaded = pggan.load(tmp_path / "g.pt", sha256=hashlib.sha256((tmp_path / "g.pt").read_bytes()).hexdigest())
    torch.testing.assert_close(loaded(_latents()), own(_latents()))
    # The conversion's own arithmetic of its first layer.
    z = _norm(_latents())[:, :, None, None]
    first = functional.conv2d(z, state["layer1.conv.weight"], padding=3) * (2.0**0.5 / (8 * 16) ** 0.5)
    torch.testing.assert_close(loaded.dense(z[:, :, 0, 0]), first + own.dense.bias.reshape(1, -1, 1, 1))


def test_own_names_round_trip(tmp_path: Path) -> None:
    own = _small()
    torch.save(own.state_dict(), tmp_path / "g.pt")
    assert torch.equal(pggan.load(tmp_path / "g.pt")(_latents()), own(_latents()))


def test_a_file_without_a_layer_names_it(tmp_path: Path) -> None:
    state = _small().state_dict()
    del state["steps.2.bias"]
    torch.save({**state, "extra": torch.zeros(1)}, tmp_path / "g.pt")
    with pytest.raises(DataError, match=r"steps\.2\.bias.*extra"):
        pggan.load(tmp_path / "g.pt")


def test_layers_that_do_not_fit_each_other_are_named(tmp_path: Path) -> None:
    state = _small().state_dict()
    state["steps.1.weight"] = state["steps.1.weight"][:, :5].contiguous()
    torch.save(state, tmp_path / "g.pt")
    with pytest.raises(DataError, match=r"steps\.1\.weight is \(6, 5, 3, 3\), not \(6, 6, 3, 3\)"):
        pggan.load(tmp_path / "g.pt")


def test_other_files_and_other_contents_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "g.pt")
    with pytest.raises(DataError, match="none of the known layouts"):
        pggan.load(tmp_path / "g.pt")
    with pytest.raises(StudyError, match="sha256"):
        pggan.load(tmp_path / "g.pt", sha256="0" * 64)


def test_smaller_images_are_those_of_the_first_blocks() -> None:
    assert pggan.of_resolution(64).channels == pggan.CHANNELS[:5]
    with pytest.raises(ValueError, match="not of 100"):
        pggan.of_resolution(100)
