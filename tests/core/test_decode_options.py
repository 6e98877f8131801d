"""Options of `decode`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hpc_recon.core.decode_options import Decode, DecodedFiles


def test_all_repeats_are_averaged_and_nothing_is_corrected_by_default():
    assert (Decode().average, Decode().norm_correction, Decode().files) == (True, "none", {})


@pytest.mark.parametrize("average", [1, 0, "all", 2.5])
def test_an_average_is_yes_no_or_a_number_of_repeats(average):
    assert [Decode(average=given).average for given in (True, False, 2)] == [True, False, 2]
    with pytest.raises(ValidationError):
        Decode(average=average)


def test_one_folder_or_several():
    assert DecodedFiles(folders="a").folders == (Path("a"),)
    assert DecodedFiles(folders=["a", "b"]).folders == (Path("a"), Path("b"))
    with pytest.raises(ValidationError):
        DecodedFiles(folders=[])


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="extra"):
        Decode(averge=True)
