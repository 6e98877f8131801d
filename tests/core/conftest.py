"""One small study text, and what is wrong with changes of it, for the tests of `core` that read studies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study

GOOD = """
name: small
subjects: [S1, S2]
rois: [V1, VC]
datasets: {training: {role: training}, natural: {role: test}}
simulate: {preset: easy}
networks:
  vgg: {architecture: vgg11_quarter, layers: [conv1_1, conv2_1]}
  image: {architecture: pixels, layers: [pixels]}
fit: {alpha: {grid: [1, 10]}, n_voxels: 50}
reconstruct:
  icnn: {method: icnn, network: vgg, layer_weights: {conv1_1: 6}}
  direct: {method: pixels, network: image}
"""


@pytest.fixture
def good() -> str:
    """A valid study."""
    return GOOD


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a study file, the valid one if nothing else is given."""

    def written(text: str = GOOD) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return written


@pytest.fixture
def mistakes(write: Callable[..., Path]) -> Callable[..., list[str]]:
    """Return the mistakes of a study text that has some, with `--set` assignments."""

    def found(text: str, *assignments: str) -> list[str]:
        with pytest.raises(StudyError) as caught:
            load_study(write(text), assignments)
        return list(caught.value.problems)

    return found
