"""What the tests of tiles share: reading what a run wrote, plain numpy oracles, another set of training samples."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpc_recon.core import receipts
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.sampling import seed_of


class Stored:
    """What lies in the workspace of a study, for one split and ROI."""

    def __init__(self, study: Study, split: str = "S1", roi: str = "VC") -> None:
        self.study, self.split, self.roi = study, split, roi
        assert study.workspace is not None
        self.workspace = study.workspace

    def decoder(self, part: str, layer: str = "fc", name: str = "net") -> Array:
        from hpc_recon.stores import arrays, layout

        return arrays.read(self.workspace, layout.decoder(self.split, self.roi, name, layer, part))

    def decoded(self, dataset: str = "natural", layer: str = "fc", name: str = "net") -> Array:
        from hpc_recon.stores import arrays, layout

        return arrays.read(self.workspace, layout.decoded(self.split, self.roi, dataset, name, layer))

    def out_of_fold(self, part: str = "features", layer: str = "fc", name: str = "net") -> Array:
        from hpc_recon.stores import arrays, layout

        return arrays.read(self.workspace, layout.out_of_fold(self.split, self.roi, name, layer, part))

    def statistics(self, name: str, part: str = "") -> Array:
        from hpc_recon.stores import statistics

        return statistics.read(self.workspace, self.split, self.roi, name, part=part)


@pytest.fixture
def stored() -> type[Stored]:
    """Return the class that reads what a run wrote: `stored(study).decoder("weight")`."""
    return Stored


@dataclass
class Dense:
    """Ridge decoders in float64, by the formula: every system written out, one unit after the other."""

    voxel: list[Array]
    weight: list[Array]
    bias: Array
    y_mean: Array
    y_scale: Array
    x_mean: Array
    x_scale: Array

    def predict(self, X: Array) -> Array:
        Z = (X - self.x_mean) / np.where(self.x_scale > 0, self.x_scale, 1)
        columns = [Z[:, v] @ w + b for v, w, b in zip(self.voxel, self.weight, self.bias, strict=True)]
        return np.stack(columns, axis=1) * self.y_scale + self.y_mean


def moments(values: Array) -> tuple[Array, Array]:
    mean, scale = values.mean(0), values.std(0, ddof=1)
    return mean, np.where(scale > 1e-6 * np.abs(mean), scale, 0.0)


def dense_ridge(
    X: Array, Y: Array, codes: Array, *, alpha: float | Array, k: int | None = None, penalize_bias: bool = False
) -> Dense:
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    x_mean, x_scale = moments(X)
    usable = np.flatnonzero(x_scale)
    Z = (X - x_mean) / np.where(x_scale > 0, x_scale, 1)
    y_mean, y_scale = moments(Y)
    targets = np.where(y_scale > 0, (Y - y_mean) / np.where(y_scale > 0, y_scale, 1), 0.0)[codes]
    alphas = np.broadcast_to(np.asarray(alpha, np.float64), Y.shape[1])
    voxels, weights, biases = [], [], []
    for y, a in zip(targets.T, alphas, strict=True):
        order = usable[np.argsort(-np.abs(Z[:, usable].T @ y), kind="stable")]
        chosen = np.sort(order[:k])
        own = Z[:, chosen]
        weights.append(np.linalg.solve(own.T @ own + a * np.eye(len(chosen)), own.T @ y))
        voxels.append(chosen)
        biases.append(y.sum() / (len(y) + (a if penalize_bias else 0)))
    return Dense(voxels, weights, np.array(biases), y_mean, y_scale, x_mean, x_scale)


def without_fold(X: Array, Y: Array, codes: Array, held: Array) -> tuple[Array, Array, Array, Array]:
    """Return X, Y and codes of the stimuli that are not held out, and the raw mean sample of each that is."""
    rows = np.flatnonzero(~held)
    train = ~held[codes]
    means = np.stack([X[codes == s].astype(np.float64).mean(0) for s in np.flatnonzero(held)])
    return X[train], Y[rows], np.searchsorted(rows, codes[train]), means


def cross_validated(
    X: Array, Y: Array, codes: Array, *, dealt: Array, alphas: list[float], k: int | None = None
) -> tuple[Array, Array]:
    """Return the explained variance of each unit's share of errors: errors (n_alphas, n_units) and total (n_units,)."""
    whole = moments(Y.astype(np.float64))[1]
    errors, total = np.zeros((len(alphas), Y.shape[1])), np.zeros(Y.shape[1])
    for fold in range(dealt.max() + 1):
        held = dealt == fold
        X1, Y1, codes1, test = without_fold(X, Y, codes, held)
        varies = moments(Y1.astype(np.float64))[1] > 0
        own = np.where(varies, 1 / np.where(whole > 0, whole, 1), 0)
        truth = Y[held].astype(np.float64)
        for a, alpha in enumerate(alphas):
            predicted = dense_ridge(X1, Y1, codes1, alpha=alpha, k=k).predict(test)
            errors[a] += (((truth - predicted) * own) ** 2).sum(0)
        total += (((truth - Y1.astype(np.float64).mean(0)) * own) ** 2).sum(0)
    return errors, total


def folds_dealt(study: Study, n_stimuli: int, split: str = "S1") -> Array:
    """Return the fold of each training stimulus, dealt anew."""
    rng = np.random.default_rng(seed_of(study.seed, "folds", split))
    return rng.permutation(np.arange(n_stimuli) % study.fit.folds)


@pytest.fixture
def oracle() -> SimpleNamespace:
    """Return plain numpy versions of what is tested: dense ridge, folds, cross-validation, z-scoring."""
    return SimpleNamespace(
        ridge=dense_ridge, moments=moments, without=without_fold, validate=cross_validated, dealt=folds_dealt
    )


@pytest.fixture
def write_training() -> Callable[..., None]:
    """Return a function that replaces the training samples of S1, as a new run of `ingest` does.

    `write(truth, samples, rows, session)`; rows are those of the stimulus table.
    """

    def write(truth: Any, samples: Array, rows: Array, session: Array) -> None:
        from hpc_recon.stores import brain

        shutil.rmtree(truth.workspace / "brain.zarr/S1/training")
        labels = tuple(truth.labels[row] for row in rows)
        made = brain.Brain(samples.astype(np.float32), labels, {"session": [float(s) for s in session]})
        files = brain.write_brain(truth.workspace, "S1", "training", made, made_by="simulate/S1")
        kept = [truth.workspace / path for path in receipts.records(truth.workspace, "simulate", ["S1"])]
        others = [path for path in kept if "training" not in path.parts]
        assert others
        truth.receipt(("simulate", "S1"), [*files, *others])

    return write
