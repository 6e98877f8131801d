"""The alias is numpy's array."""

from __future__ import annotations

from typing import get_origin

import numpy as np

from hpc_recon.core.array import Array


def test_array_is_numpy() -> None:
    assert get_origin(Array) is np.ndarray
