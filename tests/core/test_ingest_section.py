from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.ingest_section import ArrayKey, as_list, as_texts


def test_single_values_become_lists():
    assert as_list("a") == ["a"]
    assert as_list(["a"]) == ["a"]
    assert as_texts(1.5) == ["1.5"]
    assert as_texts(("a", 1)) == ["a", "1"]
    assert as_texts([True]) == [True]  # which is then no text
    assert as_texts({"a": 1}) == {"a": 1}


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="extra_forbidden"):
        ArrayKey.model_validate({"file": "a.npz", "kye": "x"})
