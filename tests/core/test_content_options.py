"""Options of the content-loss converter."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.content_options import Content


@pytest.mark.parametrize("wrong", [{"held_out": 0.6}, {"betas": (0.5, 1.0)}, {"steps": 0}, {"rate": 1}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        Content(**wrong)
