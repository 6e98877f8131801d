"""The design of one set of human judgements: which images, which trials; what `rate` writes and `evaluate` reads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import read_json, write_json
from hpc_recon.core.text import is_safe_name

#: Folder of the workspace that holds designs and, unless `--to` says otherwise, pages.
FOLDER = "rating"
FORMAT = 1
KIND = "hpc_recon rating design"
#: What raters decide in each task. The first three choose between stimuli, the last between reconstructions.
TASKS = ("identify", "shape", "colour", "compare")


@dataclass(frozen=True)
class Design:
    """One set of trials, the same for all of its raters.

    Attributes
    ----------
    variants
        The method whose images are judged; in `compare` all that are compared.
    images
        Names of the items.
    per_image
        Trials of each image; None: all pairs.
    trials
        `compare`: (image, variant, other variant), else (image, candidate, other candidate): the image is the one that
        is reconstructed and one of the candidates.
    pictures
        sha256 of all pictures of the page: images that were made anew are another design.
    """

    name: str
    task: str
    study: str
    subject: str
    roi: str
    dataset: str
    variants: tuple[str, ...]
    images: tuple[str, ...]
    seed: int
    per_image: int | None
    trials: tuple[tuple[int, int, int], ...]
    pictures: str

    @property
    def digest(self) -> str:
        """sha256 of the whole design: ratings carry it, so that they are never counted for another one."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def path_of(workspace: Path, name: str) -> Path:
    """Return where the design of a set lies."""
    return workspace / FOLDER / name / "design.json"


def write(workspace: Path, design: Design) -> Path:
    """Write a design with its digest."""
    content = {"format": FORMAT, "kind": KIND, "digest": design.digest, **asdict(design)}
    return write_json(path_of(workspace, design.name), content)


def read(workspace: Path, name: str) -> Design:
    """Read the design of a set.

    Raises
    ------
    MissingStore
        If the workspace has none of this name.
    DamagedStore
        If it is not what `write` wrote, to the last character.
    """
    path = path_of(workspace, name)
    if not is_safe_name(name) or not path.is_file():
        known = sorted(file.parent.name for file in (workspace / FOLDER).glob("*/design.json"))
        raise MissingStore(
            f"the workspace has no set of trials {name!r} (it has {', '.join(known) or 'none'}); give the ratings to "
            f"the study whose `python -m hpc_recon.rate` made their page"
        )
    try:
        content: dict[str, Any] = dict(read_json(path))
        known_digest = content.pop("digest")
        made = (content.pop("format"), content.pop("kind")) == (FORMAT, KIND)
        content |= {key: tuple(content[key]) for key in ("variants", "images")}
        content["trials"] = tuple((int(a), int(b), int(c)) for a, b, c in content["trials"])
        design = Design(**content)
        intact = made and design.digest == known_digest and design.name == name
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStore(f"{path} is damaged ({error}); {_REMEDY}") from error
    if not intact:
        raise DamagedStore(f"{path} is not as it was written: its digest differs; {_REMEDY}")
    return design


_REMEDY = "remove it and make it anew with the same `python -m hpc_recon.rate`: the same images and seed give the same"
