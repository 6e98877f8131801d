"""Declared sizes: what is not declared is named."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.errors import MissingStore
from hpc_recon.core.sizes import DatasetSize, Sizes

SIZES = Sizes.model_validate(
    {"image_size": [500, 400], "voxels": {"VC": 11726}, "datasets": {"training": {"stimuli": 1200, "samples": 6000}}}
)


def test_declared_sizes_are_found() -> None:
    assert SIZES.image_size == (500, 400)
    assert SIZES.n_voxels("VC") == 11726
    assert (SIZES.dataset("training").stimuli, SIZES.dataset("training").samples) == (1200, 6000)


def test_what_is_not_declared_is_named_with_its_key() -> None:
    with pytest.raises(MissingStore, match=r"sizes\.voxels\.V1"):
        SIZES.n_voxels("V1")
    with pytest.raises(MissingStore, match=r"sizes\.datasets\.natural"):
        SIZES.dataset("natural")


@pytest.mark.parametrize("wrong", [{"image_size": [500, 0]}, {"voxels": {"VC": -5}}], ids=str)
def test_sizes_are_counts(wrong) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Sizes.model_validate({**SIZES.model_dump(), **wrong})


def test_items_of_stimuli_and_conditions() -> None:
    imagery = DatasetSize(stimuli=25, samples=520, own_stimuli=False, null_conditions=1, null_samples=20)
    assert [imagery.n_items(average) for average in (True, False, 20, 3)] == [26, 520, 26, 25 * 7 + 7]
    plain = DatasetSize(stimuli=50, samples=1200)
    assert [plain.n_items(average) for average in (True, False, 5)] == [50, 1200, 250]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"null_samples": 3}, "null_samples is the number of samples of all null_conditions"),
        ({"null_conditions": 2, "null_samples": 1}, "null_samples is the number of samples of all null_conditions"),
        ({"null_conditions": 1, "null_samples": 9}, "samples counts those of stimuli"),
    ],
)
def test_null_samples_are_part_of_the_samples(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatasetSize(stimuli=2, samples=10, **sizes)
