"""Coloured shapes and letters on a grey ground, drawn larger and averaged down, so that edges are smooth."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

#: Luminance of the ground, 0-255.
GROUND = 128
#: Shapes and colours (RGB, 0-255) of the pool of 8 x 5 stimuli.
SHAPES = ("disk", "square", "ring", "plus", "triangle", "frame", "cross", "star")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "green": (30, 170, 50),
    "blue": (40, 70, 220),
    "yellow": (240, 220, 40),
    "white": (250, 250, 250),
}
N_SHAPES = len(SHAPES) * len(COLOURS)
#: Letters in the order in which a study takes them: the first ones differ most in outline.
LETTERS = "AOTNECSRUILXHVZDJKPMFYGBWQ"

#: Shapes are drawn this many times larger, then averaged.
_OVERSAMPLING = 8
#: Half the extent of a shape, relative to the image.
_RADIUS = 0.38
#: Height of a capital letter, relative to the image; and relative to the size of Pillow's font.
_LETTER_HEIGHT = 0.72
_CAPITAL = 0.72
#: Width of a capital letter at most, relative to the image; W is narrowed.
_LETTER_WIDTH = 0.85


def shape_name(number: int) -> tuple[str, str]:
    """Return shape and colour of stimulus `number` of the pool; the first 8 show each shape once.

    >>> shape_name(0), shape_name(1), shape_name(8)
    (('disk', 'red'), ('square', 'green'), ('disk', 'green'))

    Raises
    ------
    DataError
        If the pool is exhausted.
    """
    if not 0 <= number < N_SHAPES:
        raise DataError(f"there are {N_SHAPES} coloured shapes, but number {number + 1} was asked for: lower n_shapes")
    shape = number % len(SHAPES)
    return SHAPES[shape], tuple(COLOURS)[(shape + number // len(SHAPES)) % len(COLOURS)]


def draw_shape(shape: str, colour: str, *, image_size: int) -> Array:
    """Return one shape on the grey ground, (image_size, image_size, 3) uint8."""
    size = image_size * _OVERSAMPLING
    mask = Image.new("L", (size, size), 0)
    _fill(ImageDraw.Draw(mask), shape, size)
    return _paint(mask, COLOURS[colour], image_size)


def draw_letter(letter: str, *, image_size: int) -> Array:
    """Return one capital letter, black on the grey ground, (image_size, image_size, 3) uint8.

    The font is the one inside Pillow, thickened; the letter's ink is centred.
    """
    size = image_size * _OVERSAMPLING
    page = Image.new("L", (2 * size, 2 * size), 0)
    font = ImageFont.load_default(size=size * _LETTER_HEIGHT / _CAPITAL)
    ImageDraw.Draw(page).text((size / 2, size / 2), letter, fill=255, font=font, stroke_width=size // 24)
    ink = page.crop(page.getbbox())  # the font's own box has room beside the ink
    if ink.width > _LETTER_WIDTH * size:
        ink = ink.resize((round(_LETTER_WIDTH * size), ink.height))
    mask = Image.new("L", (size, size), 0)
    mask.paste(ink, ((size - ink.width) // 2, (size - ink.height) // 2))
    return _paint(mask, (0, 0, 0), image_size)


def _fill(draw: ImageDraw.ImageDraw, shape: str, size: int) -> None:
    """Draw one white shape, centred, into a mask of `size` x `size`."""
    centre, radius = size / 2, size * _RADIUS
    low, high, bar = centre - radius, centre + radius, radius * 0.42
    box = (low, low, high - 1, high - 1)  # Pillow draws the last row and column too
    hole = (low + bar, low + bar, high - bar - 1, high - bar - 1)
    match shape:
        case "disk":
            draw.ellipse(box, fill=255)
        case "square":
            draw.rectangle(box, fill=255)
        case "ring":
            draw.ellipse(box, fill=255)
            draw.ellipse(hole, fill=0)
        case "frame":
            draw.rectangle(box, fill=255)
            draw.rectangle(hole, fill=0)
        case "plus":
            draw.rectangle((low, centre - bar / 2, high - 1, centre + bar / 2 - 1), fill=255)
            draw.rectangle((centre - bar / 2, low, centre + bar / 2 - 1, high - 1), fill=255)
        case "cross":
            for sign in (1, -1):
                ends = [(low, centre - sign * radius), (high, centre + sign * radius)]
                draw.line(ends, fill=255, width=round(bar))
        case "triangle":
            draw.polygon(_corners(centre, radius * 1.15, turns=(0, 1 / 3, 2 / 3)), fill=255)
        case "star":
            outer = _corners(centre, radius * 1.15, turns=tuple(i / 5 for i in range(5)))
            inner = _corners(centre, radius * 0.5, turns=tuple((i + 0.5) / 5 for i in range(5)))
            draw.polygon([point for pair in zip(outer, inner, strict=True) for point in pair], fill=255)
        case _:
            raise DataError(f"unknown shape {shape!r}; the shapes are {', '.join(SHAPES)}")


def _corners(centre: float, radius: float, *, turns: tuple[float, ...]) -> list[tuple[float, float]]:
    """Return points on a circle, clockwise from the top, at these parts of a full turn."""
    angles = [2 * math.pi * turn for turn in turns]
    return [(centre + radius * math.sin(angle), centre - radius * math.cos(angle)) for angle in angles]


def _paint(mask: Image.Image, colour: tuple[int, int, int], image_size: int) -> Array:
    """Average an oversampled mask down and mix colour and ground by it."""
    size = mask.size[0]
    cells = np.asarray(mask, dtype=np.float64).reshape(image_size, size // image_size, image_size, -1)
    part = cells.mean(axis=(1, 3))[..., None] / 255.0  # (image_size, image_size, 1)
    mixed = GROUND + part * (np.array(colour) - GROUND)
    return np.asarray(np.rint(mixed), dtype=np.uint8)
