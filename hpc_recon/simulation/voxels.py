"""Voxels: retinotopic, noisy readouts of five visual areas, different in every subject."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.sampling import seed_of
from hpc_recon.simulation.areas import ALL_VOXELS, AREAS, receptive_fields
from hpc_recon.simulation.presets import Preset
from hpc_recon.simulation.readout import N_PROJECTIONS, area_maps

#: Cortical magnification: the density of receptive fields falls with eccentricity e as 1 / (e + this)^2, image widths.
_FOVEA = 0.75
#: Sources of shared noise, each a smooth pattern over the visual field.
_N_SOURCES = 32
#: Spatial frequency of these patterns, cycles per image width.
_SOURCE_FREQUENCY = 1.5
#: Mean (standard deviation over voxels) and scale (median, log standard deviation) of raw values, percent signal.
_BASELINE_SD = 1.0
_SCALE = (0.8, 0.4)


@dataclass(frozen=True)
class Population:
    """The voxels of one subject, in the order of the areas.

    Attributes
    ----------
    area
        (n_voxels,) int, number of the area in `AREAS`.
    centre
        (n_voxels, 2) float64, centre of the receptive field, image widths from the image's middle.
    projection
        (n_voxels,) int, the channel mixture that the voxel reads.
    baseline, scale
        (n_voxels,) float32, percent signal: mean of the raw values, and what one unit of signal is worth.
    noise
        (n_voxels,) float32, standard deviation of single-trial noise, in units of signal.
    loading
        (n_voxels, n_sources) float32, rows of unit length: how the voxel takes part in the shared noise.
    """

    area: Array
    centre: Array
    projection: Array
    baseline: Array
    scale: Array
    noise: Array
    loading: Array

    def mask(self, area: str) -> Array:
        """Return the (n_voxels,) bool mask of one area, or of all for `VC`."""
        if area == ALL_VOXELS:
            return np.ones(len(self.area), bool)
        return np.equal(self.area, [a.name for a in AREAS].index(area))


def population(subject: str, *, n_voxels: int, preset: Preset, study_seed: int) -> Population:
    """Draw the voxels of a subject; areas get their shares of `n_voxels`, each at least one voxel."""
    rng = np.random.default_rng(seed_of(study_seed, "voxels", subject))
    edges = np.rint(np.cumsum([0.0, *(area.share for area in AREAS)]) * n_voxels).astype(int)
    area = np.repeat(np.arange(len(AREAS)), np.diff(edges))
    centre = _centres(n_voxels, rng)
    frequency = rng.normal(0.0, _SOURCE_FREQUENCY, (2, _N_SOURCES))
    loading = np.cos(2 * math.pi * (centre @ frequency + rng.uniform(size=_N_SOURCES)))
    loading /= np.linalg.norm(loading, axis=1, keepdims=True)
    return Population(
        area=area,
        centre=centre,
        projection=rng.integers(N_PROJECTIONS, size=n_voxels),
        baseline=rng.normal(0.0, _BASELINE_SD, n_voxels).astype(np.float32),
        scale=(_SCALE[0] * np.exp(rng.normal(0.0, _SCALE[1], n_voxels))).astype(np.float32),
        noise=(preset.noise * np.exp(rng.normal(0.0, preset.spread, n_voxels))).astype(np.float32),
        loading=loading.astype(np.float32),
    )


def _centres(n: int, rng: np.random.Generator) -> Array:
    """Draw (n, 2) centres in the image, denser towards its middle by the cortical magnification."""
    found = np.empty((0, 2))
    while len(found) < n:
        point = rng.uniform(-0.5, 0.5, (4 * n, 2))
        density = (_FOVEA / (np.hypot(point[:, 0], point[:, 1]) + _FOVEA)) ** 2
        found = np.concatenate([found, point[rng.uniform(size=len(point)) < density]])
    return found[:n]


def responses(images: Array, brain: Population, *, study_seed: int) -> Array:
    """Return what each voxel answers to each image, without noise, in arbitrary units.

    Parameters
    ----------
    images
        (n, H, W, 3) uint8 RGB.

    Returns
    -------
    Array
        (n, n_voxels) float32.
    """
    result = np.empty((len(images), len(brain.area)), np.float32)
    fields: dict[str, list[tuple[Array, int, Array]]] = {}
    for rows, maps in area_maps(images, study_seed=study_seed):
        if not fields:
            fields = {name: list(_fields(brain, name, n_cells=m.shape[2])) for name, m in maps.items()}
        for name, groups in fields.items():
            for voxels, projection, field in groups:
                result[rows, voxels] = maps[name][projection] @ field.T  # (n, h w) @ (h w, voxels)
    return result


def _fields(brain: Population, name: str, *, n_cells: int) -> Iterator[tuple[Array, int, Array]]:
    """Yield the voxels of an area that read one projection, its number, and their receptive fields."""
    area = next(a for a in AREAS if a.name == name)
    side = math.isqrt(n_cells)
    mask = brain.mask(name)
    for projection in range(N_PROJECTIONS):
        voxels = np.flatnonzero(mask & (brain.projection == projection))
        if len(voxels):
            yield voxels, projection, receptive_fields(area, brain.centre[voxels], grid=(side, side))


def standardised(answers: Array, training: Array) -> Array:
    """Return answers with mean 0 and standard deviation 1 over training stimuli; constant voxels get 0.

    Parameters
    ----------
    answers
        (n_stimuli, n_voxels) float32.
    training
        (n_stimuli,) bool, which rows are training stimuli.
    """
    mean = answers[training].mean(axis=0, dtype=np.float64)
    sd = answers[training].std(axis=0, dtype=np.float64)
    flat = sd <= 1e-6 * np.abs(mean)
    return np.where(flat, 0.0, (answers - mean) / np.where(flat, 1.0, sd)).astype(np.float32)


def category_means(answers: Array, groups: Sequence[tuple[str, str]]) -> Array:
    """Return for every stimulus the mean answer to all stimuli of its group: what a voxel of categories tells.

    Parameters
    ----------
    answers
        (n_stimuli, n_voxels) float32.
    groups
        Dataset and category of each stimulus.
    """
    index: dict[tuple[str, str], list[int]] = {}
    for row, group in enumerate(groups):
        index.setdefault(group, []).append(row)
    means = np.empty_like(answers)
    for rows in index.values():
        means[rows] = answers[rows].mean(axis=0, dtype=np.float64)
    return means
