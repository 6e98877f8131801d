"""What fitting and predicting will need, as functions of sizes: peak bytes and seconds, known before anything runs.

Every figure is for the CPU, unless its name says `device`, and states the arrays that it counts; the tests of the verbs
measure that the truth stays below.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpc_recon.core import threads
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.numerics.decoder import UNIT_BLOCK
from hpc_recon.numerics.ridge import batch_size
from hpc_recon.numerics.stats import COLUMNS_AT_ONCE, DIRECT_SAMPLES, ROWS_AT_ONCE

#: Speed of one core: three quarters of the speed measured at k = 100 and 500, 4,000 voxels, 900 stimuli, one BLAS
#: thread on a server core.
GEMM_PER_SECOND = 6e10
SOLVE_PER_SECOND = 2e10
GATHER_PER_SECOND = 2e8
SORT_PER_SECOND = 1e8
#: Units whose decoders exist in memory at a time beyond what is stored: 16 blocks.
UNITS_AT_ONCE = 16 * UNIT_BLOCK
#: float64 copies of one item's features while its spread is computed.
COPIES_OF_AN_ITEM = 4
#: An array is freed to the allocator, not always to the system; small objects and the loaded libraries come on top.
SLACK_BYTES = 64 << 20


def statistics_bytes(n_samples: int, n_voxels: int, *, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `stats.brain_statistics`, without X itself.

    Z, the Gram matrix and the sums are n_samples x n_voxels, n_voxels^2 and n_stimuli x n_voxels. Beside them stands
    the largest of: three blocks of 512 rows in float64 (z-scoring), three float64 sums of 1,024 columns, and for each
    thread four float64 pieces of 1,024 x 1,024 of the Gram matrix.
    """
    arrays = itemsize * n_voxels * (n_samples + n_voxels + n_stimuli)
    rows = 3 * 8 * min(ROWS_AT_ONCE, n_samples) * n_voxels
    columns = 3 * 8 * min(COLUMNS_AT_ONCE, n_voxels) * n_stimuli
    pieces = 4 * 8 * min(COLUMNS_AT_ONCE, n_voxels) ** 2 * n_threads
    return arrays + max(rows, columns, pieces) + SLACK_BYTES


def solve_bytes(k: int, *, itemsize: int = 4) -> int:
    """Return the peak bytes of `ridge.solve`: the systems, a copy, and one in float64 where that is factorised."""
    return (2 * itemsize + 8) * k * k * batch_size(k)


def fit_bytes(n_units: int, n_voxels: int, *, k: int, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `decoder.fit_units`, without its inputs.

    The results are n_units x k voxel numbers (4 bytes) and weights. Each thread holds, for a block of units, the
    products, their absolute values, a partly sorted copy and a mask (n_voxels each), the targets in float64 and the
    working type, voxel numbers as int64 while they are chosen, and `solve_bytes`; with few samples also all of them,
    transposed, and those of a batch's voxels.
    """
    block = min(UNIT_BLOCK, max(n_units, 1))
    ranking = (UNIT_BLOCK + 2 * block) * n_voxels * itemsize + 2 * block * n_voxels
    targets = (3 * block + UNIT_BLOCK) * n_stimuli * 8
    solving = solve_bytes(k, itemsize=itemsize) + block * k * (16 + 2 * itemsize)
    if n_stimuli <= max(k, DIRECT_SAMPLES):
        solving += itemsize * n_stimuli * (n_voxels + k * batch_size(k, n_samples=n_stimuli))
    return n_units * (k * (4 + itemsize) + 20) + n_threads * (ranking + targets + solving) + SLACK_BYTES


def choice_bytes(
    n_units: int, *, n_samples: int, n_voxels: int, n_stimuli: int, k: int, n_alphas: int, n_threads: int
) -> int:
    """Return the peak bytes of `choice.choose`, without its inputs.

    The samples of a fold's training stimuli and their statistics, the units of the fold, and for each thread one
    block of `fit_bytes` with the weights of every alpha and dense weights for the prediction.
    """
    brain = array_bytes(n_samples, n_voxels)
    brain += statistics_bytes(n_samples, n_voxels, n_stimuli=n_stimuli, n_threads=n_threads)
    block = fit_bytes(UNIT_BLOCK, n_voxels, k=k, n_stimuli=n_stimuli, n_threads=1)
    block += array_bytes(UNIT_BLOCK, k * n_alphas + n_voxels) + 8 * array_bytes(UNIT_BLOCK, n_stimuli)
    return brain + array_bytes(n_stimuli, n_units) + n_threads * block


def predict_bytes(n_items: int, n_units: int, *, n_voxels: int, k: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `decoder.predict_units`, without its inputs.

    The predictions, and for each thread a block of dense weights, voxel numbers as int64 and float64 predictions.
    """
    block = UNIT_BLOCK * ((n_voxels + 1) * itemsize + 3 * 8 * k + 4 * 8 * n_items)
    return itemsize * n_items * n_units + n_threads * block + SLACK_BYTES


def device_bytes(n_units: int, *, n_voxels: int, n_stimuli: int) -> int:
    """Return the peak bytes on a GPU while `n_units` units are fitted there.

    Gram matrix, sums, units, four arrays of a block's products, and three batches of systems of 512 MiB each.
    """
    return array_bytes(n_voxels, n_voxels + n_stimuli + 4 * UNIT_BLOCK) + array_bytes(n_stimuli, n_units) + (3 << 29)


def decoder_bytes(n_units: int, k: int, n_voxels: int) -> int:
    """Return the bytes of voxel numbers (2 or 4 each) and weights (4 each)."""
    return n_units * k * (4 + (2 if n_voxels <= 65535 else 4))


def statistics_tile_bytes(n_samples: int, n_voxels: int, *, n_stimuli: int) -> int:
    """Return the peak bytes of a `statistics` tile: the samples while they are read, or with their statistics."""
    own = statistics_bytes(n_samples, n_voxels, n_stimuli=n_stimuli, n_threads=threads.available())
    return max(shard_bytes(n_samples, n_voxels), array_bytes(n_samples, n_voxels) + own)


def choice_tile_bytes(n_units: int, *, n_samples: int, n_voxels: int, n_stimuli: int, k: int, n_alphas: int) -> int:
    """Return the peak bytes of a `choose` tile: samples, sampled units, and `numerics.choice_bytes`."""
    own = choice_bytes(
        n_units,
        n_samples=n_samples,
        n_voxels=n_voxels,
        n_stimuli=n_stimuli,
        k=min(k, n_voxels),
        n_alphas=n_alphas,
        n_threads=threads.available(),
    )
    samples = array_bytes(n_samples, n_voxels)
    return max(shard_bytes(n_samples, n_voxels), samples + own) + shard_bytes(n_stimuli, n_units)


def fit_tile_bytes(n_units: int, *, n_voxels: int, n_stimuli: int, k: int, n_items: Sequence[int]) -> int:
    """Return the peak bytes of a `fit` tile.

    The Gram matrix (mapped, but its pages count) and the sums; the features while their shards are read; the results;
    and the larger of what fitting `UNITS_AT_ONCE` units takes and what writing the results takes. With `n_items`
    (decoding while fitting) the results are predictions, and the test samples stand in memory beside them.
    """
    n_threads, at_once = threads.available(), min(n_units, UNITS_AT_ONCE)
    brain = array_bytes(n_voxels, n_voxels + 2 * n_stimuli)
    fitting = fit_bytes(at_once, n_voxels, k=k, n_stimuli=n_stimuli, n_threads=n_threads)
    if n_items:
        most = max(n_items)
        results = array_bytes(n_units, sum(n_items) + 3)
        test = 3 * array_bytes(sum(n_items), n_voxels)
        fitting += test + predict_bytes(most, at_once, n_voxels=n_voxels, k=k, n_threads=n_threads)
        writing = shard_bytes(n_units, most) + test
    else:
        results = decoder_bytes(n_units, k, n_voxels) + array_bytes(n_units, 3)
        writing = shard_bytes(n_units, k) + SLACK_BYTES
    return brain + shard_bytes(n_stimuli, n_units) + results + max(fitting, writing)


def decode_tile_bytes(n_units: int, *, n_voxels: int, k: int, n_items: Sequence[int], n_samples: int) -> int:
    """Return the peak bytes of a `decode` tile.

    The samples of the largest test dataset (`n_samples`) while they are read and averaged, with all test items in
    raw and z-scored form; then the decoders while their shards are read; then the predictions of `n_items` while they
    are computed or written.
    """
    items = 3 * array_bytes(sum(n_items), n_voxels)
    reading = shard_bytes(n_samples, n_voxels) + array_bytes(n_samples, n_voxels, itemsize=8)
    decoders = decoder_bytes(n_units, k, n_voxels) + shard_bytes(n_units, k)
    at_once = min(n_units, UNITS_AT_ONCE)
    own = predict_bytes(max(n_items), at_once, n_voxels=n_voxels, k=k, n_threads=threads.available())
    writing = array_bytes(sum(n_items), n_units) + shard_bytes(n_units, max(n_items))
    return items + max(reading, decoders + writing + own)


def correct_tile_bytes(n_units: int, *, n_stimuli: int) -> int:
    """Return the peak bytes of a `correct` tile.

    One item's features while they are read, float64 copies of them, the training means of the units with the table
    that they are read from, and the reference statistics of all stimuli.
    """
    item = shard_bytes(n_units) + COPIES_OF_AN_ITEM * array_bytes(n_units, itemsize=8)
    return item + shard_bytes(n_units, 3) + array_bytes(n_units, itemsize=8) + shard_bytes(n_stimuli, 3) + (16 << 20)


def statistics_seconds(n_samples: int, n_voxels: int, *, n_threads: int) -> float:
    """Return the seconds that the Gram matrix takes: half of n_samples x n_voxels^2 multiplications and additions."""
    return n_samples * n_voxels**2 / GEMM_PER_SECOND / n_threads


def fit_seconds(n_units: int, *, n_voxels: int, n_stimuli: int, k: int, n_threads: int) -> float:
    """Return the seconds of `decoder.fit_units`: product, partial sort, gather of k^2/2 numbers, factorisation."""
    ranking = 2 * n_stimuli * n_voxels / GEMM_PER_SECOND + n_voxels / SORT_PER_SECOND
    solving = k**2 / 2 / GATHER_PER_SECOND + k**3 / 3 / SOLVE_PER_SECOND
    return n_units * (ranking + solving) / n_threads


def predict_seconds(n_items: int, n_units: int, *, n_voxels: int, n_threads: int) -> float:
    """Return the seconds of `decoder.predict_units`: a dense product."""
    return 2 * n_units * n_voxels * (n_items + 4) / GEMM_PER_SECOND / n_threads
