from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.formats import selectors

N = 40
KEYS = ["ROI_V1", "ROI_V2", "ROI_LOC", "VoxelData", "a-b"]
MASKS = {key: np.random.default_rng(i).random(N) < 0.5 for i, key in enumerate(KEYS)}


def chosen(expression, reading="agreed"):
    return selectors.select_columns(expression, KEYS, MASKS.__getitem__, reading=reading).tolist()


def columns(key):
    return set(np.flatnonzero(MASKS[key]).tolist())


@st.composite
def flat(draw):
    """An expression of comparisons joined from left to right, and its columns by Python's sets."""
    text, found = "", set()
    for i in range(draw(st.integers(1, 6))):
        key = draw(st.sampled_from(KEYS))
        number = draw(st.sampled_from(["", "1", "0", "2"]))
        operand = {"": columns(key), "1": columns(key), "0": set(range(N)) - columns(key), "2": set()}[number]
        quote = draw(st.sampled_from(["'", '"'] if "-" in key else ["", "'"]))
        blank = draw(st.sampled_from(["", " "]))
        written = f"{quote}{key}{quote}" + (f"{blank}={blank}{number}" if number else "")
        sign = draw(st.sampled_from("|+&-")) if i else "|"
        found = {"|": found | operand, "+": found | operand, "&": found & operand, "-": found - operand}[sign]
        text += (f"{blank}{sign}{blank}" if i else "") + written
    return text, found


@st.composite
def nested(draw, depth=3):
    """An expression with parentheses anywhere, and its columns by Python's sets."""
    if depth == 0 or draw(st.booleans()):
        key = draw(st.sampled_from(KEYS[:3]))
        return key, columns(key)
    left, a = draw(nested(depth=depth - 1))
    right, b = draw(nested(depth=depth - 1))
    sign = draw(st.sampled_from("|&-"))
    found = {"|": a | b, "&": a & b, "-": a - b}[sign]
    if draw(st.booleans()):
        return f"(({left}) {sign} ({right})) = 0", set(range(N)) - found
    return f"({left}) {sign} ({right})", found


@given(flat())
def test_without_parentheses_all_readings_are_sets_from_left_to_right(case) -> None:
    text, found = case
    for reading in ("agreed", "algebra", "bdpy"):
        assert chosen(text, reading) == sorted(found)


@given(nested())
@settings(max_examples=300)
def test_with_parentheses_algebra_is_that_of_sets_and_agreed_is_algebra_or_refused(case) -> None:
    text, found = case
    assert chosen(text, "algebra") == sorted(found)
    if chosen(text, "bdpy") == sorted(found):
        assert chosen(text) == sorted(found)
    else:
        with pytest.raises(DataError, match="reading='algebra' or 'bdpy'"):
            chosen(text)


def test_what_bdpy_makes_of_nested_parentheses() -> None:
    text = "ROI_V1 & ((ROI_V2) | ROI_LOC)"
    assert chosen(text, "bdpy") == sorted((columns("ROI_V1") & columns("ROI_V2")) | columns("ROI_LOC"))
    assert chosen(text, "algebra") == sorted(columns("ROI_V1") & (columns("ROI_V2") | columns("ROI_LOC")))


def test_wildcards_unite_and_blanks_are_dropped() -> None:
    united = sorted(columns("ROI_V1") | columns("ROI_V2") | columns("ROI_LOC"))
    assert chosen("ROI_*") == chosen("R O I _ *") == chosen("'ROI_**'") == united
    assert chosen("*V1") == sorted(columns("ROI_V1"))
    assert chosen("(ROI_V1 = 0) = 0") == chosen("ROI_V1 = (1)") == sorted(columns("ROI_V1"))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("ROI_V1 |", "character 9, the end"),
        ("(ROI_V1", "character 8, the end"),
        ("ROI_V1)", r"character 7, a \) without"),
        ("ROI_V1 (ROI_V2)", "character 8, a missing operator"),
        ("-ROI_V1", "character 1, '-' where a key"),
        ("ROI_V1 = ROI_V2", "character 10, 'ROI_V2' where a whole number"),
        ("1", "character 1, '1' where a key"),
        ("ROI_V1 & 1", "character 10, '1' where a key"),
        ("'ROI_V1", "character 1, a quote"),
        ("ROI_V1 | ''", "character 10, an empty name"),
        ("ROI_V1 @ ROI_V2", r"character 8, @.*top\(n"),
        ("ROI_V3", "character 1, the unknown key 'ROI_V3'; did you mean 'ROI_V"),
        ("VoxelData top 100", r"blanks are dropped, and `top` is the function"),
        ("ROI_X*", "unknown key"),
        ("(" * 500 + "ROI_V1" + ")" * 500, "more than 100 open parentheses"),
    ],
)
def test_a_wrong_expression_is_an_error_that_shows_where(expression, message) -> None:
    with pytest.raises(DataError, match=message):
        chosen(expression)


@given(st.text("ROI_V12()=|&+-@*'\" ", max_size=30))
@settings(max_examples=500)
def test_any_text_is_evaluated_or_refused(text) -> None:
    try:
        found = chosen(text)
    except DataError:
        return
    assert found == sorted(set(found))


@given(st.lists(st.one_of(st.just(float("nan")), st.integers(-3, 3).map(float)), min_size=1, max_size=20), st.data())
def test_top_is_a_sort_by_number_then_column(numbers, data) -> None:
    by = np.array(numbers)
    within = data.draw(st.lists(st.integers(0, len(numbers) - 1), unique=True, min_size=1))
    known = sorted((i for i in within if not np.isnan(by[i])), key=lambda i: (-by[i], i))
    for n in range(1, len(known) + 1):
        assert selectors.top(n, by, np.array(within)).tolist() == sorted(known[:n])
    for n in (0, len(known) + 1):
        with pytest.raises(DataError, match="n must be 1 to"):
            selectors.top(n, by, np.array(within))


def test_top_takes_a_mask_and_refuses_what_does_not_fit() -> None:
    by = np.array([3.0, 2.0, 1.0])
    assert selectors.top(1, by, np.array([False, True, True])).tolist() == [1]
    with pytest.raises(DataError, match="mask of shape"):
        selectors.top(1, by, np.array([True]))
    with pytest.raises(DataError, match="within names the columns"):
        selectors.top(1, by, np.array([3]))
