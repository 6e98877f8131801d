"""What is shown: crops of photographs, coloured shapes and letters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array
from hpc_recon.core.sampling import seed_of
from hpc_recon.simulation import photographs
from hpc_recon.simulation.drawing import LETTERS, draw_letter, draw_shape, shape_name

#: A crop whose luminance varies less than this (standard deviation, 1 = white) shows nothing; another is drawn.
_MIN_CONTRAST = {"training": 0.06, "natural": 0.12}
#: Side of a crop relative to the photograph's shorter side; held-out crops are large enough to be recognised.
_SCALES = {"training": (0.15, 0.9), "natural": (0.5, 0.95)}
#: Two test crops of one photograph share at most this part of their union, where it has room.
_MAX_OVERLAP = 0.45
#: Part of the training crops whose hues are rotated, all by one random angle: the photographs hold hardly any green.
_RECOLOURED = 0.5
#: Crops tried before the best so far is taken.
_TRIES = 40


@dataclass(frozen=True)
class StimulusSet:
    """Stimuli of one dataset.

    Attributes
    ----------
    images
        (n, image_size, image_size, 3) uint8 RGB.
    labels
        Name of each stimulus, unique in the study.
    category, source
        What it shows, and the photograph that it is cut from (the drawing's kind for drawings).
    """

    images: Array
    labels: tuple[str, ...]
    category: tuple[str, ...]
    source: tuple[str, ...]


@dataclass(frozen=True)
class _Crop:
    """A square piece of a photograph: left, top, side in its pixels; whether it is mirrored; hue rotation (1/256)."""

    left: int
    top: int
    side: int
    mirror: bool
    hue: int

    def overlap(self, other: _Crop) -> float:
        """Return intersection over union."""
        width = min(self.left + self.side, other.left + other.side) - max(self.left, other.left)
        height = min(self.top + self.side, other.top + other.side) - max(self.top, other.top)
        shared = max(width, 0) * max(height, 0)
        return shared / (self.side**2 + other.side**2 - shared)


def training_crops(n: int, *, image_size: int, seed: int) -> StimulusSet:
    """Return `n` crops of the training photographs at random positions and scales, half of them mirrored.

    Parameters
    ----------
    n
        Number of crops; each photograph gets a share by its weight, dealt so that any `n` is balanced.
    image_size
        Height and width in pixels.
    seed
        Seed of positions, scales and mirroring; crop i of a photograph does not depend on `n`.
    """
    return _crops("training", _deal(photographs.TRAINING, n), image_size=image_size, seed=seed)


def natural_crops(n: int, *, image_size: int, seed: int) -> StimulusSet:
    """Return `n` crops of the held-out photographs, in turn; crops of one photograph overlap little."""
    return _crops("natural", _deal(dict.fromkeys(photographs.HELD_OUT, 1), n), image_size=image_size, seed=seed)


def shapes(n: int, *, image_size: int) -> StimulusSet:
    """Return the first `n` of 8 shapes x 5 colours; the first 8 show each shape once."""
    names = [shape_name(i) for i in range(n)]
    return StimulusSet(
        images=np.stack([draw_shape(shape, colour, image_size=image_size) for shape, colour in names]),
        labels=tuple(f"{colour}_{shape}" for shape, colour in names),
        category=tuple(shape for shape, _ in names),
        source=("shape",) * n,
    )


def letters(n: int, *, image_size: int) -> StimulusSet:
    """Return the first `n` of 26 capital letters, black on grey."""
    chosen = LETTERS[:n]
    return StimulusSet(
        images=np.stack([draw_letter(letter, image_size=image_size) for letter in chosen]),
        labels=tuple(f"letter_{letter}" for letter in chosen),
        category=tuple(chosen),
        source=("letter",) * n,
    )


def _deal(weights: dict[str, int], n: int) -> list[str]:
    """Return `n` names, each as often as its weight asks, spread evenly (largest claim first)."""
    total = sum(weights.values())
    given = dict.fromkeys(weights, 0)
    dealt = []
    for i in range(n):
        name = max(weights, key=lambda key: weights[key] / total * (i + 1) - given[key])
        given[name] += 1
        dealt.append(name)
    return dealt


def _crops(kind: str, names: list[str], *, image_size: int, seed: int) -> StimulusSet:
    pictures = {name: photographs.load(name) for name in dict.fromkeys(names)}
    taken: dict[str, list[_Crop]] = {name: [] for name in pictures}
    images, labels = [], []
    for name in names:
        number = len(taken[name])
        rng = np.random.default_rng(seed_of(seed, kind, name, number))
        avoid = taken[name] if kind == "natural" else []
        crop = _choose(pictures[name], kind, avoid, rng)
        taken[name].append(crop)
        images.append(_cut(pictures[name], crop, image_size))
        labels.append(f"{name}_{number + 1:04d}" if kind == "training" else f"{name}_{number + 1:02d}")
    return StimulusSet(np.stack(images), tuple(labels), tuple(names), tuple(names))


def _choose(picture: Array, kind: str, avoid: list[_Crop], rng: np.random.Generator) -> _Crop:
    """Draw crops until one shows something and overlaps little with `avoid`; else take the best of all tries."""
    shorter = min(picture.shape[:2])
    best, best_fault = None, np.inf
    for _ in range(_TRIES):
        side = round(shorter * rng.uniform(*_SCALES[kind]))
        crop = _Crop(
            left=int(rng.integers(picture.shape[1] - side + 1)),
            top=int(rng.integers(picture.shape[0] - side + 1)),
            side=side,
            mirror=kind == "training" and bool(rng.integers(2)),
            hue=int(rng.integers(256)) if kind == "training" and rng.uniform() < _RECOLOURED else 0,
        )
        contrast = _contrast(picture[crop.top : crop.top + side, crop.left : crop.left + side])
        overlap = max((crop.overlap(other) for other in avoid), default=0.0)
        fault = max(_MIN_CONTRAST[kind] - contrast, 0.0) + max(overlap - _MAX_OVERLAP, 0.0)
        if fault < best_fault:
            best, best_fault = crop, fault
        if fault == 0.0:
            break
    assert best is not None
    return best


def _contrast(piece: Array) -> float:
    """Return the standard deviation of luminance, 1 = white, of about 32 x 32 of its pixels."""
    step = max(1, piece.shape[0] // 32)
    return float(piece[::step, ::step].mean(axis=2).std() / 255.0)


def _cut(picture: Array, crop: _Crop, image_size: int) -> Array:
    image = Image.fromarray(picture[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side])
    image = image.resize((image_size, image_size), Image.Resampling.LANCZOS)
    if crop.hue:
        hue, saturation, value = image.convert("HSV").split()
        turned = Image.fromarray((np.asarray(hue, np.int64) + crop.hue).astype(np.uint8))
        image = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    small = np.asarray(image)
    return np.ascontiguousarray(small[:, ::-1]) if crop.mirror else small
