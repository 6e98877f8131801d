"""In which order samples are learnt from: reproducible from the seed and the number of the step alone.

Samples that fit into memory are one random permutation, in which batches follow each other across the end of a pass, as
published (6,000 samples are no multiple of 64). Larger sets are shuffled a buffer at a time: chunks of neighbouring
samples are dealt to buffers at random, and samples are shuffled within these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import ranges

#: Neighbouring samples that are read together: the chunk of the store.
CHUNK = 128


@dataclass(frozen=True)
class Part:
    """Some members of one buffer of one pass, in the order in which they are learnt from."""

    #: Number of the pass, and of the buffer in it.
    buffer: tuple[int, int]
    #: Places in the buffer.
    places: Array


@dataclass(frozen=True)
class Order:
    """The order of `n` samples.

    Attributes
    ----------
    in_buffer
        Samples that are in memory at once; `n` or more: all.
    every_pass
        Whether each pass has an order of its own.
    """

    n: int
    in_buffer: int
    seed: int
    every_pass: bool = False

    def buffers(self, number: int) -> tuple[Array, ...]:
        """Return the samples of each buffer of a pass, in order."""
        return _buffers(self.n, self.in_buffer, self.seed, number if self.every_pass else 0)

    def batch(self, step: int, size: int) -> list[Part]:
        """Return where the samples of a step are: parts of one buffer, or of several at its end."""
        places = np.arange(step * size, (step + 1) * size)
        found = []
        for number in np.unique(places // self.n).tolist():
            within = places[places // self.n == number] - number * self.n
            edges = np.cumsum([0, *(len(buffer) for buffer in self.buffers(number))])
            buffer = np.searchsorted(edges, within, side="right") - 1
            found += [
                Part((number, int(own)), within[buffer == own] - edges[own]) for own in np.unique(buffer).tolist()
            ]
        return found


@lru_cache(maxsize=8)
def _buffers(n: int, in_buffer: int, seed: int, number: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed_of(seed, "order", number))
    if in_buffer >= n:
        return (rng.permutation(n),)
    chunks = ranges(n, min(CHUNK, in_buffer))
    per_buffer = max(1, in_buffer // CHUNK)
    dealt = rng.permutation(len(chunks))
    return tuple(
        rng.permutation(np.concatenate([np.arange(*chunks[c]) for c in dealt[start:stop]]))
        for start, stop in ranges(len(chunks), per_buffer)
    )


def offsets(step: int, size: int, *, margin: int, seed: int) -> Array:
    """Return row and column of the crop of each sample of a step, (size, 2) int64, uniform in [0, margin].

    >>> bool(offsets(3, 64, margin=21, seed=0).max() <= 21)
    True
    """
    rng = np.random.default_rng(seed_of(seed, "crops", step))
    drawn: Array = rng.integers(0, margin + 1, size=(size, 2))
    return drawn
