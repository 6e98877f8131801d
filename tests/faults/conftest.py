"""An undisturbed run of the fake verb and one of the real ones, with which every disturbed one is compared."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

import harness

STUDY = {
    "name": "small",
    "subjects": ["S1"],
    "rois": ["V1", "VC"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 32, "n_training": 64, "n_natural": 4, "n_voxels": 200, "training_repeats": 1},
    "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv3_1"]}},
    "fit": {"n_voxels": 20},
}
STORES = ("stimuli.zarr", "brain.zarr", "features.zarr", "norms.zarr", "decoders.zarr", "decoded.zarr")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A workspace in which the fake verb has done all its tiles."""
    workspace = tmp_path_factory.mktemp("undisturbed") / "ws"
    harness.run_fake(harness.write_fake(workspace))
    return workspace


@pytest.fixture(scope="session")
def undisturbed(finished):
    """What each tile of the fake verb writes, by file."""
    found = harness.outputs(finished)
    assert len(found) == harness.N_TILES
    return found


@pytest.fixture
def fake_copy(finished, tmp_path):
    """A copy of that workspace to be damaged: its study, its folder."""
    workspace = tmp_path / "ws"
    shutil.copytree(finished, workspace)
    return harness.write_fake(workspace), workspace


def write_real(workspace, **changes):
    """Write a real study beside its workspace."""
    path = workspace.parent / f"{workspace.name}.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "workspace": str(workspace), **changes}))
    return path


@pytest.fixture(scope="session")
def decoded(tmp_path_factory):
    """A workspace in which everything up to `decode` is done, and the digest of each of its files."""
    workspace = tmp_path_factory.mktemp("real") / "whole"
    assert harness.run_verb("pipeline", write_real(workspace), "--through", "decode") == 0
    return workspace, harness.digests(workspace, *STORES)


@pytest.fixture
def copy(decoded, tmp_path):
    """A copy of that workspace to be damaged: its study, its folder."""
    workspace = tmp_path / "copy"
    shutil.copytree(decoded[0], workspace)
    return write_real(workspace), workspace


@pytest.fixture
def whole(decoded):
    """The digest of each file of an undisturbed run."""
    return decoded[1]
