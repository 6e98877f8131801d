"""Register tiles of a Cholesky factorisation, written in LLVM's vector types for numba's compiled functions.

LAPACK's `spotrf` reaches under a third of a core's matrix-product rate at 500 unknowns (measured), because it was made
for large matrices and copies its operands into another order first. Here a system is put straight into the order that
the inner loop reads: *panels* of `ROWS` rows, each stored column by column, so that a column of a panel is `ROWS`
contiguous numbers. A *tile* is `ROWS` x `COLUMNS` numbers, held in registers while all earlier columns are subtracted
from it. Plain loops do not do: LLVM keeps such a tile in registers only when it is told to.

numba keeps what it compiled by the date of the calling file alone: after a change here, save `systems.py` too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic as _intrinsic


def _features() -> frozenset[str]:
    """Return the processor features that numba compiles for."""
    asked = getattr(config, "CPU_FEATURES", None)  # $NUMBA_CPU_FEATURES
    if asked is not None:
        return frozenset(part[1:] for part in str(asked).split(",") if part.startswith("+"))
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def _tile_shape(features: frozenset[str]) -> tuple[int, int, int]:
    """Return lanes of a vector, vectors of a tile's column, and columns: as many accumulators as registers allow.

    >>> _tile_shape(frozenset({"avx", "avx2"}))
    (8, 2, 4)
    """
    if "avx512f" in features:
        return 16, 2, 8  # 16 of 32 registers
    if "avx" in features:
        return 8, 2, 4  # 8 of 16 registers
    return 4, 4, 4


LANES, VECTORS, COLUMNS = _tile_shape(_features())
#: Rows of a panel.
ROWS = LANES * VECTORS

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
#: A multiplication and a subtraction may become one instruction; nothing else is reordered.
_FUSED = ("contract",)
_Tile = list[list[Any]]
#: numba gives the decorator and what it returns types that do not describe how they are called.
intrinsic: Callable[[Callable[..., Any]], Any] = _intrinsic


class _Writer:
    """Writes the instructions of a tile; pointers are addresses of float32 numbers."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def pointer(self, address: Any) -> Any:
        """Turn an address into a pointer to numbers."""
        return self.builder.inttoptr(address, _FLOAT.as_pointer())

    def offset(self, number: int) -> Any:
        """Return a constant number of numbers."""
        return ir.Constant(_INT64, number)

    def load(self, base: Any, offset: Any) -> Any:
        """Load a vector from anywhere."""
        place = self.builder.bitcast(self.builder.gep(base, [offset]), _VECTOR.as_pointer())
        value = self.builder.load(place)
        value.align = 4
        return value

    def store(self, value: Any, base: Any, offset: int) -> None:
        """Store a vector anywhere."""
        place = self.builder.bitcast(self.builder.gep(base, [self.offset(offset)]), _VECTOR.as_pointer())
        self.builder.store(value, place).align = 4

    def spread(self, base: Any, offset: Any) -> Any:
        """Load one number into all lanes."""
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        number = self.builder.load(self.builder.gep(base, [offset]))
        first = self.builder.insert_element(nothing, number, ir.Constant(_INT32, 0))
        lanes = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, nothing, lanes)

    def minus_product(self, c: Any, a: Any, b: Any) -> Any:
        """Compute c - a * b."""
        return self.builder.fsub(c, self.builder.fmul(a, b, flags=_FUSED), flags=_FUSED)

    def plus_product(self, c: Any, a: Any, b: Any) -> Any:
        """Compute c + a * b."""
        return self.builder.fadd(c, self.builder.fmul(a, b, flags=_FUSED), flags=_FUSED)

    def sum(self, value: Any) -> Any:
        """Add up the lanes of a vector, halves at a time."""
        width = LANES
        while width > 1:
            width //= 2
            half = ir.VectorType(_INT32, width)
            low, high = (
                self.builder.shuffle_vector(value, value, ir.Constant(half, list(range(start, start + width))))
                for start in (0, width)
            )
            value = self.builder.fadd(low, high)
        return self.builder.extract_element(value, ir.Constant(_INT32, 0))

    def loop(self, count: Any, start: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """Run `body(i, values)` for i in range(count), the values carried in registers; return the last ones."""
        b = self.builder
        entry = b.block
        inside, after = b.append_basic_block("tile.loop"), b.append_basic_block("tile.done")
        b.cbranch(b.icmp_signed(">", count, self.offset(0)), inside, after)
        b.position_at_end(inside)
        index, held = b.phi(_INT64), [b.phi(value.type) for value in start]
        changed = body(index, held)
        following = b.add(index, self.offset(1))
        latch = b.block
        b.cbranch(b.icmp_signed("<", following, count), inside, after)
        index.add_incoming(self.offset(0), entry)
        index.add_incoming(following, latch)
        for phi, first, later in zip(held, start, changed, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(later, latch)
        b.position_at_end(after)
        final = [b.phi(value.type) for value in start]
        for phi, first, later in zip(final, start, changed, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(later, latch)
        return final


def _load_tile(w: _Writer, tile: Any, vectors: range) -> list[Any]:
    return [w.load(tile, w.offset(c * ROWS + v * LANES)) for c in range(COLUMNS) for v in vectors]


def _store_tile(w: _Writer, tile: Any, values: list[Any], vectors: range) -> None:
    for at, value in enumerate(values):
        w.store(value, tile, (at // len(vectors)) * ROWS + vectors[at % len(vectors)] * LANES)


def _subtracted(w: _Writer, tile: Any, left: Any, right: Any, count: Any, vectors: range) -> list[Any]:
    """Return tile - sum over `count` earlier columns of left (ROWS a column) times right (COLUMNS a column)."""

    def body(i: Any, held: list[Any]) -> list[Any]:
        row, column = w.builder.mul(i, w.offset(ROWS)), w.builder.mul(i, w.offset(COLUMNS))
        a = [w.load(left, w.builder.add(row, w.offset(v * LANES))) for v in vectors]
        changed: list[Any] = []
        for c in range(COLUMNS):
            b = w.spread(right, w.builder.add(column, w.offset(c)))
            changed += [w.minus_product(held[c * len(a) + v], a[v], b) for v in range(len(a))]
        return changed

    return w.loop(count, _load_tile(w, tile, vectors), body)


def _subtract_rows(vectors: range) -> Any:
    """Return the types and the code of `subtract` for some of the vectors of a column."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        w = _Writer(builder)
        to, a, b = (w.pointer(address) for address in arguments[:3])
        _store_tile(w, to, _subtracted(w, to, a, b, arguments[3], vectors), vectors)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), code


@intrinsic
def subtract(_context: Any, tile: Any, left: Any, right: Any, count: Any) -> Any:
    """Subtract earlier columns from a tile.

    Parameters
    ----------
    tile, left, right : int
        Addresses of float32: the tile, the first column of its panel, and the packed rows of the pivot block
        (`COLUMNS` numbers for each earlier column).
    count : int
        Number of earlier columns.
    """
    return _subtract_rows(range(VECTORS))


@intrinsic
def subtract_lower_half(_context: Any, tile: Any, left: Any, right: Any, count: Any) -> Any:
    """Subtract earlier columns from the lower half of a tile's rows; parameters as in `subtract`."""
    return _subtract_rows(range(VECTORS // 2, VECTORS))


@intrinsic
def pack(_context: Any, rows: Any, packed: Any, count: Any) -> Any:
    """Copy `COLUMNS` rows of `count` columns of a panel, column after column without gaps.

    Parameters
    ----------
    rows, packed : int
        Addresses of the first row in the first column, and of where to.
    """

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        w = _Writer(builder)
        source, to = (w.pointer(address) for address in arguments[:2])
        piece = ir.VectorType(_FLOAT, COLUMNS).as_pointer()

        def body(i: Any, held: list[Any]) -> list[Any]:
            places = (builder.gep(base, [builder.mul(i, w.offset(n))]) for base, n in ((source, ROWS), (to, COLUMNS)))
            origin, target = (builder.bitcast(place, piece) for place in places)
            value = builder.load(origin)
            value.align = 4
            builder.store(value, target).align = 4
            return held

        w.loop(arguments[2], [], body)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 3), code


@intrinsic
def subtract_and_solve(_context: Any, tile: Any, left: Any, right: Any, count: Any, pivot: Any) -> Any:
    """Subtract earlier columns from a tile, then solve X L' = tile for the factor L of the pivot block.

    Parameters
    ----------
    pivot : int
        Address of L (COLUMNS x COLUMNS, row by row), with the *inverse* of its diagonal on the diagonal.
    """

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        w = _Writer(builder)
        to, a, b = (w.pointer(address) for address in arguments[:3])
        factor = w.pointer(arguments[4])
        values = _subtracted(w, to, a, b, arguments[3], range(VECTORS))
        solved: _Tile = []
        for c in range(COLUMNS):
            column = values[c * VECTORS : (c + 1) * VECTORS]
            for d in range(c):
                b_cd = w.spread(factor, w.offset(c * COLUMNS + d))
                column = [w.minus_product(column[v], solved[d][v], b_cd) for v in range(VECTORS)]
            inverse = w.spread(factor, w.offset(c * COLUMNS + c))
            solved.append([builder.fmul(column[v], inverse) for v in range(VECTORS)])
        _store_tile(w, to, [value for column in solved for value in column], range(VECTORS))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), code


@intrinsic
def columns_times(_context: Any, tile: Any, step: Any, vector: Any, count: Any, result: Any) -> Any:
    """Multiply `COLUMNS` columns of the panels below by a vector, for the back substitution.

    Parameters
    ----------
    tile : int
        Address of the columns in the first panel.
    step : int
        float32 numbers from one panel to the next.
    vector : int
        Address of the vector's rows of the first panel.
    count : int
        Number of panels.
    result : int
        Address of the COLUMNS sums.
    """

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        w = _Writer(builder)
        first, step_, x, count_, to = arguments
        columns, x, to = w.pointer(first), w.pointer(x), w.pointer(to)
        zero = ir.Constant(_VECTOR, [ir.Constant(_FLOAT, 0.0)] * LANES)

        def body(i: Any, held: list[Any]) -> list[Any]:
            start, row = builder.mul(i, step_), builder.mul(i, w.offset(ROWS))
            values = [w.load(x, builder.add(row, w.offset(v * LANES))) for v in range(VECTORS)]
            changed = list(held)
            for c in range(COLUMNS):
                for v in range(VECTORS):
                    number = w.load(columns, builder.add(start, w.offset(c * ROWS + v * LANES)))
                    changed[c] = w.plus_product(changed[c], number, values[v])
            return changed

        for c, value in enumerate(w.loop(count_, [zero] * COLUMNS, body)):
            builder.store(w.sum(value), builder.gep(to, [w.offset(c)]))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), code


@intrinsic
def minus_columns(_context: Any, tile: Any, step: Any, factors: Any, vector: Any, count: Any) -> Any:
    """Subtract from a vector `COLUMNS` columns of the panels below, each times a factor, for the forward substitution.

    Parameters
    ----------
    tile, step, vector, count : int
        As in `columns_times`.
    factors : int
        Address of COLUMNS numbers.
    """

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        w = _Writer(builder)
        first, step_, y, x, count_ = arguments
        columns, y, x = w.pointer(first), w.pointer(y), w.pointer(x)
        factor = [w.spread(y, w.offset(c)) for c in range(COLUMNS)]

        def body(i: Any, held: list[Any]) -> list[Any]:
            start, row = builder.mul(i, step_), builder.mul(i, w.offset(ROWS))
            for v in range(VECTORS):
                place = builder.gep(x, [builder.add(row, w.offset(v * LANES))])
                value = w.load(place, w.offset(0))
                for c in range(COLUMNS):
                    column = w.load(columns, builder.add(start, w.offset(c * ROWS + v * LANES)))
                    value = w.minus_product(value, column, factor[c])
                w.store(value, place, 0)
            return held

        w.loop(count_, [], body)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), code


@intrinsic
def copy_column(_context: Any, to: Any, source: Any) -> Any:
    """Copy `ROWS` float32 numbers between addresses."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        w = _Writer(builder)
        target, origin = (w.pointer(address) for address in arguments)
        for v in range(VECTORS):
            w.store(w.load(origin, w.offset(v * LANES)), target, v * LANES)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), code
