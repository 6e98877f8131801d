"""Similarities that layers leave for the images."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import MissingStore
from hpc_recon.evaluation import parts


def test_the_nearest_stimulus_is_that_of_the_mean_over_layers(make_study):
    layers = ["conv1_1", "conv2_1"]
    study = make_study(networks={"vgg": {"architecture": "vgg11_quarter", "layers": layers}})
    # binary fractions, so that sums in float32 are exact and the third row is a tie
    first = np.array([[0.75, 0.5, 0.0], [np.nan, 0.125, 0.5], [0.25, 0.25, 0.25]])
    second = np.array([[0.125, 0.5, 0.0], [0.0, np.nan, -0.125], [0.25, 0.25, 0.25]])
    for layer, values in zip(layers, (first, second), strict=True):
        where = parts.folder(study, ("features", "S1", "VC", "vgg", layer))
        assert parts.write_similarity(where, "natural", values).name == "similarity-natural.npy"
    # sums with NaN as 0: .875 1 0; 0 .125 .375; a tie, whose first counts
    assert parts.nearest(study, ("S1", "VC", "natural"), "vgg").tolist() == [1, 2, 0]


def test_a_layer_without_similarities_names_the_command(make_study):
    study = make_study()
    with pytest.raises(MissingStore, match=r"similarity-natural\.npy does not exist.*evaluate --redo"):
        parts.nearest(study, ("S1", "VC", "natural"), "pixels")
