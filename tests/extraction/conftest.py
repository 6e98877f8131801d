"""A study with 56 random stimuli of 16 pixels, and nothing extracted yet."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.stores import images

N = 56
VGG = {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1", "conv3_1"]}


@pytest.fixture
def study(make_study) -> Study:
    """56 random stimuli of 16 pixels, with the receipts that `simulate` would have written."""
    made = make_study(networks={"vgg": VGG})
    pixels = np.random.default_rng(0).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
    labels = tuple(f"s{i:02d}" for i in range(N))
    stimuli = images.Stimuli(pixels, labels, ("training",) * N, ("",) * N, labels)
    group = Group("simulate", ("stimuli",))
    files = images.write_stimuli(made.workspace, stimuli, made_by=group.key)
    receipts.write(made.workspace, Tile(group, "stimuli", 0, 1), files, {})
    write_json(receipts.group_folder(made.workspace, group) / receipts.GROUP_FILE, {"digest": "x"})
    return made
