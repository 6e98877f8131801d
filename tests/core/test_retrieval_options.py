"""Options of method `retrieval`."""

from __future__ import annotations

import pytest

from hpc_recon.core.errors import StudyError

NETWORKS = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}}


def test_it_runs_no_network_and_compares_layers_that_are_decoded(make_study) -> None:
    found = make_study(networks=NETWORKS, reconstruct={"near": {"method": "retrieval", "network": "vgg"}})
    assert not found.reconstruct["near"].runs_network
    assert found.reconstruct["near"].mean_of == 1
    with pytest.raises(StudyError, match=r"reconstruct\.near\.layers: layer 'conv1_2' is not decoded"):
        make_study(
            networks=NETWORKS, reconstruct={"near": {"method": "retrieval", "network": "vgg", "layers": ["conv1_2"]}}
        )
    with pytest.raises(StudyError, match=r"near\.images_per_tile: retrieval makes all images of a dataset in one task"):
        make_study(
            networks=NETWORKS, reconstruct={"near": {"method": "retrieval", "network": "vgg", "images_per_tile": 4}}
        )
