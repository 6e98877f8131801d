from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.formats.stimulus_ids import image_names, stimulus_labels


@given(st.lists(st.tuples(st.integers(2**20, 15_299_225), st.integers(1, 124_999)), min_size=1, max_size=20))
def test_ids_are_the_names_they_were_made_of(pairs) -> None:
    expected = tuple(f"n{synset:08d}_{image}" for synset, image in pairs)
    assert stimulus_labels(np.array([float(f"{synset}.{image:06d}") for synset, image in pairs])) == expected
    assert stimulus_labels(np.array([synset + image / 1e6 for synset, image in pairs])) == expected


def test_ids_that_were_float32_are_refused() -> None:
    ids = np.array([1518878.010042, 1621127.01902])
    for lost in (ids.astype(np.float32), (ids + 0.3).astype(np.float32).astype(np.float64)):
        with pytest.raises(DataError, match="float32"):
            stimulus_labels(lost)


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.5, np.inf])
def test_ids_that_are_no_ids_are_refused(value) -> None:
    with pytest.raises(DataError, match=r"above 0.*row 1"):
        stimulus_labels(np.array([1518878.010042, value]))


def test_ids_with_more_decimals_are_refused() -> None:
    with pytest.raises(DataError, match="more than six decimals in row 0"):
        stimulus_labels(np.array([1518878.0100425]))


def test_image_index_counts_from_one_in_lexicographic_order() -> None:
    names = [f"n{i}" for i in range(1, 13)]
    assert image_names(np.arange(1, 13), names) == tuple(sorted(names))
    assert image_names(np.array([2]), names) == ("n10",)


@pytest.mark.parametrize("index", [0.0, 3.0, 1.5, np.nan])
def test_an_image_index_outside_is_refused(index) -> None:
    with pytest.raises(DataError, match="must be 1 to 2"):
        image_names(np.array([1.0, index]), ["a", "b"])


def test_a_stimulus_name_twice_is_refused() -> None:
    with pytest.raises(DataError, match="'a' occurs twice"):
        image_names(np.array([1]), ["a", "b", "a"])
