"""What shape-semantic images are made from, on the page: the shape of each area, the joined one, the image."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

#: Items of each entry that are shown.
ITEMS = 8


@dataclass(frozen=True)
class Staged:
    """The first items of one entry: what the columns are, a row an item (a data URI), and what was decoded of them."""

    name: str
    columns: tuple[str, ...]
    picture: str
    items: tuple[str, ...]


def collect(
    workspace: Path, entries: Sequence[str], *, datasets: Sequence[str] = (), with_pictures: bool = True
) -> list[Staged]:
    """Return what there is below `images/`, an entry each, of its first split, ROI and dataset; nothing elsewhere.

    Parameters
    ----------
    entries
        Of `reconstruct`: what lies there of others, which the study has no more, is not shown.
    datasets
        Their order; others come last.
    with_pictures
        The strips show stimuli: False where not all stimuli may be published.
    """
    folders: dict[str, Path] = {}
    place = {name: number for number, name in enumerate(datasets)}
    found = sorted((workspace / "images").glob("*/*/*/*/stages"))
    for folder in sorted(found, key=lambda path: place.get(path.parent.name, len(place))):
        folders.setdefault(folder.relative_to(workspace / "images").parts[0], folder)
    return [_staged(name, folders[name]) for name in sorted(folders) if name in entries] if with_pictures else []


def _staged(name: str, folder: Path) -> Staged:
    paths = sorted(folder.glob("*.png"))[:ITEMS]
    records = [json.loads((folder.parent / path.name).with_suffix(".json").read_text()) for path in paths]
    strips = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(strips)).save(stream, format="PNG")
    columns = ("stimulus", *(f"shape from {area}" for area in records[0]["areas"]), "joined shape", "image")
    alike = max(len(record.get("examples", ())) for record in records)
    if alike:
        columns += (f"{alike} training images of the class decoded from semantics",)
    items = tuple(f"{record['item']}{_decoded(record)}" for record in records)
    return Staged(name, columns, f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}", items)


def _decoded(record: dict[str, list[dict[str, object]]]) -> str:
    """Return what was decoded of an item's class by the first network, and whether that is what it shows."""
    if not record["semantics"]:
        return ""
    own = record["semantics"][0]
    decoded, true = (f"cluster {x}" if isinstance(x, int) else x for x in (own["decoded"], own["true"]))
    return f" (decoded {decoded}{'' if true is None else f', shows {true}'})"
