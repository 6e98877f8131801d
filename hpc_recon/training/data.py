"""Batches of brain samples and the images they show, from the stores, with a bounded buffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import ranges
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.numerics.population import population_statistics
from hpc_recon.stores import arrays, brain, layout, tables
from hpc_recon.training import pictures
from hpc_recon.training.buffers import Held, held
from hpc_recon.training.order import Order, offsets
from hpc_recon.training.selection import chosen


@dataclass(frozen=True)
class Scaling:
    """How voxels are z-scored: by the training samples, all of which are one set (ddof 0).

    Attributes
    ----------
    mean, scale
        (n_voxels,) float64; a voxel of scale 0 becomes 0.
    n_averaged
        Presentations that a training sample is the mean of, on average: 1 for single trials.
    """

    mean: Array
    scale: Array
    n_averaged: float

    def apply(self, samples: Array, n_averaged: Array | None = None) -> Array:
        """Return z-scored samples (n, n_voxels) float32.

        Parameters
        ----------
        n_averaged
            Presentations in each sample: it is multiplied by the root of how many more these are than in training.
        """
        inverse = np.where(self.scale > 0, 1.0 / np.where(self.scale > 0, self.scale, 1.0), 0.0)
        values = (samples - self.mean) * inverse
        if n_averaged is not None:
            values *= np.sqrt(n_averaged / self.n_averaged)[:, None]
        return np.asarray(values, np.float32)

    def arrays(self) -> dict[str, Array]:
        """Return it as a checkpoint holds it."""
        return {"mean": self.mean, "scale": self.scale, "n_averaged": np.array([self.n_averaged])}


def scaling_from(stored: Mapping[str, Array]) -> Scaling:
    """Return the scaling that a checkpoint's arrays hold."""
    return Scaling(stored["mean"], stored["scale"], float(stored["n_averaged"][0]))


@dataclass(frozen=True)
class Samples:
    """The training samples of a split and ROI: where they are, and which stimulus each shows.

    Attributes
    ----------
    numbers
        Rows of the array of samples, int64 ascending.
    voxels
        Columns of it, None for all.
    stimuli
        (n_samples,) rows of the stimulus table.
    n_averaged
        (n_samples,) presentations in each.
    """

    split: str
    dataset: str
    numbers: Array
    voxels: Array | None
    stimuli: Array
    n_averaged: Array

    def read(self, study: Study, places: Array) -> Array:
        """Read some samples, by ascending place, (n, n_voxels) float32 raw."""
        ref = layout.samples(self.split, self.dataset)
        return arrays.read(layout.workspace_of(study), ref, self.numbers[places], self.voxels)


def options_of(study: Study, name: str) -> EndToEndTraining:
    """Return the options of an entry of method `end_to_end`."""
    options = study.train[name]
    assert isinstance(options, EndToEndTraining), options.method
    return options


def training_samples(study: Study, name: str, split: str, roi: str) -> Samples:
    """Return the samples that an entry of `train` learns from; none is read.

    Raises
    ------
    DataError
        As `selection.chosen`.
    """
    workspace, dataset = layout.workspace_of(study), study.training_dataset
    options = options_of(study, name)
    labels = brain.read_labels(workspace, split, dataset)
    where, seed = f"train.{name} ({split})", seed_of(study.seed, "training set", split)
    numbers = chosen(labels, options.training, seed=seed, where=where)
    return samples_of(study, split, roi, numbers, labels)


def samples_of(study: Study, split: str, roi: str, numbers: Array, labels: tuple[str, ...]) -> Samples:
    """Return training samples by their numbers."""
    workspace, dataset = layout.workspace_of(study), study.training_dataset
    mask = brain.read_roi(workspace, split, roi)
    columns = tables.read_checked(workspace, layout.samples_columns(split, dataset))
    counts = np.asarray(columns.get(brain.N_AVERAGED, [1] * len(labels)), np.float64)
    return Samples(
        split,
        dataset,
        numbers,
        None if mask.all() else np.flatnonzero(mask),
        brain.stimulus_rows(workspace, [labels[i] for i in numbers]),
        counts[numbers],
    )


def scaling_of(study: Study, samples: Samples) -> Scaling:
    """Return how voxels are z-scored, reading 1,024 samples at a time.

    Raises
    ------
    DataError
        If all voxels are constant.
    """
    blocks = (samples.read(study, np.arange(start, stop)) for start, stop in ranges(len(samples.numbers), 1024))
    mean, scale = population_statistics(blocks)
    if not scale.any():
        raise DataError(
            f"all {len(mean)} voxels of {samples.split} are constant over the {len(samples.numbers)} training samples; "
            "look at the samples and the ROI"
        )
    return Scaling(mean, scale, float(samples.n_averaged.mean()))


def in_buffer(options: EndToEndTraining, *, n_samples: int, n_voxels: int, n_images: int) -> int:
    """Return how many samples are in memory at once: all if they fit with their images, else what fits twice."""
    image = 3 * options.image_size**2
    return held(n_samples, n_images, sample_bytes=4 * n_voxels, shown_bytes=image, room=options.buffer_bytes)


class Scaled:
    """What streams of z-scored samples tell a trainer, and a checkpoint."""

    scaling: Scaling

    @property
    def n_inputs(self) -> int:
        """Voxels of a sample."""
        return len(self.scaling.mean)

    @property
    def arrays(self) -> dict[str, Array]:
        """The scaling, as a checkpoint holds it."""
        return self.scaling.arrays()


@dataclass
class PairedStream(Scaled):
    """Batches by number of the step; from several threads at once, if need be.

    At most two buffers are in memory: the one that is being learnt from, and the next one.
    """

    options: EndToEndTraining
    order: Order
    scaling: Scaling
    #: (n,) rows of the stimulus table, by place of the sample.
    stimuli: Array
    #: Read samples by ascending place, (n, n_voxels), and images by ascending row, (n, H, W, 3) uint8 RGB.
    read_samples: Callable[[Array], Array]
    read_images: Callable[[Array], Array]
    seed: int
    _held: Held[tuple[Array, Array, Array]] = field(default_factory=Held)

    def batch(self, step: int) -> dict[str, Array]:
        """Return `voxels` (n, n_voxels) float32, z-scored, and `images` (n, 3, crop, crop) uint8 BGR, of a step."""
        size, crop = self.options.batch, self.options.crop
        voxels, shown = [], []
        for part in self.order.batch(step, size):
            samples, images, which = self._buffer(part.buffer)
            voxels.append(samples[part.places])
            shown.append(images[which[part.places]])
        drawn = offsets(step, size, margin=self.options.image_size - crop, seed=self.seed)
        cut = np.empty((size, 3, crop, crop), np.uint8)
        at = 0
        for images in shown:
            for image in images:
                top, left = drawn[at]
                cut[at] = image[top : top + crop, left : left + crop, ::-1].transpose(2, 0, 1)
                at += 1
        return {"voxels": self.scaling.apply(np.concatenate(voxels)), "images": cut}

    def examples(self, n: int) -> dict[str, Array]:
        """Return the first samples of the order with the middle of their images: the same whatever the step."""
        places = np.sort(self.order.buffers(0)[0][: min(n, self.order.n)])
        rows, which = np.unique(self.stimuli[places], return_inverse=True)
        first = (self.options.image_size - self.options.crop) // 2
        inside = slice(first, first + self.options.crop)
        images = self.read_images(rows)[which][:, inside, inside, ::-1].transpose(0, 3, 1, 2)
        return {"voxels": self.scaling.apply(self.read_samples(places)), "images": np.ascontiguousarray(images)}

    def _buffer(self, number: tuple[int, int]) -> tuple[Array, Array, Array]:
        """Return samples and images of a buffer, and which image each sample shows, in the buffer's order."""
        whole = self.order.in_buffer >= self.order.n
        members = self.order.buffers(number[0])[number[1]]
        key = (0, 0) if whole and not self.order.every_pass else number

        def read() -> tuple[Array, Array, Array]:
            places = np.sort(members)
            back = np.searchsorted(places, members)
            rows, which = np.unique(self.stimuli[members], return_inverse=True)
            return self.read_samples(places)[back], self.read_images(rows), which

        return self._held.get(key, read)


def stream(study: Study, name: str, split: str, roi: str, *, scaling: Scaling | None = None) -> PairedStream:
    """Return the batches of an entry of `train` for one split and ROI.

    Parameters
    ----------
    scaling
        As a checkpoint holds it; None: from all samples, which are read once for it.
    """
    options, samples = options_of(study, name), training_samples(study, name, split, roi)
    known = scaling_of(study, samples) if scaling is None else scaling
    n_images = len(np.unique(samples.stimuli))
    room = in_buffer(options, n_samples=len(samples.numbers), n_voxels=len(known.mean), n_images=n_images)
    seed = seed_of(study.seed, "training", options.seed, split, roi)
    return PairedStream(
        options,
        Order(len(samples.numbers), room, seed, options.order == "shuffled"),
        known,
        samples.stimuli,
        lambda places: samples.read(study, places),
        lambda rows: pictures.read(study, rows, size=options.image_size),
        seed,
    )
