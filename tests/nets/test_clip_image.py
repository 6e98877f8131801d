"""CLIP's image encoder against the formula written out in numpy, and files of OpenAI's names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from hpc_recon.core.errors import DataError
from hpc_recon.nets import clip_image

WIDTH, DEPTH, PATCH, SIZE, EMBEDDING = 128, 2, 4, 12, 6


@pytest.fixture(scope="module")
def state():
    """Parameters by OpenAI's names."""
    rng = np.random.default_rng(0)
    shapes = {"conv1.weight": (WIDTH, 3, PATCH, PATCH), "class_embedding": (WIDTH,), "proj": (WIDTH, EMBEDDING)}
    shapes["positional_embedding"] = (1 + (SIZE // PATCH) ** 2, WIDTH)
    for norm in ("ln_pre", "ln_post", *(f"transformer.resblocks.{i}.ln_{k}" for i in range(DEPTH) for k in (1, 2))):
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    for i in range(DEPTH):
        block = f"transformer.resblocks.{i}"
        shapes |= {f"{block}.attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{block}.attn.in_proj_bias": (3 * WIDTH,)}
        shapes |= {f"{block}.attn.out_proj.weight": (WIDTH, WIDTH), f"{block}.attn.out_proj.bias": (WIDTH,)}
        shapes |= {f"{block}.mlp.c_fc.weight": (4 * WIDTH, WIDTH), f"{block}.mlp.c_fc.bias": (4 * WIDTH,)}
        shapes |= {f"{block}.mlp.c_proj.weight": (WIDTH, 4 * WIDTH), f"{block}.mlp.c_proj.bias": (WIDTH,)}
    return {key: torch.from_numpy(0.2 * rng.standard_normal(shape)) for key, shape in shapes.items()}


def _norm(x, state, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * state[f"{name}.weight"].numpy() + state[f"{name}.bias"].numpy()


def _oracle(image, state):
    """Return tokens after each block, and the embedding, of one image (3, SIZE, SIZE)."""
    w = {key: value.numpy() for key, value in state.items()}
    kernel = w["conv1.weight"].reshape(WIDTH, -1)
    cut = [
        kernel @ image[:, y : y + PATCH, x : x + PATCH].ravel()
        for y in range(0, SIZE, PATCH)
        for x in range(0, SIZE, PATCH)
    ]
    tokens = _norm(np.stack([w["class_embedding"], *cut]) + w["positional_embedding"], state, "ln_pre")
    after = []
    for i in range(DEPTH):
        name = f"transformer.resblocks.{i}"
        x = _norm(tokens, state, f"{name}.ln_1")
        q, k, v = np.split(x @ w[f"{name}.attn.in_proj_weight"].T + w[f"{name}.attn.in_proj_bias"], 3, axis=1)
        heads = []
        for h in range(WIDTH // 64):
            own = slice(64 * h, 64 * h + 64)
            heads.append(softmax(q[:, own] @ k[:, own].T / 8, axis=1) @ v[:, own])
        mixed = np.concatenate(heads, axis=1)
        tokens = tokens + mixed @ w[f"{name}.attn.out_proj.weight"].T + w[f"{name}.attn.out_proj.bias"]
        hidden = _norm(tokens, state, f"{name}.ln_2") @ w[f"{name}.mlp.c_fc.weight"].T + w[f"{name}.mlp.c_fc.bias"]
        hidden = hidden * expit(1.702 * hidden)
        tokens = tokens + hidden @ w[f"{name}.mlp.c_proj.weight"].T + w[f"{name}.mlp.c_proj.bias"]
        after.append(tokens)
    return after, _norm(tokens[0], state, "ln_post") @ w["proj"]


def test_blocks_and_embedding_are_the_formula_s(state, tmp_path):
    torch.save(
        {f"visual.{key}": value for key, value in state.items()} | {"logit_scale": torch.zeros(1)}, tmp_path / "a"
    )
    body = clip_image.load(tmp_path / "a").double().eval()
    images = np.random.default_rng(1).random((2, 3, SIZE, SIZE))
    seen = {}
    for i, block in enumerate(body.transformer["resblocks"]):
        block.register_forward_hook(lambda _m, _i, output, i=i: seen.update({i: output}))
    with torch.inference_mode():
        found = body(torch.from_numpy(images))
    for n, image in enumerate(images):
        after, embedded = _oracle(image, state)
        # parameters went through float32
        np.testing.assert_allclose(found[n], embedded, rtol=1e-4, atol=1e-5)
        for i in range(DEPTH):
            np.testing.assert_allclose(seen[i][n], after[i], rtol=1e-4, atol=1e-4)


def test_half_precision_becomes_float32(state, tmp_path):
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "half")
    body = clip_image.load(tmp_path / "half")
    assert {parameter.dtype for parameter in body.parameters()} == {torch.float32}


@pytest.mark.parametrize("missing", ["proj", "conv1.weight", "positional_embedding"])
def test_another_file_is_refused(state, tmp_path, missing):
    torch.save({key: value for key, value in state.items() if key != missing}, tmp_path / "other")
    with pytest.raises(DataError, match=f"it lacks {missing}"):
        clip_image.load(tmp_path / "other")


def test_a_missing_parameter_is_named(state, tmp_path):
    left = {key: value for key, value in state.items() if key != "transformer.resblocks.1.ln_2.bias"}
    torch.save(left, tmp_path / "other")
    with pytest.raises(DataError, match=r"1 missing: transformer\.resblocks\.1\.ln_2\.bias"):
        clip_image.load(tmp_path / "other")


def test_the_large_model_has_the_published_number_of_parameters():
    with torch.device("meta"):
        body = clip_image.ClipImage(width=1024, depth=24, patch=14, size=224, embedding=768)
    assert sum(parameter.numel() for parameter in body.parameters()) == 303_966_208
