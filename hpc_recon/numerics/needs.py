"""What fitting and predicting will need, as functions of sizes: peak bytes and seconds, known before anything runs.

Every figure is for the CPU, unless its name says `device`, and states the arrays that it counts; the tests of the verbs
measure that the truth stays below.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpc_recon.core import threads
from hpc_recon.core.memory import array_bytes, reading_bytes, shard_bytes, writing_bytes
from hpc_recon.numerics import cuda
from hpc_recon.numerics.decoder import UNIT_BLOCK
from hpc_recon.numerics.ridge import batch_size, batch_units, triangle_numbers
from hpc_recon.numerics.stats import COLUMNS_AT_ONCE, DIRECT_SAMPLES, ROWS_AT_ONCE

#: Speed of one server core, three quarters of the measured (`benchmarks/bench_fit.py`): multiplications and additions
#: of matrix products and of the factorisation, numbers gathered, voxels ranked.
GEMM_PER_SECOND = 7e10
SOLVE_PER_SECOND = 5e10
GATHER_PER_SECOND = 5e8
SORT_PER_SECOND = 3e8
#: Weights times items of the compiled prediction.
PREDICT_PER_SECOND = 5e9
#: Units whose decoders exist in memory at a time beyond what is stored: 16 blocks.
UNITS_AT_ONCE = 16 * UNIT_BLOCK
#: float64 copies of one item's features while its spread is computed.
COPIES_OF_AN_ITEM = 4
#: Of the largest devices in use (H200: 132, B200: 148).
MULTIPROCESSORS = 148
#: Resident bytes of numba, LLVM and the compiled kernels: 50 to 110 MiB where they are cached, 100 more where they are
#: compiled first (measured); `memory.WORKER_BASE` has room for the rest of that.
COMPILED_BYTES = 128 << 20
#: An array is freed to the allocator, not always to the system: measured 10 to 35 MiB.
SLACK_BYTES = 36 << 20


def statistics_bytes(
    n_samples: int, n_voxels: int, *, n_stimuli: int, n_threads: int, itemsize: int = 4, direct: bool = False
) -> int:
    """Return the peak bytes of `stats.brain_statistics`, without X itself; `direct` as in `fit_bytes`.

    Z, the Gram matrix and the sums are n_samples x n_voxels, n_voxels^2 and n_stimuli x n_voxels. Beside them stands
    the largest of: three blocks of 512 rows in float64 (z-scoring), three float64 sums of 1,024 columns, and for each
    thread four float64 pieces of 1,024 x 1,024 of the Gram matrix.
    """
    side = 0 if direct else n_voxels
    arrays = itemsize * n_voxels * (n_samples + side + n_stimuli)
    rows = 3 * 8 * min(ROWS_AT_ONCE, n_samples) * n_voxels
    columns = 3 * 8 * min(COLUMNS_AT_ONCE, n_voxels) * n_stimuli
    pieces = 4 * 8 * min(COLUMNS_AT_ONCE, side) ** 2 * n_threads
    return arrays + max(rows, columns, pieces) + SLACK_BYTES


def solve_bytes(k: int, *, n_units: int, n_threads: int = 1, itemsize: int = 4, plain: bool = False) -> int:
    """Return the peak bytes of `ridge.solve`.

    Compiled: the triangles of a batch with the lists of who chose what, and for each thread the panels of one system.
    Plain (float64 data, or `plain`: fewer samples than voxels): for each thread a batch of systems, a copy, and one in
    float64, if that is more.
    """
    batch = min(batch_units(k), n_units)
    compiled = batch * (itemsize * triangle_numbers(k) + 16 * k) + n_threads * itemsize * (k + 64) * (k + 64)
    if itemsize == 4 and not plain:
        return compiled
    return max(compiled, n_threads * (2 * itemsize + 8) * k * k * batch_size(k))


def fit_bytes(
    n_units: int, n_voxels: int, *, k: int, n_stimuli: int, n_threads: int, itemsize: int = 4, direct: bool = False
) -> int:
    """Return the peak bytes of `decoder.fit_units`, without its inputs.

    The results are n_units x k voxel numbers (4 bytes), weights and right-hand sides, and the targets where samples are
    fewer than voxels. A batch of units takes `solve_bytes`; each thread holds, for a block of units, the products, for
    float64 data also their absolute values, a partly sorted copy and a mask (n_voxels each), and the targets in float64
    and the working type; with few samples also all of them, transposed, and those of a batch's voxels.

    Parameters
    ----------
    direct
        It is known that no stimulus has two samples and there are at most `stats.DIRECT_SAMPLES`: no Gram matrix is
        looked up, so nothing is gathered from it.
    """
    block = min(UNIT_BLOCK, max(n_units, 1))
    batch = min(batch_units(k), n_units)
    ranking = UNIT_BLOCK * n_voxels * itemsize
    if itemsize > 4:
        ranking += 2 * block * n_voxels * (itemsize + 1)
    own = ranking + (3 * block + UNIT_BLOCK) * n_stimuli * 8 + block * k * (8 + itemsize)
    together = n_units * n_stimuli * itemsize if n_stimuli < k else 0
    if n_stimuli <= max(k, DIRECT_SAMPLES):
        systems = batch_size(k, n_samples=n_stimuli)
        own += itemsize * n_stimuli * (n_voxels + k * systems)
        if direct:
            own += (2 * itemsize + 8) * min(k, n_stimuli) ** 2 * systems
    if not direct:
        together += solve_bytes(k, n_units=batch, n_threads=n_threads, itemsize=itemsize, plain=n_stimuli < k)
    return n_units * (k * (4 + 2 * itemsize) + 28) + together + n_threads * own + SLACK_BYTES


def predict_bytes(n_items: int, n_units: int, *, n_voxels: int, k: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `decoder.predict_units`, without its inputs.

    The predictions, the items transposed, and for each thread a block's predictions in float64, with float64 weights
    also a block of dense ones and voxel numbers as int64.
    """
    block = UNIT_BLOCK * 4 * 8 * n_items
    if itemsize > 4:
        block += UNIT_BLOCK * ((n_voxels + 1) * itemsize + 3 * 8 * k)
    return itemsize * n_items * (n_units + n_voxels) + n_threads * block + SLACK_BYTES


def device_bytes(n_units: int, *, n_voxels: int, n_stimuli: int, k: int) -> int:
    """Return the peak bytes on a GPU while `n_units` units are fitted there (`cuda.fit_units`).

    Gram matrix and sums; for `cuda.UNITS_AT_ONCE` units the products, their targets with three float64 copies, voxels
    and right-hand sides; the units and their decoders; and the workspace of a device with `MULTIPROCESSORS`.
    """
    block = array_bytes(cuda.UNITS_AT_ONCE, n_voxels + 7 * n_stimuli + 3 * k)
    units = array_bytes(n_units, n_stimuli + 3 * k + 8)
    return (
        array_bytes(n_voxels, n_voxels + n_stimuli)
        + block
        + units
        + cuda.workspace_bytes(min(k, cuda.MAX_VOXELS), multiprocessors=MULTIPROCESSORS)
    )


def decoder_bytes(n_units: int, k: int, n_voxels: int) -> int:
    """Return the bytes of voxel numbers (2 or 4 each) and weights (4 each)."""
    return n_units * k * (4 + (2 if n_voxels <= 65535 else 4))


def statistics_tile_bytes(n_samples: int, n_voxels: int, *, n_stimuli: int, direct: bool = False) -> int:
    """Return the peak bytes of a `statistics` tile: the samples while they are read, or with their statistics."""
    own = statistics_bytes(n_samples, n_voxels, n_stimuli=n_stimuli, n_threads=threads.available(), direct=direct)
    return max(reading_bytes(n_samples, n_voxels) + SLACK_BYTES, array_bytes(n_samples, n_voxels) + own)


def fit_tile_bytes(
    n_units: int,
    *,
    n_voxels: int,
    n_stimuli: int,
    k: int,
    n_items: Sequence[int],
    direct: bool = False,
    fitting: int | None = None,
) -> int:
    """Return the peak bytes of a `fit` tile; `direct` as in `fit_bytes`.

    Parameters
    ----------
    fitting
        Bytes of fitting `UNITS_AT_ONCE` units, for an estimator that takes no system of k voxels for each unit.

    The compiled kernels; the Gram matrix (mapped, but its pages count) and the sums; the results; and what is larger:
    the features of `UNITS_AT_ONCE` units, those of the next ones while they are read, and what fitting these units
    takes; or what writing the largest part of the results takes. With `n_items` (decoding while fitting) the results
    are predictions, and the test samples stand in memory beside them.
    """
    n_threads, at_once = threads.available(), min(n_units, UNITS_AT_ONCE)
    brain = array_bytes(n_voxels, (0 if direct else n_voxels) + 2 * n_stimuli)
    if fitting is None:
        fitting = fit_bytes(at_once, n_voxels, k=k, n_stimuli=n_stimuli, n_threads=n_threads, direct=direct)
    features = array_bytes(n_stimuli, at_once)
    following = reading_bytes(n_stimuli, min(n_units - at_once, at_once))
    if n_items:
        most = max(n_items)
        results = array_bytes(n_units, sum(n_items) + 3)
        test = 3 * array_bytes(sum(n_items), n_voxels)
        predicting = predict_bytes(most, at_once, n_voxels=n_voxels, k=k, n_threads=n_threads)
        # The right-hand sides are gone by then, and so is what solving took.
        fitting = test + max(fitting, predicting + array_bytes(at_once, 2 * k + 7))
        writing = writing_bytes(n_units, most) + test
    else:
        results = decoder_bytes(n_units, k, n_voxels) + array_bytes(n_units, 3)
        writing = writing_bytes(n_units, k) + SLACK_BYTES
    return COMPILED_BYTES + brain + results + max(features + following + fitting, writing)


def decode_tile_bytes(n_units: int, *, n_voxels: int, k: int, n_items: Sequence[int], n_samples: int) -> int:
    """Return the peak bytes of a `decode` tile.

    The compiled kernels, and all test items in raw and z-scored form; beside them the largest of: the samples of the
    largest test dataset (`n_samples`) while they are read and averaged; the predictions with the decoders of
    `UNITS_AT_ONCE` units, while these are read or predict; the predictions while they are written.
    """
    at_once, most = min(n_units, UNITS_AT_ONCE), max(n_items)
    items = 3 * array_bytes(sum(n_items), n_voxels)
    reading = reading_bytes(n_samples, n_voxels) + SLACK_BYTES
    predicted = array_bytes(sum(n_items), n_units)
    predicting = predict_bytes(most, at_once, n_voxels=n_voxels, k=k, n_threads=threads.available())
    # While weights are read the voxel numbers are there.
    own = predicted + decoder_bytes(at_once, k, n_voxels) + max(array_bytes(at_once, k), predicting)
    writing = predicted + writing_bytes(n_units, most) + SLACK_BYTES
    return COMPILED_BYTES + items + max(reading, own, writing)


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


def predict_seconds(n_items: int, n_units: int, *, k: int, n_threads: int) -> float:
    """Return the seconds of `decoder.predict_units`: each of k weights times each item."""
    return n_units * k * (n_items + 8) / PREDICT_PER_SECOND / n_threads
