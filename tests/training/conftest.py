"""A study that trains a small network, on data that `decodable` writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hpc_recon.core.config import Study

#: Steps of 4 samples, in parts of 4: two whole ones and a short one.
SMALL: dict[str, Any] = {
    "method": "end_to_end",
    "profile": "tiny",
    "steps": 10,
    "steps_per_tile": 4,
    "checkpoint_every": 1,
    "log_every": 1,
    "batch": 4,
    "image_size": 40,
    "crop": 36,
    "dense": 16,
    "comparator": {"architecture": "vgg11_quarter", "weights": "random:1", "layers": ["conv1_1"]},
}


@pytest.fixture
def trainable(decodable: Callable[..., tuple[Study, Any]]) -> Callable[..., tuple[Study, Any]]:
    """Return a function that makes a study with an entry `e2e` under `train`; keys change that entry."""

    def make(study: dict[str, Any] | None = None, **changes: Any) -> tuple[Study, Any]:
        return decodable(train={"e2e": {**SMALL, **changes}}, **(study or {}))

    return make
