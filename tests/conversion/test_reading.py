"""Training samples as converters read them."""

from __future__ import annotations

import numpy as np

from hpc_recon.conversion import reading
from hpc_recon.stores import brain


def test_rows_and_voxels_are_those_asked_for(simulated):
    known = brain.read_brain(simulated.workspace, "S1", "training")
    found = reading.samples(simulated, "S1", np.array([5, 2]), np.array([1, 7]))
    np.testing.assert_array_equal(found, known.samples[[5, 2]][:, [1, 7]])
    np.testing.assert_array_equal(reading.samples(simulated, "S1", None, None), known.samples)
    assert reading.presented(simulated, "S1").labels == known.labels
