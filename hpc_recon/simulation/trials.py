"""Trials: each stimulus shown several times, in a new order each time, with new noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.sampling import seed_of
from hpc_recon.simulation.presets import Preset
from hpc_recon.simulation.voxels import Population

#: Trials of a run, and runs of a session, at most.
_TRIALS_PER_RUN = 50
_RUNS_PER_SESSION = 10
#: Training signals that `wandering` mixes: enough for the covariance of what images evoke.
N_PATTERNS = 400


@dataclass(frozen=True)
class Trials:
    """Samples of one dataset.

    Attributes
    ----------
    samples
        (n_samples, n_voxels) float32, percent signal.
    stimulus
        (n_samples,) int, row of the stimulus among those of the dataset.
    columns
        `run`, `session`, `repeat` (from 1) and `n_averaged` of each sample; averaged samples have `n_averaged` only.
    """

    samples: Array
    stimulus: Array
    columns: dict[str, list[float]]


def trials(
    signal: Array,
    brain: Population,
    *,
    n_repeats: int,
    preset: Preset,
    seed: int,
    patterns: Array | None = None,
    average: bool = False,
) -> Trials:
    """Present each stimulus `n_repeats` times, in a new order each time, with new noise.

    sample = baseline + scale * (preset.signal * signal + preset.wandering * other
    + noise * (sqrt(shared) * common + sqrt(1 - shared) * own))

    Parameters
    ----------
    signal
        (n_stimuli, n_voxels) float32, standardised answers.
    seed
        Seed of order and noise: of the study, subject and dataset.
    patterns
        (n_patterns, n_voxels) float32, signals of other images; `other` is a normal mixture of them with their
        variance. Needed by presets with `wandering`.
    average
        Return the mean of the repeats of each stimulus, in the order of the stimuli, instead of the trials.
    """
    n_stimuli, n_voxels = signal.shape
    kept = 1 if average else n_repeats
    samples = np.zeros((kept, n_stimuli, n_voxels), np.float32)
    stimulus = np.empty((n_repeats, n_stimuli), np.int64)
    for repeat in range(n_repeats):
        rng = np.random.default_rng(seed_of(seed, repeat))
        order = rng.permutation(n_stimuli)
        stimulus[repeat] = order
        trial = _noise(brain, n_stimuli, preset, rng)
        trial += preset.signal * signal[order]
        if preset.wandering:
            trial += _wandering(patterns, n_stimuli, preset, rng)
        trial *= brain.scale
        trial += brain.baseline
        if average:
            samples[0, order] += trial / n_repeats
        else:
            samples[repeat] = trial
    if average:
        return Trials(samples[0], np.arange(n_stimuli), {"n_averaged": [float(n_repeats)] * n_stimuli})
    number = np.arange(n_stimuli * n_repeats)
    run = number // _TRIALS_PER_RUN
    columns = {
        "session": (run // _RUNS_PER_SESSION + 1).astype(float).tolist(),
        "run": (run + 1).astype(float).tolist(),
        "repeat": np.repeat(np.arange(n_repeats) + 1.0, n_stimuli).tolist(),
        "n_averaged": [1.0] * len(number),
    }
    return Trials(samples.reshape(-1, n_voxels), stimulus.reshape(-1), columns)


def _noise(brain: Population, n: int, preset: Preset, rng: np.random.Generator) -> Array:
    """Return (n, n_voxels) float32 noise: a part that voxels share, by their loadings, and a part of their own."""
    noise = rng.standard_normal((n, len(brain.area)), dtype=np.float32)
    noise *= math.sqrt(1 - preset.shared)
    common = rng.standard_normal((n, brain.loading.shape[1]), dtype=np.float32)
    noise += math.sqrt(preset.shared) * (common @ brain.loading.T)
    noise *= brain.noise
    return noise


def _wandering(patterns: Array | None, n: int, preset: Preset, rng: np.random.Generator) -> Array:
    """Return (n, n_voxels) float32 random mixtures of the patterns."""
    if patterns is None:
        raise ValueError(f"a preset with wandering {preset.wandering} needs patterns: pass the training signals")
    mixture = rng.standard_normal((n, len(patterns)), dtype=np.float32)
    return np.asarray(mixture @ patterns, np.float32) * np.float32(preset.wandering / math.sqrt(len(patterns)))
