"""Linear decoders trained by stochastic gradient descent (Adam): a dense layer on all voxels, as HYPER's (Dado 2020).

With inputs x, targets y and d units in the layer, each step takes a batch of B samples and the gradient of

    sum over the batch and units of (w'x + b - y)^2 / (2 B d)  +  weight_decay / 2 |w|^2  (and b^2),

the mean over units as the published loss has it, the decay added to the gradient before Adam's two means, as Adam with
`weight_decay` does in the usual libraries. **In closed form** this is ridge regression with

    alpha = weight_decay * n_samples * d,

on the scale of inputs and targets that is trained on. Trained until it converges, with all samples in a batch, the
layer is that; a schedule that stops before is not, and depends on where it began.

A unit's weights depend on no other unit, so units are trained in blocks. Each block sees the same batches, and a unit
begins where its own number in the layer says: results do not depend on tiles or threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.decoder import UNIT_BLOCK, UnitDecoders
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import BrainStatistics, mean_and_scale, require_finite_units, standardise
from hpc_recon.numerics.xp import namespace

#: Weights that one core updates in a second (about three quarters of the measured), and multiplications and additions
#: of products with batches as narrow as 30.
UPDATES_PER_SECOND = 1.5e9
PRODUCT_PER_SECOND = 5.5e10


@dataclass(frozen=True)
class Schedule:
    """How a layer is trained; the defaults are those that HYPER published."""

    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    decay_bias: bool = True
    batch: int = 30
    epochs: int = 1500
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    #: Weights begin uniformly between -start and start, biases at 0.
    start: float = 0.07
    inputs: Literal["stored", "z_scored"] = "stored"
    targets: Literal["stored", "z_scored"] = "stored"

    def equivalent_alpha(self, n_samples: int, n_units: int) -> float:
        """Return the ridge penalty of the closed form, on the scale that is trained on."""
        return self.weight_decay * n_samples * n_units


def fit_units(
    X: Array,
    stimulus: Array,
    brain: BrainStatistics,
    Y: Array,
    *,
    schedule: Schedule,
    n_units: int,
    seed: int,
    first: int = 0,
    n_threads: int | None = None,
) -> UnitDecoders:
    """Train decoders of units on all usable voxels.

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
    stimulus : (n_samples,) int
        Row of Y that each sample shows.
    brain
        Statistics of X; the Gram matrix is not read.
    Y : (n_stimuli, n), raw, finite
        Some units of a layer, numbers `first` to `first` + n.
    n_units
        Of the whole layer: the loss is a mean over them.
    seed
        Of the order of samples and the first weights.

    Returns
    -------
    UnitDecoders
        On the z-scored scale, whatever was trained on; constant units predict their mean. `voxel` is one row, repeated.

    Raises
    ------
    DataError
        If values of Y are not finite, or the training diverged.

    Notes
    -----
    Memory: `fit_bytes`, time: `fit_seconds`. The result does not depend on `n_threads`, nor on a unit's neighbours.
    """
    xp = namespace(X, Y, brain.sums)
    require_finite_units(Y)
    usable, dtype, count = xp.flatnonzero(brain.scale > 0), brain.sums.dtype, Y.shape[1]
    x_mean, x_scale = brain.mean[usable], brain.scale[usable]
    inputs = xp.ascontiguousarray(X[:, usable], dtype=dtype)
    if schedule.inputs == "z_scored":
        inputs = standardise(inputs, mean=x_mean, scale=x_scale, dtype=dtype)
    y_mean, y_scale = mean_and_scale(Y)
    weight: Array = xp.empty((count, len(usable)), dtype=dtype)
    bias: Array = xp.empty(count, dtype=dtype)

    def train_block(start: int) -> None:
        units = slice(start, min(start + UNIT_BLOCK, count))
        own = Y[:, units]
        if schedule.targets == "z_scored":
            own = standardise(own, mean=y_mean[units], scale=y_scale[units], dtype=dtype)
        W, b = train(inputs, own, stimulus, schedule=schedule, n_units=n_units, seed=seed, first=first + start)
        W, b = W.astype(xp.float64), b.astype(xp.float64)  # (n_usable, n), (n,)
        if schedule.inputs == "stored":
            b += x_mean @ W
            W *= x_scale[:, None]
        varies = y_scale[units] > 0
        if schedule.targets == "stored":
            b -= y_mean[units]
            divisor = xp.where(varies, y_scale[units], 1.0)
            b, W = b / divisor, W / divisor
        weight[units], bias[units] = (W * varies).T, b * varies

    blocks = range(0, count, UNIT_BLOCK)
    for_each(train_block, blocks, n_threads=(n_threads or threads.available()) if xp is np else 1)
    if not (bool(xp.isfinite(weight).all()) and bool(xp.isfinite(bias).all())):
        raise DataError(
            f"weights trained by gradient descent must be finite, but with learning_rate {schedule.learning_rate:g} "
            f"they are not after {schedule.epochs} epochs; take a smaller learning_rate, or inputs: z_scored"
        )
    voxel = xp.broadcast_to(usable.astype(xp.int32), (count, len(usable)))
    return UnitDecoders(voxel, weight, bias, y_mean, y_scale, 0)


def train(
    X: Array, Y: Array, stimulus: Array, *, schedule: Schedule, n_units: int, seed: int, first: int = 0
) -> tuple[Array, Array]:
    """Train at most `UNIT_BLOCK` units on inputs and targets as they are.

    Parameters
    ----------
    X : (n_samples, n_inputs), C-contiguous
    Y : (n_stimuli, n), n <= UNIT_BLOCK
    stimulus, schedule, n_units, seed, first
        As in `fit_units`.

    Returns
    -------
    W : (n_inputs, n)
    b : (n,)
        In the dtype of X.
    """
    xp, dtype = namespace(X, Y), X.dtype
    n_samples, n_inputs = X.shape
    targets = xp.zeros((Y.shape[0], UNIT_BLOCK), dtype=dtype)  # the same products for every block: see UNIT_BLOCK
    targets[:, : Y.shape[1]] = Y
    weights = xp.zeros((n_inputs + 1, UNIT_BLOCK), dtype=dtype)  # the last row is the bias
    for unit in range(Y.shape[1]):
        weights[:-1, unit] = xp.asarray(_begin(seed, first + unit, n_inputs, schedule.start))
    means, squares, gradient = xp.zeros_like(weights), xp.zeros_like(weights), xp.empty_like(weights)
    update = _update_compiled if xp is np else _update
    order = np.random.default_rng(seed)
    step = 0
    for _ in range(schedule.epochs):
        dealt = xp.asarray(order.permutation(n_samples))
        for start in range(0, n_samples, schedule.batch):
            rows = dealt[start : start + schedule.batch]
            batch = X[rows]
            error = batch @ weights[:-1]
            error += weights[-1]
            error -= targets[stimulus[rows]]
            error /= len(rows) * n_units
            xp.matmul(batch.T, error, out=gradient[:-1])
            gradient[-1] = error.sum(axis=0)
            step += 1
            rate = schedule.learning_rate / (1.0 - schedule.beta1**step)
            correction = (1.0 - schedule.beta2**step) ** 0.5
            decay = (schedule.weight_decay, schedule.weight_decay if schedule.decay_bias else 0.0)
            constants = (schedule.beta1, schedule.beta2, schedule.epsilon, rate, correction)
            for part, own in ((slice(None, -1), decay[0]), (slice(-1, None), decay[1])):
                update(weights[part], means[part], squares[part], gradient[part], own, *constants)
    n = Y.shape[1]
    return weights[:-1, :n], weights[-1, :n]


def _begin(seed: int, unit: int, n_inputs: int, start: float) -> Array:
    """Return the first weights of a unit of the layer (n_inputs,)."""
    return np.random.default_rng([seed, unit]).uniform(-start, start, n_inputs)


def _update(
    w: Array, m: Array, v: Array, g: Array, decay: Any, beta1: Any, beta2: Any, eps: Any, rate: Any, correction: Any
) -> None:
    """Take one step of Adam with decay in the gradient, in place."""
    xp = namespace(w)
    g += decay * w
    m += (1.0 - beta1) * (g - m)
    v += (1.0 - beta2) * (g * g - v)
    w -= rate * m / (xp.sqrt(v) / correction + eps)


@njit(cache=True, nogil=True, error_model="numpy")
def _update_compiled(
    w: Array, m: Array, v: Array, g: Array, decay: Any, beta1: Any, beta2: Any, eps: Any, rate: Any, correction: Any
) -> None:
    """Do what `_update` does in one pass over memory; all numbers in the type of w."""
    one = w.dtype.type(1.0)
    decay, beta1, beta2 = w.dtype.type(decay), w.dtype.type(beta1), w.dtype.type(beta2)
    eps, rate, correction = w.dtype.type(eps), w.dtype.type(rate), w.dtype.type(correction)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            own = g[i, j] + decay * w[i, j]
            m[i, j] += (one - beta1) * (own - m[i, j])
            v[i, j] += (one - beta2) * (own * own - v[i, j])
            w[i, j] -= rate * m[i, j] / (np.sqrt(v[i, j]) / correction + eps)


def fit_bytes(n: int, n_voxels: int, *, n_samples: int, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `fit_units`, inputs left out.

    The inputs in the working type, once more while they are z-scored; the weights; and for each thread four numbers a
    weight of a block, twice a weight in float64 afterwards, and the targets.
    """
    block = UNIT_BLOCK * ((4 * itemsize + 3 * 8) * n_voxels + 3 * 8 * n_stimuli)
    return itemsize * n_voxels * (2 * n_samples + n) + n_threads * block


def fit_seconds(n: int, n_voxels: int, *, n_samples: int, schedule: Schedule, n_threads: int) -> float:
    """Return the seconds of `fit_units`: for each batch two products and an update of all weights."""
    blocks = -(-n // UNIT_BLOCK)
    weights = blocks * UNIT_BLOCK * n_voxels
    steps = schedule.epochs * -(-n_samples // schedule.batch)
    products = 4 * schedule.epochs * n_samples * weights / PRODUCT_PER_SECOND
    return (products + steps * weights / UPDATES_PER_SECOND) / min(n_threads, blocks)
