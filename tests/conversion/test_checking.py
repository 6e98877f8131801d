"""What is refused before any converter is fitted."""

from __future__ import annotations

import pytest

from hpc_recon.conversion import checking
from hpc_recon.core.errors import DataError
from hpc_recon.numerics import transport


def test_every_method_asks_what_it_needs(with_options, monkeypatch):
    checking.require(with_options())
    with pytest.raises(DataError, match="asks for 61 paired samples"):
        checking.require(with_options(method="hyperalignment", alpha="published", samples=61))
    checking.require(with_options(method="content_loss", alpha="published", pool=[]))
    asked = []
    monkeypatch.setattr(transport, "require", lambda: asked.append(True))
    checking.require(with_options(method="optimal_transport", alpha="published"))
    assert asked
    with pytest.raises(DataError, match="are in no block"):
        checking.require(with_options(blocks=["V1"]))
