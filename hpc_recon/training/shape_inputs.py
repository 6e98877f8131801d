"""What a shape-semantic generator learns from: shapes and semantic vectors as noisy as those of new images.

Everything here is cross-fitted by image. Shapes are the engine's predictions out of fold, joined over areas by weights
that were fitted without the image; its semantic vector comes from a decoder that never saw it. Test data take no part:
neither samples nor features nor categories of test items are read, but for their pixels, which must not be those of a
training image.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.core.files import checksum, write_atomic
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.shape_options import Augmentation, ShapeSemanticTraining
from hpc_recon.core.tiles import Tile
from hpc_recon.numerics import combining, semantics
from hpc_recon.stores import checks, folds, images, items, layout
from hpc_recon.training import Place
from hpc_recon.training import shape_sources as sources
from hpc_recon.training.shape_decoding import Semantics

#: Name before that of the entry in the group that makes its inputs.
INPUTS = "_inputs"
FILE = "inputs.npz"


@dataclass(frozen=True)
class Inputs:
    """What the generator of one entry learns from, and how the inputs of new images are made alike.

    Attributes
    ----------
    rows
        (n,) int64 rows of the stimulus table: training images ascending, then images without brain data.
    has_brain
        (n,) bool.
    shape
        (n, C, g, g) float32: joined shapes; 0.5 everywhere where the shape is left out.
    semantic
        (n, n_semantic) float32, z-scored by the vectors of images with brain data; (n, 0) where left out.
    combiner
        Weights of areas for new images, fitted on all training images; None where the shape is left out.
    semantics
        How the semantic vector of new images is made; None where it is left out.
    """

    rows: Array
    has_brain: Array
    shape: Array
    semantic: Array
    combiner: combining.Combiner | None
    semantics: Semantics | None

    @property
    def n_semantic(self) -> int:
        """Numbers of the semantic vector."""
        return int(self.semantic.shape[1])


def key(place: Place) -> str:
    """Return the key of the group that makes the inputs of an entry."""
    return f"train/{INPUTS}/{place.name}/{place.split}/{place.roi}"


def compute(study: Study, place: Place) -> Inputs:
    """Make the inputs of an entry for one split and ROI.

    Raises
    ------
    DataError
        If an image is on both sides of the split, predictions do not belong to the training images, or categories are
        not known.
    """
    options = sources.options_of(study, place)
    rows = items.training_rows(study, place.split)
    extra = _extra_rows(study, options.augments)
    require_apart(study, place, np.concatenate([rows, extra]))
    table = images.read_table(layout.workspace_of(study))
    categories = [table.category[row] for row in rows]
    rng = np.random.default_rng(seed_of(study.seed, "shape-semantic folds", place.split))
    dealt = folds.deal(categories, min(options.folds, len(rows)), rng=rng)
    held = [np.flatnonzero(dealt == fold) for fold in np.unique(dealt)]
    truth, grid = sources.true_shapes(study, options, np.concatenate([rows, extra]))
    shape, combiner = np.full(truth.shape, 0.5, np.float32), None
    if options.has("shape"):
        known, alpha = truth[: len(rows)], options.shape.alpha
        predicted = sources.predicted_shapes(study, place, len(rows))
        shape[: len(rows)] = combining.crossed(predicted, known, folds=held, kind=options.combiner, alpha=alpha)
        shape[len(rows) :] = truth[len(rows) :]
        combiner = combining.fit(predicted, known, kind=options.combiner, alpha=alpha)
    semantic, made = np.zeros((len(rows) + len(extra), 0), np.float32), None
    if options.has("semantics"):
        made, own = Semantics.learnt(study, place, rows, held)
        more = made.of_class_means(study, place, own, rows=rows, extra=extra)
        semantic = np.concatenate([own, more]).astype(np.float32)
    return Inputs(
        np.concatenate([rows, extra]),
        np.arange(len(rows) + len(extra)) < len(rows),
        shape.reshape(len(shape), *grid),
        semantic,
        combiner,
        made,
    )


def _extra_rows(study: Study, options: Augmentation | None) -> Array:
    """Return the rows of images without brain data."""
    if options is None:
        return np.empty(0, np.int64)
    dataset = np.array(images.read_table(layout.workspace_of(study)).dataset)
    found: Array = np.flatnonzero(dataset == options.dataset)
    if not found.size:
        raise DataError(
            f"the dataset {options.dataset!r} of augmentation has no images; give them under ingest.stimuli"
        )
    return found


def require_apart(study: Study, place: Place, learnt: Array) -> None:
    """Raise unless no image that is learnt from is a test image of the split, by label or pixel by pixel."""
    workspace = layout.workspace_of(study)
    table = images.read_table(workspace)
    shown = [items.read_shown(study, place.split, dataset).rows for dataset in study.test_datasets(place.split)]
    tested = np.unique(np.concatenate([np.empty(0, np.int64), *shown]))
    tested = tested[tested >= 0]
    both = [table.labels[row] for row in np.intersect1d(tested, learnt)]
    if not both:
        known = {digest: row for row, digest in sources.digests(study, learnt)}
        both = [
            f"{table.labels[row]} (the picture of {table.labels[known[digest]]})"
            for row, digest in sources.digests(study, tested)
            if digest in known
        ]
    if both:
        raise DataError(
            f"train.{place.name} ({place.split}): {len(both)} test images are also learnt from: "
            f"{images.examples(both)}; leave them out of one side (ingest.stimuli, or the samples of the training "
            "dataset)"
        )


def work(study: Study, tile: Tile) -> list[Path]:
    """Make the inputs of the entry of one tile; return the file."""
    _, name, split, roi = tile.group.path
    return write(study, Place(name, split, roi))


def write(study: Study, place: Place) -> list[Path]:
    """Compute the inputs of an entry, and write them as one file."""
    made = compute(study, place)
    content: dict[str, Array] = {
        "rows": made.rows, "has_brain": made.has_brain, "shape": made.shape, "semantic": made.semantic
    }  # fmt: skip
    if made.combiner is not None:
        content |= {"combiner.weights": made.combiner.weights, "combiner.offset": made.combiner.offset}
    if made.semantics is not None:
        content |= made.semantics.arrays()
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **content)
    return [write_atomic(_path(study, place), stream.getvalue())]


def read(study: Study, place: Place) -> Inputs:
    """Read the inputs of an entry, after comparing the file with its receipt.

    Raises
    ------
    MissingStore
        If they were not made.
    DamagedStore
        If the file is not the one that the receipt describes.
    """
    workspace, path = layout.workspace_of(study), _path(study, place)
    record = checks.group_records(workspace, key(place)).get(path.relative_to(workspace).as_posix())
    if record is None:
        raise MissingStore(f"the inputs of train.{place.name} were not made; run {layout.command('train')}")
    if not path.is_file() or (path.stat().st_size, checksum(path)) != (record.length, record.crc32):
        raise DamagedStore(
            f"{path} is not the file that its receipt describes; make it anew with {checks.redo_command(key(place))}"
        )
    with np.load(path, allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files}
    combiner = None
    if "combiner.weights" in found:
        combiner = combining.Combiner(found["combiner.weights"], found["combiner.offset"])
    options: ShapeSemanticTraining = sources.options_of(study, place)
    return Inputs(
        found["rows"],
        found["has_brain"],
        found["shape"],
        found["semantic"],
        combiner,
        Semantics.from_arrays(options, found) if options.has("semantics") else None,
    )


def _path(study: Study, place: Place) -> Path:
    return layout.model_folder(study, place.name, place.split, place.roi) / FILE


def of_items(study: Study, place: Place, dataset: str, made: Inputs) -> tuple[Array, Array, Array]:
    """Return what the generator sees of all items of a test dataset, in the order of the items.

    Returns
    -------
    tuple
        Joined shapes (n, C, g, g), semantic vectors (n, n_semantic), and the decoded shape of each area
        (n_areas, n, C, g, g); float32.
    """
    areas = sources.decoded_shapes(study, place, dataset)
    grid = made.shape.shape[1:]
    shape = np.full((areas.shape[1], *grid), 0.5, np.float32)
    if made.combiner is not None:
        shape = made.combiner.apply(areas).reshape(-1, *grid)
    semantic = np.zeros((len(shape), 0), np.float32)
    if made.semantics is not None:
        semantic = made.semantics.of_items(study, place, dataset)
    return shape, semantic, areas.reshape(*areas.shape[:2], *grid)


def classes_of(made: Inputs, embedding: Array) -> Array:
    """Return the cluster of true embeddings of test images, for evaluation only; no centre moves."""
    assert made.semantics is not None
    assert made.semantics.centres is not None, "target: kmeans"
    return semantics.nearest(embedding, made.semantics.centres)
