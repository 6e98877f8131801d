from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.methods.targets import Targets, check

START = np.zeros((4, 4, 3), np.float32)


def features(n_units: int = 5) -> dict[str, np.ndarray]:
    return {"a": np.ones((2, n_units), np.float32)}


def test_good_targets_pass():
    check(Targets(("x", "y"), features(), START), ["a"])
    check(Targets(("x", "y"), features(), START, unit_index={"a": np.arange(5)}), ["a"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Targets(("x", "x"), features(), START), "image names repeat: x, x"),
        (Targets(("x", "y"), features(), START[0]), "the start must be"),
        (Targets(("x", "y", "z"), features(), START), r"must be \(3, n_units\), but are \(2, 5\)"),
        (Targets(("x", "y"), features(), START, unit_index={"a": np.arange(4)}), "5 features, but unit numbers"),
        (Targets(("x", "y"), {}, START), "no features"),
        (Targets(("x", "y"), {"a": np.full((2, 5), np.inf)}, START), "10 features are not finite"),
        (Targets(("x", "y"), {"a": np.zeros((2, 5))}, START), "all features of x are zero"),
    ],
)
def test_each_mistake_is_named(given: Targets, message: str):
    with pytest.raises(DataError, match=message):
        check(given, ["a"])
