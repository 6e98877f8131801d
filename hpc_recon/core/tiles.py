"""Groups and tiles: what a command computes, cut into pieces that one task each computes.

A *group* is one result with one set of settings, for example the decoders of one subject, ROI, network
and layer. A *tile* is one shard-aligned range of a group, computed and written by one task. Both are
plain values: they travel to workers, name the receipts, and say what a run will cost.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Version of everything that is written into a workspace (docs/store_format.md).
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Need:
    """What one tile is projected to need; all figures are estimates made before the run."""

    #: Peak resident bytes of the worker beyond its idle size.
    host_bytes: int = 0
    #: Peak bytes on the GPU, 0 if the tile runs on the CPU.
    device_bytes: int = 0
    #: Bytes read from and written to the workspace.
    bytes_in: int = 0
    bytes_out: int = 0
    #: Number of files written.
    files_out: int = 0
    #: Wall-clock seconds on one worker of this machine's class.
    seconds: float = 0.0


#: Seconds to start a tile, and bytes a second that stores read and write, on a laptop's disk.
START_SECONDS = 0.3
STORE_BYTES_PER_SECOND = 2e8


def store_seconds(n_bytes: int) -> float:
    """Return the projected seconds to start a tile and to read and write `n_bytes` of stores."""
    return START_SECONDS + n_bytes / STORE_BYTES_PER_SECOND


@dataclass(frozen=True)
class Group:
    """One result with one set of settings.

    Attributes
    ----------
    verb
        The command that makes it, for example `fit`.
    path
        Its place below `receipts/<verb>/`, for example `("S1", "VC", "vgg", "conv1_1")`.
    settings
        The slice of the study on which the result depends, as canonical JSON text; compared on resume.
    upstream
        Keys (`verb/path`, possibly a prefix) of the groups that it reads; their digests are compared too.
    """

    verb: str
    path: tuple[str, ...]
    settings: str = "{}"
    upstream: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`verb/path`, unique in a workspace and equal to the folder below `receipts/`."""
        return "/".join((self.verb, *self.path))

    def fingerprint(self, upstream_digests: dict[str, str]) -> dict[str, Any]:
        """Return what must be equal for existing results to count as done."""
        return {
            "format": FORMAT_VERSION,
            "settings": json.loads(self.settings),
            "upstream": {key: upstream_digests[key] for key in self.upstream},
        }


@dataclass(frozen=True)
class Tile:
    """One shard-aligned range `[start, stop)` of a group, in units or stimuli as the verb defines it."""

    group: Group
    #: Name of the stage; stages run one after another in the order in which a plan first names them.
    stage: str
    start: int
    stop: int
    need: Need = field(default=Need(), compare=False)

    @property
    def name(self) -> str:
        """File name of the receipt: unique in the group."""
        return f"{self.stage}-{self.start:08d}-{self.stop:08d}"

    @property
    def id(self) -> str:
        """Unique in the workspace; `--only` patterns match against it."""
        return f"{self.group.key}/{self.name}"


def canonical(settings: object) -> str:
    """Return JSON text that is equal for equal settings (sorted keys, no white space)."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), default=str)


def digest(fingerprint: dict[str, Any]) -> str:
    """Return the first 16 hexadecimal digits of the sha256 of a fingerprint."""
    return hashlib.sha256(canonical(fingerprint).encode()).hexdigest()[:16]


def stages(tiles: Iterable[Tile]) -> list[tuple[str, list[Tile]]]:
    """Group tiles by stage, stages in order of first appearance."""
    found: dict[str, list[Tile]] = {}
    for tile in tiles:
        found.setdefault(tile.stage, []).append(tile)
    return list(found.items())


def ranges(total: int, step: int) -> list[tuple[int, int]]:
    """Cut `range(total)` into `[start, stop)` pieces of `step`, the last one shorter.

    >>> ranges(10, 4)
    [(0, 4), (4, 8), (8, 10)]
    """
    return [(start, min(start + step, total)) for start in range(0, total, step)]


def select(tiles: Sequence[Tile], *, only: str | None, limit: int | None) -> list[Tile]:
    """Keep the tiles that `--only` (a glob against the id, `*` crosses `/`) and `--limit` allow."""
    kept = [t for t in tiles if only is None or fnmatch.fnmatchcase(t.id, f"*{only}*")]
    return kept if limit is None else kept[:limit]


class Shapes(Protocol):
    """Sizes of what a study holds, read from metadata only; `stores.shapes.read` makes one.

    Each method raises `MissingStore`, naming the command, when the store it asks does not exist yet.
    """

    def n_stimuli(self) -> int:
        """Return the number of rows of the stimulus table (all datasets)."""
        ...

    def image_size(self) -> tuple[int, int]:
        """Return height and width of the stored stimuli, pixels."""
        ...

    def n_samples(self, split: str, dataset: str) -> int:
        """Return the number of brain samples of a dataset."""
        ...

    def n_voxels(self, split: str, roi: str) -> int:
        """Return the number of voxels of an ROI."""
        ...

    def n_items(self, split: str, dataset: str) -> int:
        """Return the number of test items: distinct stimuli, or samples where repeats are not averaged."""
        ...

    def n_units(self, network: str, layer: str) -> int:
        """Return the number of units of a stored layer."""
        ...

    def unit_shape(self, network: str, layer: str) -> tuple[int, ...]:
        """Return (channels, height, width) or (n_units,) of a stored layer."""
        ...

    def made_by(self, network: str, layer: str) -> str:
        """Return the key of the group that makes a stored layer."""
        ...
