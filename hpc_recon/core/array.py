"""The one alias for arrays.

`Array` is a numpy array in type annotations. Functions of `numerics` accept a cupy array in its place
and then return cupy arrays (`numerics.xp` finds the module). Shapes, dtypes and units stand in docstrings.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
