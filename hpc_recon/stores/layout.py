"""Where everything lies in a workspace, and how arrays are cut: names and sizes only, nothing is read.

The geometry is a constant of the format (docs/store_format.md, section 3), never of a cluster or its memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import WITH, is_converted, owner
from hpc_recon.core.errors import DataError
from hpc_recon.core.text import SAFE_NAME_RULE, is_safe_name

#: Stimuli in a shard: one extract tile writes a row of shards. VGG19 x 1,200 images is 11,625 files.
STIMULI_PER_SHARD = 48
#: Units in a shard: one fit tile reads a column of shards and writes 94 MiB of decoders with 500 voxels.
UNITS_PER_SHARD = 32768
#: Units in an inner chunk, the smallest piece that is read and has a checksum.
UNITS_PER_CHUNK = 4096
#: Of float32 weights in a shard of decoders. A tile of `fit` holds them, their voxels' numbers and what writing takes:
#: five times as much.
WEIGHT_BYTES_PER_SHARD = 2**28
#: Brain samples in an inner chunk and in a shard: 11,726 voxels x 1,024 samples are 46 MiB.
SAMPLES_PER_CHUNK = 128
SAMPLES_PER_SHARD = 1024
#: The name below a split that holds ROI masks; no dataset may have it.
ROI_FOLDER = "roi"
#: The name below a split of the array that says where voxels lie; no dataset may have it either.
POSITIONS = "positions"
RESERVED = (ROI_FOLDER, POSITIONS)

DECODER_PARTS = ("voxel", "weight", "stats", "alpha")
OUT_OF_FOLD_PARTS = ("features", "stats")
CONVERTER_PARTS = ("source", "target", "voxel", "weight")
SPACE_PARTS = ("map", "scaling")
DECODED_PARTS = ("features", "gain", "offset")


@dataclass(frozen=True)
class Ref:
    """A place in a workspace.

    Attributes
    ----------
    path
        Relative to the workspace, with `/`.
    verb
        The command that makes it: `ingest` stands for whichever of `ingest` and `simulate` the study has.
    """

    path: str
    verb: str

    @property
    def command(self) -> str:
        """The command that makes it, for error messages."""
        return command("ingest|simulate" if self.verb in ("ingest", "simulate") else self.verb)


@dataclass(frozen=True)
class Geometry:
    """Shape of the shards (one file each) and of the inner chunks that they hold."""

    shards: tuple[int, ...]
    chunks: tuple[int, ...]


def command(verb: str) -> str:
    """Return the command line of a verb, for error messages.

    >>> command("extract")
    '`python -m hpc_recon.extract --study <study file>`'
    """
    return " or ".join(f"`python -m hpc_recon.{name} --study <study file>`" for name in verb.split("|"))


def stimuli() -> Ref:
    """Images of all datasets, (n_stimuli, H, W, 3) uint8; their labels lie beside it in `columns.json`."""
    return Ref("stimuli.zarr/images", "ingest")


def resized(size: int) -> Ref:
    """Stimuli of all datasets at the size that a network is trained with, (n_stimuli, size, size, 3) uint8."""
    return Ref(f"training.zarr/images-{size}", "train")


def stimuli_columns() -> Ref:
    """Table of labels, datasets, categories and sources of the stimuli."""
    return Ref("stimuli.zarr/columns.json", "ingest")


def features(network: str, layer: str) -> Ref:
    """Features of all stimuli, (n_stimuli, n_units) float32 or float16.

    `arrays.create` must be given `attributes={"unit_shape": [C, H, W]}` (or `[n_units]`).
    """
    return Ref(_join("features.zarr", network, layer), "extract")


def screened(network: str, layer: str) -> Ref:
    """Features of a sample of units, (n_training_stimuli, n_sampled) float32 or float16."""
    return Ref(_join("screen.zarr", network, layer), "screen")


def powered(network: str, layer: str) -> Ref:
    """Features of a sample of units, (n_training_and_test_stimuli, n_sampled) float32 or float16."""
    return Ref(_join("power.zarr", "features", network, layer), "power")


def power_scores(network: str, split: str, roi: str, dataset: str, part: str) -> Ref:
    """Scores of decoders from parts of the data (n_draws, n_settings, ...) float32, NaN where undefined.

    `part` is `units` (..., n_units of all layers), or `stimuli` (..., n_layers, n_stimuli).
    """
    _one_of(part, ("units", "stimuli"))
    return Ref(_join("power.zarr", "scores", network, split, roi, dataset, part), "power")


def norms(network: str, layer: str) -> Ref:
    """Reference statistics of each stimulus's features, (n_stimuli, 3) float32; for norm correction."""
    return Ref(_join("norms.zarr", network, layer), "extract")


def reference(network: str, layer: str) -> Ref:
    """Statistics of the features of reference images, (n_images, 3) float32; for norm correction."""
    return Ref(_join("reference.zarr", network, layer), "extract")


def reference_table(network: str) -> Ref:
    """Table of the statistics of each layer that a lab's file holds: layer, statistic, value."""
    return Ref(f"{_join('reference.zarr', network)}/columns.json", "extract")


def samples(split: str, dataset: str) -> Ref:
    """Brain samples of a dataset, (n_samples, n_voxels) float32."""
    return Ref(_join("brain.zarr", split, _dataset(dataset), "samples"), _brain_verb(split))


def samples_columns(split: str, dataset: str) -> Ref:
    """Table of the labels and columns of a dataset's samples."""
    return Ref(f"{_join('brain.zarr', split, _dataset(dataset))}/columns.json", _brain_verb(split))


def roi_mask(split: str, roi: str) -> Ref:
    """Which voxels belong to an ROI, (n_voxels,) bool; its attribute `n_voxels` counts the members."""
    return Ref(_join("brain.zarr", split, ROI_FOLDER, roi), _brain_verb(split))


def positions(split: str) -> Ref:
    """Where each voxel lies, (n_voxels, 5) int32: i, j, k, vertex, structure; its attributes hold the grid."""
    return Ref(_join("brain.zarr", split, POSITIONS), "ingest")


def decoder(split: str, roi: str, decoded_name: str, layer: str, part: str) -> Ref:
    """Decoders of a layer: `voxel`, `weight` (n_units, k), `stats` (n_units, 3), `alpha` (n_units, 1).

    Those of a split of converted samples are its target's.
    """
    _one_of(part, DECODER_PARTS)
    return Ref(_join("decoders.zarr", owner(split), roi, decoded_name, layer, part), "fit")


def out_of_fold(split: str, roi: str, decoded_name: str, layer: str, part: str = "features") -> Ref:
    """Training stimuli predicted without them: `features` (n_stimuli, n_units), `stats` (n_units, 2)."""
    _one_of(part, OUT_OF_FOLD_PARTS)
    return Ref(_join("out_of_fold.zarr", owner(split), roi, decoded_name, layer, part), "fit")


def converter(split: str, block: str, part: str) -> Ref:
    """A block of a converter: `source` (n_source, 3), `target` (n_target, 4), `voxel` and `weight` (n_target, k).

    Parameters
    ----------
    split
        Of converted samples: `<target>.from-<source>`.
    """
    _one_of(part, CONVERTER_PARTS)
    return Ref(_join("converters.zarr", split, block, part), "convert")


def space(block: str, subject: str, part: str) -> Ref:
    """A subject's way into the common space: `map` (n_voxels, n_common), `scaling` (n_voxels, 2): mean and scale."""
    _one_of(part, SPACE_PARTS)
    return Ref(_join("converters.zarr", "spaces", block, subject, part), "convert")


def conversion_file(study: Study, *folders: str, name: str) -> Path:
    """Return the absolute path of a small file about converters, below the folder `conversion`."""
    return workspace_of(study) / _join("conversion", *folders) / name


def decoded(split: str, roi: str, dataset: str, decoded_name: str, layer: str, part: str = "features") -> Ref:
    """Decoded `features` (n_items, n_units), or the `gain` or `offset` (n_items,) of the norm correction."""
    _one_of(part, DECODED_PARTS)
    return Ref(_join("decoded.zarr", split, roi, dataset, decoded_name, layer, part), "decode")


def image_file(study: Study, variant: str, split: str, roi: str, dataset: str, item: str) -> Path:
    """Return the absolute path of a reconstructed image (.png); its .npy and .json have the same stem."""
    return workspace_of(study) / _join("images", variant, split, roi, dataset) / f"{_safe(item)}.png"


def recovery_file(study: Study, variant: str, item: str) -> Path:
    """Return the absolute path of an image made from true features; `_recovery` cannot be the name of a split."""
    return workspace_of(study) / _join("images", variant) / "_recovery" / f"{_safe(item)}.png"


def model_folder(study: Study, name: str, split: str, roi: str) -> Path:
    """Return the absolute folder of a trained network: checkpoints, tables of losses, pictures."""
    return workspace_of(study) / _join("models", name, split, roi)


def workspace_of(study: Study) -> Path:
    """Return the absolute workspace of a loaded study.

    Raises
    ------
    DataError
        If the study was not read by `core.loading.load_study`, which sets the workspace.
    """
    if study.workspace is None or not study.workspace.is_absolute():
        raise DataError(
            f"the study {study.name!r} has no absolute workspace ({study.workspace}); read it with "
            "core.loading.load_study, or set workspace to an absolute path"
        )
    return study.workspace


def feature_geometry(n_stimuli: int, n_units: int) -> Geometry:
    """Return the geometry of features: shards (48, 32768), chunks (48, 4096), clipped to the array.

    >>> feature_geometry(100, 784)
    Geometry(shards=(48, 784), chunks=(48, 784))
    """
    rows, _ = cut(n_stimuli, STIMULI_PER_SHARD, 1)
    units, chunk = _units(n_units)
    return Geometry((rows, units), (rows, chunk))


def row_geometry(n_stimuli: int, *inner: int) -> Geometry:
    """Return the geometry of a small array with 48 stimuli a shard, for example the norms."""
    rows, _ = cut(n_stimuli, STIMULI_PER_SHARD, 1)
    return Geometry((rows, *inner), (rows, *inner))


def stimuli_geometry(n_stimuli: int, height: int, width: int) -> Geometry:
    """Return the geometry of images: shards of 48, one image a chunk."""
    rows, _ = cut(n_stimuli, STIMULI_PER_SHARD, 1)
    return Geometry((rows, height, width, 3), (1, height, width, 3))


def sample_geometry(n_samples: int, n_voxels: int) -> Geometry:
    """Return the geometry of brain samples: shards of 1,024 samples, chunks of 128 samples, all voxels."""
    rows, chunk = cut(n_samples, SAMPLES_PER_CHUNK, SAMPLES_PER_SHARD // SAMPLES_PER_CHUNK)
    return Geometry((rows, n_voxels), (chunk, n_voxels))


def unit_geometry(n_units: int, *inner: int, width: int = 0) -> Geometry:
    """Return the geometry of decoders: shards of 32,768 units, chunks of 4,096, the other axes whole.

    Parameters
    ----------
    width
        Weights of a unit, for all arrays of these decoders: shards and chunks of wide ones hold fewer units
        (`units_per_shard`).

    >>> unit_geometry(100_000, 500, width=500), unit_geometry(100_000, 3, width=15_724)
    (Geometry(shards=(32768, 500), chunks=(4096, 500)), Geometry(shards=(4096, 3), chunks=(512, 3)))
    """
    units, chunk = _units(n_units, width)
    return Geometry((units, *inner), (chunk, *inner))


def decoded_geometry(n_items: int, n_units: int) -> Geometry:
    """Return the geometry of decoded features: all items and 32,768 units a shard, one item a chunk."""
    units, _ = _units(n_units)
    return Geometry((n_items, units), (1, units))


def whole_geometry(*shape: int) -> Geometry:
    """Return the geometry of a small array that is one file."""
    return Geometry(shape, shape)


def voxel_dtype(n_voxels: int) -> str:
    """Return the type of a stored voxel number; its largest value, the fill value, marks an unused slot.

    >>> voxel_dtype(11726), voxel_dtype(65536)
    ('uint16', 'uint32')
    """
    return "uint16" if n_voxels <= 65535 else "uint32"


def units_per_shard(n_units: int, *, width: int = 0, limit: int | None = None) -> int:
    """Return how many units one shard, so one fit or decode tile, holds: 32,768 or fewer.

    Parameters
    ----------
    width
        float32 weights of a unit, where these are stored: the largest power of two units whose weights are at most
        `limit` bytes; default: `WEIGHT_BYTES_PER_SHARD`.

    >>> units_per_shard(100_000, width=2048), units_per_shard(100_000, width=2049)
    (32768, 16384)
    """
    return _units(n_units, width, limit)[0]


def cut(n: int, per_chunk: int, chunks_per_shard: int) -> tuple[int, int]:
    """Return (shard, chunk) sizes along an axis of length `n`: never longer than needed, always divisible.

    >>> cut(100, 4096, 8), cut(5000, 4096, 8), cut(100_000, 4096, 8)
    ((100, 100), (8192, 4096), (32768, 4096))
    """
    if n < 1:
        raise DataError(f"an array's axis must have at least one element, got {n}; nothing is stored for an empty set")
    chunk = min(per_chunk, n)
    return chunk * min(chunks_per_shard, -(-n // chunk)), chunk


def _units(n_units: int, width: int = 0, limit: int | None = None) -> tuple[int, int]:
    shard, most = UNITS_PER_SHARD, WEIGHT_BYTES_PER_SHARD if limit is None else limit
    while shard > 1 and 4 * shard * width > most:
        shard //= 2
    chunk = max(1, shard * UNITS_PER_CHUNK // UNITS_PER_SHARD)
    return cut(n_units, chunk, shard // chunk)


def _brain_verb(split: str) -> str:
    return "convert" if is_converted(split) or WITH in split else "ingest"


def _dataset(name: str) -> str:
    if name in RESERVED:
        held = "ROI masks" if name == ROI_FOLDER else "the positions of voxels"
        raise DataError(f"no dataset may be called {name!r}: {held} lie there; rename the dataset in the study")
    return name


def _one_of(part: str, known: tuple[str, ...]) -> None:
    if part not in known:
        raise ValueError(f"part must be one of {', '.join(known)}; got {part!r}")


def _safe(name: str) -> str:
    if not is_safe_name(name):
        raise DataError(f"{name!r} cannot be a file name: {SAFE_NAME_RULE}; rename it in the study or in the input")
    return name


def _join(*parts: str) -> str:
    return "/".join(_safe(part) for part in parts)
