"""An undisturbed run of the fake verb and one of the real ones, with which every disturbed one is compared."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A workspace in which the fake verb has done all its tiles."""
    workspace = tmp_path_factory.mktemp("undisturbed") / "ws"
    harness.complete(harness.write_fake(workspace))
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


@pytest.fixture(scope="session")
def decoded(tmp_path_factory):
    """A workspace in which everything up to `decode` is done, and the digest of each of its files."""
    workspace = tmp_path_factory.mktemp("real") / "whole"
    assert harness.run_verb("pipeline", harness.write_real(workspace), "--through", "decode") == 0
    return workspace, harness.digests(workspace, *harness.STORES)


@pytest.fixture
def copy(decoded, tmp_path):
    """A copy of that workspace to be damaged: its study, its folder."""
    workspace = tmp_path / "copy"
    shutil.copytree(decoded[0], workspace)
    return harness.write_real(workspace), workspace


@pytest.fixture
def whole(decoded):
    """The digest of each file of an undisturbed run."""
    return decoded[1]
