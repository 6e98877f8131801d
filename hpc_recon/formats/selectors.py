"""Selectors: expressions over the metadata keys of a BData file that choose columns, such as `ROI_V1 = 1 | ROI_V2 = 1`.

The grammar is that of bdpy's `BData.select` (specs, section 3.2):

- a name stands for the columns whose metadata value is 1; `*` in it for any characters, several keys being united;
- `= N` compares membership with a whole number: `= 1` changes nothing, `= 0` is the complement, any other is empty;
- `|` and `+` unite, `&` intersects, `-` removes: all with one precedence, from left to right, below `=`;
- parentheses; quotes (`'` or `"`) around parts of names with operator characters; blanks outside quotes are dropped.

bdpy's parser ends every open operator at a `)`, so it reads `A & ((B) | C)` as `(A & B) | C`. `select_columns`
evaluates both, and refuses an expression for which they choose different columns, unless it is told which is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.text import closest

#: How nested parentheses are read: as algebra, as bdpy does, or only where both agree.
Reading = Literal["agreed", "algebra", "bdpy"]
_OPERATORS = "=|&+-@()"
#: Parentheses in one another: a bound, so that no expression ends in Python's limit of recursion.
_DEEPEST = 100
_UNITE, _MEET, _REMOVE = "|", "&", "-"


@dataclass(frozen=True)
class Token:
    """A part of an expression: `kind` is `name`, `number` or the operator itself; `at` counts characters from 1."""

    kind: str
    text: str
    at: int


def parse(expression: str, *, reading: Literal["algebra", "bdpy"] = "algebra") -> tuple[Token, ...]:
    """Return an expression in reverse Polish notation: operands first, then their operator (`= | & -`).

    >>> " ".join(token.text for token in parse("ROI_V1 = 1 + ROI_V2 - 'a-b'"))
    'ROI_V1 1 = ROI_V2 | a-b -'

    Raises
    ------
    DataError
        If it is no expression; a mark shows where.
    """
    tokens = _tokens(expression)
    if not tokens:
        raise DataError("the selector is empty; name a metadata key, for example ROI_V1")
    algebra = tuple(_Parser(expression, tokens).parsed())  # also the check of the grammar
    return algebra if reading == "algebra" else tuple(_as_bdpy(tokens))


def select_columns(expression: str, keys: Sequence[str], member: Callable[[str], Array], *, reading: Reading) -> Array:
    """Return the columns that an expression chooses.

    Parameters
    ----------
    expression
        The selector.
    keys
        All metadata keys.
    member
        Returns the (n_columns,) bool membership of a key.
    reading
        How nested parentheses are read; `agreed` refuses expressions that bdpy reads otherwise than algebra.

    Returns
    -------
    Array
        Column indices, int64, ascending.

    Raises
    ------
    DataError
        If the expression is wrong, a key is unknown (the closest is given), or the readings differ.
    """
    chosen = {
        name: evaluate(parse(expression, reading=name), expression, keys, member)
        for name in (("algebra", "bdpy") if reading == "agreed" else (reading,))
    }
    masks = list(chosen.values())
    if len(masks) == 2 and not np.array_equal(masks[0], masks[1]):
        counts = " and ".join(f"{np.count_nonzero(mask)} as {name}" for name, mask in chosen.items())
        raise DataError(
            f"the selector {expression!r} chooses different columns when its nested parentheses are read as algebra "
            f"and as bdpy reads them ({counts}); write it without nested ones, or say reading='algebra' or 'bdpy'"
        )
    return np.flatnonzero(masks[0])


def evaluate(rpn: Sequence[Token], expression: str, keys: Sequence[str], member: Callable[[str], Array]) -> Array:
    """Return the bool mask of a parsed expression; see `select_columns`."""
    stack: list[Array] = []
    numbers: list[float] = []
    for token in rpn:
        if token.kind == "name":
            stack.append(_membership(token, expression, keys, member))
        elif token.kind == "number":
            numbers.append(float(token.text))
        elif token.kind == "=":
            stack.append(stack.pop() == numbers.pop())
        else:
            right, left = stack.pop(), stack.pop()
            if token.kind == _UNITE:
                stack.append(left | right)
            else:
                stack.append(left & (right if token.kind == _MEET else ~right))
    (mask,) = stack
    return mask


def top(n: int, by: Array, within: Array) -> Array:
    """Return the `n` columns with the largest numbers, such as the voxels with the largest F value.

    bdpy documents `top N` in selectors, but cannot evaluate it; this is its counterpart.

    Parameters
    ----------
    n
        How many, at least 1.
    by
        (n_columns,) numbers; NaN is never chosen. Of equal ones, the column further left comes first.
    within
        Columns to choose from: distinct indices, or a (n_columns,) bool mask.

    Returns
    -------
    Array
        (n,) int64 column indices, ascending.

    Raises
    ------
    DataError
        If fewer than `n` of the columns have a number, or `within` does not fit.

    >>> top(2, by=np.array([5.0, np.nan, 7.0, 7.0]), within=np.array([0, 1, 3])).tolist()
    [0, 3]
    """
    if within.dtype == bool:
        if within.shape != by.shape:
            raise DataError(f"within is a mask of shape {within.shape}, but by has {by.shape}; they must be equal")
        within = np.flatnonzero(within)
    columns = np.unique(np.asarray(within, dtype=np.int64))
    if columns.size and (columns[0] < 0 or columns[-1] >= by.size):
        raise DataError(f"within names the columns {columns[0]} to {columns[-1]}, but there are 0 to {by.size - 1}")
    known = columns[~np.isnan(by[columns])]
    if not 1 <= n <= known.size:
        raise DataError(f"n must be 1 to {known.size}, the columns in `within` that have a number in `by`, but is {n}")
    order = np.argsort(-by[known].astype(np.float64), kind="stable")
    return np.sort(known[order[:n]])


def _tokens(expression: str) -> list[Token]:
    """Split; a name may consist of several quoted and plain parts, and blanks between them are dropped."""
    found: list[Token] = []
    text, depth, i = "", 0, 0
    start: int | None = None

    def finish() -> None:
        nonlocal text, start
        if start is not None:
            if not text:
                raise _wrong(expression, start, "an empty name")
            found.append(Token("number" if text.isascii() and text.isdigit() else "name", text, start))
        text, start = "", None

    while i < len(expression):
        character = expression[i]
        if character in "'\"":
            end = expression.find(character, i + 1)
            if end < 0:
                raise _wrong(expression, i + 1, f"a quote {character} that is not closed")
            start = i + 1 if start is None else start
            text, i = text + expression[i + 1 : end], end
        elif character in _OPERATORS:
            finish()
            if character == "@":
                raise _wrong(expression, i + 1, "@, which bdpy never evaluates; use top(n, by=..., within=...)")
            depth += (character == "(") - (character == ")")
            if depth > _DEEPEST:
                raise _wrong(expression, i + 1, f"more than {_DEEPEST} open parentheses")
            found.append(Token(_UNITE if character == "+" else character, character.replace("+", _UNITE), i + 1))
        elif not character.isspace():
            start = i + 1 if start is None else start
            text += character
        i += 1
    finish()
    return found


class _Parser:
    """Recursive descent: expression := comparison (("|" | "&" | "-") comparison)*, comparison := operand ("=" N)*."""

    def __init__(self, expression: str, tokens: Sequence[Token]) -> None:
        self._expression = expression
        self._tokens = tokens
        self._i = 0

    def parsed(self) -> Iterator[Token]:
        """Yield the whole expression in reverse Polish notation; raise if anything is left over."""
        yield from self._expression_rule()
        if self._i < len(self._tokens):
            token = self._tokens[self._i]
            what = "a ) without its (" if token.kind == ")" else "a missing operator (| & + - =)"
            raise _wrong(self._expression, token.at, what)

    def _next(self) -> Token | None:
        return self._tokens[self._i] if self._i < len(self._tokens) else None

    def _take(self, expected: str) -> Token:
        token = self._next()
        if token is None:
            raise _wrong(self._expression, len(self._expression) + 1, f"the end, where {expected} is expected")
        self._i += 1
        return token

    def _expression_rule(self) -> Iterator[Token]:
        yield from self._comparison()
        while (token := self._next()) is not None and token.kind in (_UNITE, _MEET, _REMOVE):
            self._i += 1
            yield from self._comparison()
            yield token

    def _comparison(self) -> Iterator[Token]:
        token = self._take("a key")
        if token.kind == "(":
            yield from self._expression_rule()
            self._close()
        elif token.kind == "name":
            yield token
        else:
            raise _wrong(self._expression, token.at, f"{token.text!r} where a key is expected")
        while (sign := self._next()) is not None and sign.kind == "=":
            self._i += 1
            yield self._number()
            yield sign

    def _number(self) -> Token:
        token = self._take("a number")
        if token.kind == "(":
            inner = self._number()
            self._close()
            return inner
        if token.kind != "number":
            raise _wrong(self._expression, token.at, f"{token.text!r} where a whole number is expected")
        return token

    def _close(self) -> None:
        token = self._take(")")
        if token.kind != ")":
            raise _wrong(self._expression, token.at, f"{token.text!r} where an operator or ) is expected")


def _as_bdpy(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield the order in which bdpy evaluates: a ) ends all that is open, not only what its ( opened."""
    pending: list[Token] = []
    for token in tokens:
        if token.kind in ("name", "number"):
            yield token
        elif token.kind == "(":
            pending.append(token)
        elif token.kind == ")":
            while pending:
                if pending[-1].kind == "(":
                    pending.pop()
                else:
                    yield pending.pop()
        else:
            while pending and pending[-1].kind != "(" and (token.kind != "=" or pending[-1].kind == "="):
                yield pending.pop()
            pending.append(token)
    while pending:
        yield pending.pop()


def _membership(token: Token, expression: str, keys: Sequence[str], member: Callable[[str], Array]) -> Array:
    matching = list(dict.fromkeys(_matching(token.text, keys)))
    if not matching:
        cut = re.fullmatch(r"(.+)top\d+", token.text)
        hint = "; blanks are dropped, and `top` is the function top(n, by=..., within=...)" if cut else ""
        raise _wrong(expression, token.at, f"the unknown key {token.text!r}{closest(token.text, keys)}{hint}")
    mask = member(matching[0]).copy()
    for key in matching[1:]:
        mask |= member(key)
    return mask


def _matching(name: str, keys: Sequence[str]) -> Iterator[str]:
    if "*" not in name:
        yield from (key for key in keys if key == name)
        return
    pattern = re.compile(".*".join(re.escape(part) for part in re.split(r"\*+", name)))
    yield from (key for key in keys if pattern.fullmatch(key))


def _wrong(expression: str, at: int, what: str) -> DataError:
    return DataError(f"the selector has, at character {at}, {what}\n  {expression}\n  {' ' * (at - 1)}^")
