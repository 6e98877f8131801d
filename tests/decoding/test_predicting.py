"""Stored decoders predict every test dataset: in blocks, with unused slots, of some units, of absolute features."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_recon import decode, fit
from hpc_recon.decoding import predicting

FIT = {"n_voxels": 12, "alpha": 5.0}


@pytest.mark.parametrize("norm", [None, "std1mean0"])
def test_blocks_do_not_change_a_byte(decodable, run_verb, stored, monkeypatch, norm) -> None:
    study, _ = decodable(fit=FIT if norm is None else {**FIT, "alpha": 0.1, "spatial_norm": norm})
    run_verb(fit, study)
    run_verb(decode, study)
    before = stored(study).decoded("natural", "conv").tobytes()
    monkeypatch.setattr("hpc_recon.numerics.needs.UNITS_AT_ONCE", 7)
    run_verb(decode, study)
    assert stored(study).decoded("natural", "conv").tobytes() == before


def test_unused_slots() -> None:
    full = np.array([[0, 4], [2, 3]], np.uint16)
    assert predicting._n_used(full, np.ones((2, 2), np.float32)) == 2
    filled = np.array([[0, 65535], [2, 65535]], np.uint16)
    assert predicting._n_used(filled, np.array([[1, 0], [1, 0]], np.float32)) == 1
    assert predicting._n_used(filled, np.array([[1, 0], [1, 2]], np.float32)) == 2  # 65,536 voxels: a number


@pytest.mark.parametrize("units", [{"every": 3}, "file"], ids=str)
@pytest.mark.parametrize("while_fitting", [False, True])
def test_some_units(decodable, run_verb, stored, oracle, tmp_path, units, while_fitting) -> None:
    chosen = {"conv": np.arange(0, 100, 3), "fc": np.arange(0, 30, 3)}
    if units == "file":
        chosen = {"conv": np.array([1, 50, 99]), "fc": np.array([0, 7])}
        (tmp_path / "units.json").write_text(json.dumps({layer: own.tolist() for layer, own in chosen.items()}))
        units = {"file": "units.json"}
    study, truth = decodable(units=units, fit={**FIT, "decode": while_fitting})
    run_verb(fit, study)
    run_verb(decode, study)
    name = study.decoded_name("net")
    for layer, own in chosen.items():
        X, Y, codes = truth.training("S1", "VC", layer, own)
        dense = oracle.ridge(X, Y, codes, alpha=5.0, k=12)
        got = stored(study).decoded("natural", layer, name)
        assert got.shape == (6, len(own))
        np.testing.assert_allclose(got, dense.predict(truth.test("S1", "VC", "natural")), rtol=1e-4, atol=1e-4)


def test_absolute_features(decodable, run_verb, stored, oracle) -> None:
    """`transform: abs` is done where features are made; decoders take the stored ones as they are."""
    network = {"architecture": "vgg11_quarter", "layers": ["conv", "fc"], "transform": "abs"}
    study, truth = decodable(networks={"net": network})
    values = np.abs(truth.features["fc"])
    assert (values != truth.features["fc"]).any()
    from hpc_recon.core import receipts
    from hpc_recon.stores import arrays, layout

    files = arrays.write(study.workspace, layout.features("net", "fc"), (0, 0), values)
    files += [study.workspace / p for p in receipts.records(study.workspace, "extract", ["net", "fc"]) if "norms" in p]
    truth.receipt(("extract", "net", "fc"), files)
    truth.features["fc"] = values
    run_verb(fit, study)
    run_verb(decode, study)
    dense = oracle.ridge(*truth.training("S1", "VC", "fc"), alpha=5.0, k=12)
    expected = dense.predict(truth.test("S1", "VC", "natural"))
    np.testing.assert_allclose(stored(study).decoded(), expected, rtol=1e-4, atol=1e-4)
