"""Items by name are those that `read_items` returns with samples."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.stores import brain, items


@pytest.mark.parametrize("average", [True, False])
def test_the_items_of_read_items_without_samples(decodable, average: bool) -> None:
    study, data = decodable(decode={"average": average})
    for dataset in ("natural", "shapes"):
        found, whole = items.read_shown(study, "S1", dataset), brain.read_items(study, "S1", dataset)
        assert found.labels == whole.labels
        np.testing.assert_array_equal(found.rows, whole.rows)
        samples, rows = data.brain["S1", dataset]
        np.testing.assert_array_equal(rows[found.samples], found.rows)
        if not average:
            np.testing.assert_array_equal(samples[found.samples], whole.samples)
