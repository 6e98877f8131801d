"""The image encoder of CLIP (Radford et al. 2021), a vision transformer, with the names of OpenAI's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hpc_recon.core.errors import DataError
from hpc_recon.nets import weights

#: Dimensions of one attention head in all of OpenAI's models.
HEAD = 64
#: What stands before the image encoder's parameters in a file of the whole model.
_PREFIX = "visual."


class ClipImage(nn.Module):
    """Patches of an image to its embedding.

    `transformer.resblocks.<i>` return tokens (n, 1 + patches, width), the class token first; `head` the embedding.

    Parameters
    ----------
    width, depth, patch, size, embedding
        Dimensions of a token, number of blocks, side of a patch and of the input in pixels, dimensions of the
        embedding; ViT-L/14 is 1024, 24, 14, 224, 768.
    """

    def __init__(self, *, width: int, depth: int, patch: int, size: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + (size // patch) ** 2, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(_Block(width) for _ in range(depth))})
        self.ln_post = nn.LayerNorm(width)
        self.head = nn.Linear(width, embedding, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings (n, embedding) of preprocessed images (n, 3, size, size)."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(images), 1, -1)
        tokens = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        for block in self.transformer["resblocks"].children():
            tokens = block(tokens)
        embedded: Tensor = self.head(self.ln_post(tokens[:, 0]))
        return embedded


class _Block(nn.Module):
    """Attention, then two layers with x sigmoid(1.702 x) between them; each on normalised tokens, added to them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // HEAD, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (n, tokens, width) after attention and the two layers."""
        normed = self.ln_1(tokens)
        attended, _ = self.attn(normed, normed, normed, need_weights=False)
        tokens = tokens + attended
        hidden = self.mlp["c_fc"](self.ln_2(tokens))
        added: Tensor = tokens + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))
        return added


def load(path: Path) -> ClipImage:
    """Build the image encoder of a state dict of OpenAI's names, of the whole model or of this part; float32.

    Raises
    ------
    DataError
        If the file does not hold such parameters.
    """
    state = weights.read_state(path)
    if any(key.startswith(_PREFIX) for key in state):
        state = {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}
    if "proj" in state:
        state["head.weight"] = state.pop("proj").T
    body = ClipImage(**_sizes(state, path))
    weights.require_match(state, body.state_dict(), path=path, architecture="CLIP's image encoder")
    body.load_state_dict(state)
    return body.float()


def _sizes(state: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """Return the sizes of an encoder from its parameters.

    Raises
    ------
    DataError
        If they are not those of a vision transformer of CLIP.
    """
    names = ("conv1.weight", "positional_embedding", "head.weight")
    missing = [name for name in names if name not in state]
    if missing or state["conv1.weight"].ndim != 4:
        lacks = ", ".join(missing).replace("head.weight", "proj") or "conv1.weight of four dimensions"
        raise DataError(
            f"{path} does not hold the image encoder of a CLIP vision transformer: it lacks {lacks}; save OpenAI's: "
            'torch.save(torch.jit.load("ViT-L-14.pt", map_location="cpu").state_dict(), "clip_vitl14.pth")'
        )
    width, _, patch, _ = state["conv1.weight"].shape
    side = round((len(state["positional_embedding"]) - 1) ** 0.5)
    blocks = {key.split(".")[2] for key in state if key.startswith("transformer.resblocks.")}
    sizes = {"width": width, "depth": len(blocks), "patch": patch, "size": side * patch}
    return sizes | {"embedding": len(state["head.weight"])}
