"""Galleries: images as data URIs, in bands of a few columns, stimulus above reconstruction."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array

#: Longest side of an embedded image, pixels: twice what is shown, for sharp screens.
LARGEST = 256
#: Images up to this side are enlarged without smoothing, so that a pixel stays a pixel.
PIXELATED = 64
#: Columns of a band at most: eight images of 100 px fit beside their labels on a laptop. A telephone shows three.
COLUMNS = 8


@dataclass(frozen=True)
class Picture:
    """One embedded image."""

    uri: str
    alt: str
    is_pixelated: bool
    #: By metric, the image's own scores.
    scores: Mapping[str, float] = field(default_factory=dict)
    #: Data URI of the animation of its making; empty: none.
    animation: str = ""


@dataclass(frozen=True)
class Strip:
    """One row of a gallery: `kind` is stimulus, reconstruction or baseline; it chooses the frame."""

    label: str
    note: str
    kind: str
    pictures: tuple[Picture, ...]
    #: Whose images these are: a reader can choose by it. Empty: shown whatever is chosen.
    subject: str = ""
    roi: str = ""
    method: str = ""


@dataclass(frozen=True)
class Band:
    """A few columns: the names above, the rows below each other."""

    names: tuple[str, ...]
    rows: tuple[Strip, ...]


@dataclass(frozen=True)
class Gallery:
    """All images of one dataset that are shown."""

    title: str
    note: str
    columns: int
    bands: tuple[Band, ...]
    is_open: bool = True

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures."""
        return tuple(one for band in self.bands for row in band.rows for one in row.pictures)

    @property
    def n_bytes(self) -> int:
        """Bytes of the page that the pictures and animations take."""
        return sum(len(one.uri) + len(one.animation) for one in self.pictures)

    def choices(self, name: str) -> list[str]:
        """Return the different values of `subject`, `roi` or `method` of the rows, in their order."""
        found = [str(getattr(row, name)) for row in (self.bands[0].rows if self.bands else ())]
        return list(dict.fromkeys(value for value in found if value))

    @property
    def metrics(self) -> list[str]:
        """Names of the scores that images have."""
        return list(dict.fromkeys(name for one in self.pictures for name in one.scores))


#: What stands in the place of a picture that may not be shown.
_WITHHELD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" width="100" height="100"><path fill="#a9a6a0" '
    'd="M0 0h100v100H0z"/><text x="50" y="54" font-family="sans-serif" font-size="15" text-anchor="middle" '
    'fill="#1e2124">withheld</text></svg>'
)


def withheld(alt: str) -> Picture:
    """Return a grey placeholder with the word `withheld`; it holds nothing of the picture."""
    return Picture("data:image/svg+xml;base64," + base64.b64encode(_WITHHELD.encode()).decode(), alt, False)


def picture(
    image: Array, alt: str, *, largest: int = LARGEST, scores: Mapping[str, float] | None = None, animation: bytes = b""
) -> Picture:
    """Embed an image.

    Parameters
    ----------
    image
        (H, W, 3) uint8, or float in [0, 1].
    alt
        What it shows, for people who do not see it.
    largest
        Longest side, pixels; a larger image is reduced.
    scores
        By metric, its scores; kept to four decimals.
    animation
        The bytes of a WebP; empty: none.
    """
    pixels = image if image.dtype == np.uint8 else np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    made = Image.fromarray(pixels)
    side = max(made.size)
    if side > largest:
        made = made.resize(
            (max(1, round(made.width * largest / side)), max(1, round(made.height * largest / side))),
            Image.Resampling.LANCZOS,
        )
    buffer = io.BytesIO()
    made.save(buffer, format="PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    kept = {name: round(float(value), 4) for name, value in (scores or {}).items()}
    moving = "data:image/webp;base64," + base64.b64encode(animation).decode() if animation else ""
    return Picture(uri, alt, side <= PIXELATED, kept, moving)


def gallery(
    title: str, names: Sequence[str], rows: Sequence[Strip], *, note: str = "", is_open: bool = True
) -> Gallery:
    """Cut rows of equal length into bands of at most eight columns, all about equally long.

    >>> rows = [Strip("seen", "", "stimulus", tuple(Picture("", str(i), True) for i in range(10)))]
    >>> [band.names for band in gallery("letters", "ABCDEFGHIJ", rows).bands]
    [('A', 'B', 'C', 'D', 'E'), ('F', 'G', 'H', 'I', 'J')]

    Raises
    ------
    ValueError
        If a row does not have one picture a name.
    """
    wrong = [row.label for row in rows if len(row.pictures) != len(names)]
    if wrong:
        raise ValueError(f"each row needs one picture a name ({len(names)}), but these have others: {', '.join(wrong)}")
    n_bands = max(1, -(-len(names) // COLUMNS))
    columns = max(1, -(-len(names) // n_bands))
    bands = []
    for start in range(0, len(names), columns):
        part = slice(start, start + columns)
        cut = tuple(replace(row, pictures=row.pictures[part]) for row in rows)
        bands.append(Band(tuple(names[part]), cut))
    return Gallery(title, note, columns, tuple(bands), is_open)
