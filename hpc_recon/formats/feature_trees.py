"""Feature files as laboratories keep them: a tree of folders with one `.mat` a label, its variable `feat`.

True features: `<root>/<layer>/<label>.mat`. Decoded ones:
`<root>/<layer>/<subject>/<roi>/[<fold>/][decoded_features/]<label>.mat`, or the names of the public archives of 2019,
`<type>-<net>-<layer>-<subject>-<roi>-<label>.mat`, whose convolutional layers lack the axis of samples. Values are
(1, C, H, W) or (1, K); units count in C order. A `/` in a layer's name is `:` in its folder's.

Sources: bdpy 0.26 (`bdpy.dataform.Features`, `DecodedFeatures`) and the archives of figshare article 7033577.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import visible
from hpc_recon.core.text import closest
from hpc_recon.formats import matlab, sparse

KEY = "feat"
_DECODED = "decoded_features"


@dataclass(frozen=True)
class FeatureTree:
    """The features of some layers for the same labels; nothing is read before it is asked for.

    Raises
    ------
    DataError
        Where the tree is looked into: if it has no layer, a layer has no file, or two layers list different labels.
    """

    #: Folder of the layers.
    root: Path

    @cached_property
    def files(self) -> dict[str, dict[str, Path]]:
        """The file of each label of each layer, both sorted by name; layers with `/` as networks name them."""
        if not self.root.is_dir():
            raise DataError(f"{self.root} does not exist, or is not a folder; correct the path")
        folders = sorted(path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))
        found = {folder.name.replace(":", "/"): _labels(folder, {}) for folder in folders}
        if not found:
            raise DataError(f"{self.root} has no folder of a layer; name the folder above the layers")
        _require_same_labels(found, self.root)
        return found

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, sorted."""
        return tuple(self.files)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels, sorted; the same in every layer."""
        return tuple(next(iter(self.files.values())))

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return (C, H, W) or (K,), from the file of the first label."""
        return _read(next(iter(self._layer(layer).values())), None)[1]

    def read(
        self,
        layer: str,
        labels: Sequence[str] | None = None,
        units: Array | None = None,
        *,
        threads: int = 1,
        shape: tuple[int, ...] | None = None,
    ) -> Array:
        """Read rows of features.

        Parameters
        ----------
        layer
            Name of the layer.
        labels
            The rows, in this order; None for all.
        units
            (n_units,) zero-based numbers of units in C order; None for all.
        threads
            Files read at once.
        shape
            What the units of every file must be, (C, H, W) or (K,); None: those of the first file that is read.

        Returns
        -------
        Array
            (n_labels, n_units) float32.

        Raises
        ------
        DataError
            If a label or layer is unknown, a file is damaged, shapes disagree, a value is not finite, or a unit is
            outside the layer.
        """
        wanted = self.labels if labels is None else tuple(labels)
        rows: Array | None = None
        for i, (_, row) in enumerate(self.iterate(layer, wanted, units, threads=threads, shape=shape)):
            rows = np.empty((len(wanted), row.size), dtype=np.float32) if rows is None else rows
            rows[i] = row
        if rows is None:
            raise DataError(f"no label of layer {layer} in {self.root} is asked for; give at least one")
        return rows

    def iterate(
        self,
        layer: str,
        labels: Sequence[str] | None = None,
        units: Array | None = None,
        *,
        threads: int = 1,
        shape: tuple[int, ...] | None = None,
    ) -> Iterator[tuple[str, Array]]:
        """Yield each label with its row (n_units,) float32, as `read`; at most `2 * threads` files are in memory."""
        files = self._layer(layer)
        wanted = self.labels if labels is None else tuple(labels)
        unknown = [label for label in wanted if label not in files]
        if unknown:
            raise DataError(
                f"layer {layer} in {self.root} lacks {len(unknown)} of {len(wanted)} labels "
                f"(first: {unknown[0]!r}{closest(unknown[0], files)})"
            )
        yield from _rows([(label, files[label]) for label in wanted], units, threads, shape)

    def _layer(self, layer: str) -> dict[str, Path]:
        if layer not in self.files:
            raise DataError(f"{self.root} has no layer {layer!r}{closest(layer, self.files)}")
        return self.files[layer]


@dataclass(frozen=True)
class DecodedTree:
    """Decoded features of layers, subjects and ROIs (and folds), under any of the names above."""

    #: Folder of the layers.
    root: Path
    _cache: dict[tuple[str, ...], dict[str, Path]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Return the (layer, subject, roi) or (layer, subject, roi, fold) that have files, sorted."""
        if not self.root.is_dir():
            raise DataError(f"{self.root} does not exist, or is not a folder; correct the path")
        found = set()
        for path in visible(self.root, "*/*/*/**/*.mat"):
            parts = [part for part in path.relative_to(self.root).parts[:-1] if part != _DECODED]
            if len(parts) not in (3, 4):
                raise DataError(f"{path} is not at <layer>/<subject>/<roi>/[<fold>/]; name the folder of the layers")
            found.add((parts[0].replace(":", "/"), *parts[1:]))
        if not found:
            raise DataError(f"{self.root} has no <layer>/<subject>/<roi>/<label>.mat; name the folder of the layers")
        return tuple(sorted(found))

    def labels(self, *group: str) -> tuple[str, ...]:
        """Return the sorted labels of (layer, subject, roi[, fold])."""
        return tuple(self.files(*group))

    def read(self, *group: str, units: Array | None = None, threads: int = 1) -> tuple[tuple[str, ...], Array]:
        """Return the sorted labels of a group, and (n_labels, n_units) float32; errors as `FeatureTree.read`."""
        files = self.files(*group)
        return tuple(files), read_rows(files, units, threads=threads)

    def inner(self, layer: str, *rest: str) -> Path:
        """Return the folder of a group below the root; its files may lie deeper, in `decoded_features`."""
        return Path(layer.replace("/", ":"), *rest)

    def files(self, *group: str) -> dict[str, Path]:
        """Return the file of each label of (layer, subject, roi[, fold]), sorted by label."""
        if group not in self._cache:
            layer, *rest = group
            folder = self.root / self.inner(layer, *rest)
            inner = folder / _DECODED
            self._cache[group] = _labels(
                inner if inner.is_dir() else folder, {"layer": layer, "rest": "-".join(rest[:2])}
            )
        return self._cache[group]


def read_rows(
    files: Mapping[str, Path], units: Array | None = None, *, threads: int = 1, shape: tuple[int, ...] | None = None
) -> Array:
    """Read one row a file, (n_files, n_units) float32, in the order of `files`; errors as `FeatureTree.read`."""
    rows: Array | None = None
    for i, (_, row) in enumerate(_rows(list(files.items()), units, threads, shape)):
        rows = np.empty((len(files), row.size), dtype=np.float32) if rows is None else rows
        rows[i] = row
    if rows is None:
        raise DataError("no file of features is asked for; give at least one")
    return rows


def feature_path(layer: str, label: str) -> str:
    """Return where the true features of a label lie below the folder of the layers.

    >>> feature_path("blocks/3", "n01518878_10042")
    'blocks:3/n01518878_10042.mat'
    """
    return f"{_folder(layer)}/{_folder(label)}.mat"


def decoded_path(layer: str, subject: str, fold: str | None, roi: str, label: str) -> str:
    """Return where decoded features lie below the folder of the layers.

    >>> decoded_path("fc6", "S1", None, "VC", "Img1"), decoded_path("fc6", "S1", "f1", "VC", "Img1")
    ('fc6/S1/VC/Img1.mat', 'fc6/S1/VC/f1/decoded_features/Img1.mat')
    """
    inner = "" if fold is None else f"{_folder(fold)}/{_DECODED}/"
    return f"{_folder(layer)}/{_folder(subject)}/{_folder(roi)}/{inner}{_folder(label)}.mat"


def write_feature(root: Path, layer: str, label: str, values: Array, unit_shape: Sequence[int]) -> Path:
    """Write the true features of one label, (n_units,) in C order, as `<root>/<layer>/<label>.mat` (`write_file`)."""
    return write_file(root / feature_path(layer, label), values, unit_shape)


def write_decoded(
    root: Path, layer: str, subject: str, roi: str, label: str, values: Array, unit_shape: Sequence[int]
) -> Path:
    """Write the decoded features of one label as `<root>/<layer>/<subject>/<roi>/<label>.mat`; see `write_file`."""
    return write_file(root / decoded_path(layer, subject, None, roi, label), values, unit_shape)


def read_index(path: Path) -> dict[str, Array]:
    """Read a file of units: the structure `index` with, for each layer, zero-based units in C order, (n_units,) int64.

    Raises
    ------
    DataError
        If the file has no such structure, or a layer's units are not distinct whole numbers from 0.
    """
    value = matlab.read_value(path, "index")
    if not isinstance(value, dict):
        raise DataError(f"index in {path} must be a structure with a field for each layer")
    found = {}
    for layer, numbers in value.items():
        units = np.ravel(numbers) if isinstance(numbers, np.ndarray) else np.array([""])
        whole = units.dtype.kind in "biuf" and np.equal(units, np.rint(units)).all() and np.isfinite(units).all()
        if not whole or (units < 0).any() or np.unique(units).size != units.size:
            raise DataError(f"index.{layer} in {path} must hold distinct whole numbers from 0; write it again")
        found[layer.replace(":", "/")] = units.astype(np.int64)
    return found


def _labels(folder: Path, old: dict[str, str]) -> dict[str, Path]:
    """Return label to file. In the archives of 2019 a label follows `-<layer>-<subject>-<roi>-`."""
    paths = sorted(path for path in folder.glob("*.mat") if not path.name.startswith("."))
    if not paths:
        raise DataError(f"{folder} has no .mat file; is this the folder above the layers, and was it unpacked?")
    mark = f"-{old['layer']}-{old['rest']}-" if old else ""
    found: dict[str, Path] = {}
    for path in paths:
        label = path.stem.split(mark, 1)[1] if mark and mark in path.stem else path.stem
        if label in found:
            raise DataError(f"label {label!r} is in {folder} twice: {found[label].name} and {path.name}; remove one")
        found[label] = path
    return dict(sorted(found.items()))


def _require_same_labels(found: dict[str, dict[str, Path]], root: Path) -> None:
    first, *others = found
    for layer in others:
        lacks, more = sorted(set(found[first]) - set(found[layer])), sorted(set(found[layer]) - set(found[first]))
        if lacks or more:
            shown = [f"{layer} lacks {len(lacks)} ({', '.join(lacks[:5])})"] if lacks else []
            shown += [f"{first} lacks {len(more)} ({', '.join(more[:5])})"] if more else []
            raise DataError(
                f"layers {first} and {layer} in {root} have different labels: {'; '.join(shown)}; "
                "add or remove the files"
            )


def _read(path: Path, expected: tuple[int, ...] | None) -> tuple[Array, tuple[int, ...]]:
    """Return the values (n_units,) of one file, and its unit shape; `expected` is that of the files before it."""
    value = sparse.read_dense(path, KEY)
    if value.ndim == 3 and (value.shape[0] != 1 or (expected is not None and len(expected) == 3)):
        value = value[None]  # archives of 2019 have no axis of samples
    if value.ndim < 2 or value.shape[0] != 1:
        turned = value.ndim > 1 and value.shape[-1] == 1
        hint = "; its axes seem to be reversed: write the .mat with the axes that MATLAB shows" if turned else ""
        raise DataError(
            f"{KEY} in {path} must be (1, channels, rows, columns) or (1, units), but is {value.shape}{hint}"
        )
    shape = value.shape[1:]
    if expected is not None and shape != expected:
        hint = ": its axes are reversed, write it with those of the others" if shape[::-1] == expected else ""
        raise DataError(f"{KEY} in {path} has units {shape}, but other labels have {expected}{hint}")
    flat = value.reshape(-1)
    n_bad = int(np.count_nonzero(~np.isfinite(flat)))
    if n_bad:
        raise DataError(f"{KEY} in {path} has {n_bad} of {flat.size} values that are NaN or infinite; compute it again")
    return flat, shape


def _rows(
    files: Sequence[tuple[str, Path]], units: Array | None, threads: int, shape: tuple[int, ...] | None = None
) -> Iterator[tuple[str, Array]]:
    if not files:
        return
    if shape is None:
        _, shape = _read(files[0][1], None)
    n_units = math.prod(shape)
    if units is not None and units.size and (int(units.min()) < 0 or int(units.max()) >= n_units):
        raise DataError(f"units {units.min()} to {units.max()} are asked of {files[0][1]}, which has {n_units}")

    def row(path: Path) -> Array:
        flat, _ = _read(path, shape)
        return np.asarray(flat if units is None else flat[units], dtype=np.float32)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        step = 2 * threads
        for start in range(0, len(files), step):
            part = files[start : start + step]
            for (label, _), values in zip(part, pool.map(row, [path for _, path in part]), strict=True):
                yield label, values


def write_file(path: Path, values: Array, unit_shape: Sequence[int]) -> Path:
    """Write the features of one label, (n_units,) in C order, as float32 (1, *unit_shape).

    v5 below 2 GB, which the lab's scripts try first, else v7.3.

    Raises
    ------
    DataError
        If the number of values is not that of `unit_shape`, or a value is not finite.
    """
    flat = np.asarray(values, dtype=np.float32)
    if flat.shape != (math.prod(unit_shape),):
        raise DataError(f"{path} takes {tuple(unit_shape)} units, but is given {flat.shape}")
    n_bad = int(np.count_nonzero(~np.isfinite(flat)))
    if n_bad:
        raise DataError(f"{path} would hold {n_bad} of {flat.size} values that are NaN or infinite")
    content = {KEY: flat.reshape(1, *unit_shape)}
    small = flat.nbytes + 4096 <= matlab.LARGEST_V5
    return matlab.write_v5(path, content) if small else matlab.write_v73(path, content)


def _folder(name: str) -> str:
    """Return a name as a file's: `/` becomes `:`."""
    found = name.replace("/", ":")
    if not found or found.startswith(".") or "\\" in found or "\0" in found:
        raise DataError(f"{name!r} cannot be the name of a file or folder; rename it")
    return found
