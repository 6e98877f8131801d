"""Declared shapes: the published study without its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core.errors import MissingStore
from hpc_recon.core.network_options import Network
from hpc_recon.core.sizes import Sizes
from hpc_recon.nets import declared
from hpc_recon.nets.declared import DeclaredShapes

BLOCKS = enumerate((2, 2, 4, 4, 4), 1)
LAYERS = (*(f"conv{block}_{i}" for block, n in BLOCKS for i in range(1, n + 1)), "fc6", "fc7", "fc8")
SIZES = Sizes.model_validate(
    {
        "image_size": [500, 500],
        "voxels": {"VC": 11726},
        "datasets": {
            "training": {"stimuli": 1200, "samples": 6000},
            "natural": {"stimuli": 50, "samples": 1200},
            "imagery": {"stimuli": 50, "samples": 500, "own_stimuli": False},
        },
    }
)


def shapes(average: bool | int = True) -> DeclaredShapes:
    network = Network(architecture="vgg19", weights="absent.pt", image_size=224, layers=LAYERS)
    return DeclaredShapes({"vgg": network}, SIZES, average)


def test_the_published_study_has_its_published_sizes():
    found = shapes()
    assert sum(found.n_units("vgg", layer) for layer in LAYERS) == 14_861_288
    assert found.unit_shape("vgg", "conv1_1") == (64, 224, 224)
    assert found.n_stimuli() == 1250
    assert found.n_samples("S1", "training") == 6000
    assert found.n_voxels("S1", "VC") == 11_726
    assert (found.n_items("S1", "natural"), shapes(average=False).n_items("S1", "natural")) == (50, 1200)


def test_what_cannot_be_declared_is_said():
    with pytest.raises(MissingStore, match=r"sizes\.datasets\.letters"):
        shapes().n_items("S1", "letters")
    with pytest.raises(MissingStore, match="folds of a cross-validation"):
        shapes().n_samples("S1.r1f01", "training")


def test_absent_weights_are_replaced_and_named(make_study, tmp_path: Path):
    (tmp_path / "there.pt").write_bytes(b"x")
    networks = {
        name: {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "weights": weights}
        for name, weights in {"a": "absent.pt", "b": "there.pt", "c": "random:3"}.items()
    }
    study = make_study(networks=networks)
    replaced, absent = declared.without_weights(study)
    assert absent == ["a"]
    assert replaced.networks["a"].weights == "random:0"
    assert (replaced.networks["b"], replaced.networks["c"]) == (study.networks["b"], study.networks["c"])
    whole = make_study(networks={"c": networks["c"]})
    assert declared.without_weights(whole) == (whole, [])


def test_a_network_known_by_its_files_has_their_shapes(make_study, tmp_path: Path):
    from hpc_recon.formats import feature_trees

    feature_trees.write_feature(tmp_path / "lab", "conv", "a", np.zeros(24), (2, 3, 4))
    network = {"architecture": "features", "features": {"folders": "lab"}, "layers": ["conv"]}
    found = declared.read(make_study(networks={"net": network}), SIZES)
    assert found.unit_shape("net", "conv") == (2, 3, 4)
    assert found.n_units("net", "conv") == 24


def test_some_trials_at_a_time():
    assert shapes(average=5).n_items("S1", "natural") == 250  # 24 trials of each: four fives and a four
    assert shapes(average=3).n_items("S1", "imagery") == 50 * 4


def test_a_reference_that_is_not_there_is_left_out_of_a_projection(make_study, tmp_path):
    (tmp_path / "photos").mkdir()
    network = {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "image_size": 16}
    references = {"a": {"folder": "photos"}, "b": {"folder": "absent"}, "c": {"file": "absent.mat"}}
    study = make_study(networks={name: {**network, "reference": own} for name, own in references.items()})
    replaced, absent = declared.without_weights(study)
    assert absent == ["b", "c"]
    assert replaced.networks["a"] == study.networks["a"]
    assert [replaced.networks[name].reference for name in ("b", "c")] == [None, None]


def test_generators_whose_files_are_not_there_are_replaced_and_named(make_study, tmp_path):
    (tmp_path / "there.pt").write_bytes(b"x")
    (tmp_path / "there.txt").write_text("1")
    files = {
        "a": ("absent.pt", None),
        "b": ("there.pt", "absent.txt"),
        "c": ("there.pt", "there.txt"),
        "d": ("random:3", None),
    }
    entries = {
        name: {
            "method": "icnn",
            "network": "net",
            "latent": {"generator": "small", "weights": weights, "upper_file": upper, "sha256": "0" * 64},
        }
        for name, (weights, upper) in files.items()
    }
    network = {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "weights": "random:0", "image_size": 32}
    study = make_study(networks={"net": network}, reconstruct={**entries, "e": {"method": "icnn", "network": "net"}})
    replaced, absent = declared.without_generators(study)
    assert absent == ["a", "b"]
    found = {name: options.latent for name, options in replaced.reconstruct.items()}
    assert (found["a"].weights, found["a"].sha256) == ("random:0", None)
    assert (found["b"].weights, found["b"].upper_file) == (tmp_path / "there.pt", None)
    assert {name: found[name] for name in "cde"} == {name: study.reconstruct[name].latent for name in "cde"}
    whole = make_study(networks={"net": network}, reconstruct={"d": entries["d"]})
    assert declared.without_generators(whole) == (whole, [])


def test_generators_and_networks_of_layers_that_are_not_there_are_replaced(latent_study, tmp_path):
    entry = {"method": "latent_layer", "network": "z", "generator": {"kind": "pggan", "weights": "absent.pt"}}
    features = {"architecture": "vgg11_quarter", "weights": "absent.pt", "layers": ["conv1_1"]}
    study = latent_study(
        train={"a": {**entry, "features": features}, "b": {**entry, "generator": {"kind": "pggan", "weights": "g.pt"}}}
    )
    found, absent = declared.without_generators(study)
    assert absent == ["train.a"]
    assert (found.train["a"].generator.weights, found.train["b"]) == ("random:0", study.train["b"])
    found, absent = declared.without_weights(study)
    assert absent == ["train.a"]
    assert found.train["a"].features.weights == "random:0"
