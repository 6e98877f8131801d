"""Features that were computed elsewhere: which files hold those of a study's stimuli, and whether they are the same.

Labels are matched by name; every stimulus of the study needs its file in every layer, and files of other labels are
left alone. What counts as the same file: `file_records`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from hpc_recon.core import file_records, threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.core.text import closest
from hpc_recon.formats.feature_trees import FeatureTree


class Given(Protocol):
    """What is known of a layer that is read: as files of single stimuli, or as arrays (`given_arrays`)."""

    @property
    def network(self) -> str:
        """Name of the network."""
        ...

    @property
    def layer(self) -> str:
        """Name of the layer."""
        ...

    @property
    def unit_shape(self) -> tuple[int, ...]:
        """Shape of one stimulus's features."""
        ...

    @property
    def n_units(self) -> int:
        """Number of units."""
        ...

    @property
    def files(self) -> Mapping[str, Path]:
        """Files by name, those of which a record is kept."""
        ...

    @property
    def whole_bytes(self) -> int:
        """Bytes of what can only be read as a whole."""
        ...

    def recorded(self, labels: Sequence[str]) -> Sequence[str]:
        """Return the names in `files` of those that hold some labels."""
        ...

    def read(self, labels: Sequence[str]) -> Array:
        """Read the features of some stimuli, (n_labels, n_units) float32."""
        ...


@dataclass(frozen=True)
class LayerFiles:
    """The files of one layer for the stimuli of a study."""

    network: str
    layer: str
    #: (C, H, W) or (K,), as in the first file.
    unit_shape: tuple[int, ...]
    #: Trees, each with those of the labels that lie in it.
    trees: tuple[tuple[FeatureTree, tuple[str, ...]], ...] = field(repr=False)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return math.prod(self.unit_shape)

    @property
    def files(self) -> dict[str, Path]:
        """The file of each label, sorted by label."""
        found = {label: tree.files[self.layer][label] for tree, labels in self.trees for label in labels}
        return dict(sorted(found.items()))

    @property
    def whole_bytes(self) -> int:
        """Nothing is read as a whole."""
        return 0

    def recorded(self, labels: Sequence[str]) -> Sequence[str]:
        """Return the labels: each is a file."""
        return labels

    def read(self, labels: Sequence[str], *, n_threads: int | None = None) -> Array:
        """Read the features of some stimuli, (n_labels, n_units) float32.

        Raises
        ------
        DataError
            If a file is damaged, has units of another shape than the others, or a value that is not finite.
        """
        row = {label: i for i, label in enumerate(labels)}
        values = np.empty((len(labels), self.n_units), dtype=np.float32)
        count = min(file_records.AT_ONCE, n_threads or 2 * threads.available())
        for tree, held in self.trees:
            wanted = [label for label in held if label in row]
            if wanted:
                for label, units in tree.iterate(self.layer, wanted, threads=count, shape=self.unit_shape):
                    values[row[label]] = units
        return values


def look(name: str, network: Network, labels: Sequence[str] | None) -> dict[str, LayerFiles]:
    """Find the files of a network's layers; folders are listed, and one file of each layer and folder is read.

    Parameters
    ----------
    name
        Of the network, for messages.
    labels
        Of all stimuli; None: not known yet, nothing is matched.

    Returns
    -------
    dict
        By layer, in the order of the study.

    Raises
    ------
    StudyError
        With everything that does not fit: layers that are not there, stimuli without a file or with two, shapes that
        differ between folders.
    """
    assert network.features is not None, "asked of networks with files only"
    trees = [FeatureTree(folder) for folder in network.features.folders]
    problems: list[str] = []
    found: dict[str, LayerFiles] = {}
    for tree in trees:
        try:
            absent = [layer for layer in network.layers if layer not in tree.files]
        except DataError as error:
            problems.append(f"{name}: {error}")
            continue
        problems += [f"{name}: {tree.root} has no layer {layer!r}{closest(layer, tree.layers)}" for layer in absent]
    if problems:
        raise StudyError("networks", problems)
    held = _held(name, trees, labels, problems)
    for layer in network.layers if not problems else ():
        shapes = {}
        for tree, mine in zip(trees, held, strict=True):
            if not mine and labels is not None:
                continue
            try:
                shapes[tree.root] = tree.shape(layer)
            except DataError as error:
                problems.append(f"{name}: {error}")
        if len(set(shapes.values())) > 1:
            shown = ", ".join(f"{shape} in {root}" for root, shape in shapes.items())
            problems.append(f"{name}: the units of {layer} have different shapes: {shown}; give folders of one network")
        elif shapes:
            parts = tuple((tree, mine) for tree, mine in zip(trees, held, strict=True) if mine)
            found[layer] = LayerFiles(name, layer, next(iter(shapes.values())), parts)
    if problems:
        raise StudyError("networks", problems)
    return found


def _held(
    name: str, trees: Sequence[FeatureTree], labels: Sequence[str] | None, problems: list[str]
) -> list[tuple[str, ...]]:
    """Return which of the labels lie in each tree; labels in none or in two are problems."""
    if labels is None:
        return [() for _ in trees]
    known_to = [set(tree.labels) for tree in trees]
    held = [tuple(label for label in labels if label in known) for known in known_to]
    count = {label: sum(label in known for known in known_to) for label in labels}
    missing = [label for label, n in count.items() if n == 0]
    twice = [label for label, n in count.items() if n > 1]
    roots = " or ".join(str(tree.root) for tree in trees)
    if missing:
        every = set().union(*known_to)
        problems.append(
            f"{name}: {len(missing):,} of {len(labels):,} stimuli have no file in {roots} ({', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}{closest(missing[0], every)}); add the files, or give their folder "
            "too under features.folders"
        )
    if twice:
        problems.append(
            f"{name}: {len(twice):,} stimuli have a file in more than one of {roots} ({', '.join(twice[:5])}); remove "
            "one, or name one folder"
        )
    return held


def identity(workspace: Path, found: Given) -> str:
    """Return what stays the same while the files hold what was read; see `file_records.identity`."""
    return file_records.identity(_records(workspace, found), found.files, redo=_redo(found))


def record(workspace: Path, found: Given, labels: Sequence[str], *, start: int) -> Path:
    """Write which files the stimuli from row `start` were read from; see `file_records.record`."""
    folder = _records(workspace, found)
    return file_records.record(folder, found.files, found.recorded(labels), name=f"{start:08d}", redo=_redo(found))


def _records(workspace: Path, found: Given) -> Path:
    return workspace / file_records.SOURCES / found.network / found.layer


def _redo(found: Given) -> str:
    return f"`python -m hpc_recon.extract --study <study file> --redo --only '{found.network}/{found.layer}/*'`"


def settings(network: Network, found: Given, *, identity: str) -> str:
    """Return what the stored features of a layer depend on, as canonical JSON."""
    content = {
        "files": identity,
        "unit_shape": list(found.unit_shape),
        "dtype": network.dtype,
        "transform": network.transform,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
