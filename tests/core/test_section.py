"""Parts of a study file."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.section import Section


class Part(Section):
    model_size: int = 1


def test_a_part_is_frozen_and_knows_its_keys():
    part = Part(model_size=2)
    with pytest.raises(ValidationError, match="frozen"):
        part.model_size = 3
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Part(size=2)
