"""The verb decode: predictions against Decoder.predict, norm correction from training features, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import decode, fit
from hpc_recon.core.errors import DataError, MissingStore, StudyError
from hpc_recon.core.sampling import unit_sample
from hpc_recon.numerics import corrections
from hpc_recon.numerics.decoder import fit_decoder
from hpc_recon.stores import shapes

SHAPES = {"conv": (4, 5, 5), "fc": (30,)}
METHODS = ["l2_norm", "channel_std", "mean_center", "train_mean_center"]


def decoded(study, dataset, layer, part="features", *, split="S1", roi="VC", name="net"):
    from hpc_recon.stores import arrays, layout

    return arrays.read(study.workspace, layout.decoded(split, roi, dataset, name, layer, part))


def reference(truth, layer, method):
    """Mean spread of the true features of the training stimuli, written with loops."""
    spreads = []
    for features in truth.features[layer][truth.dataset == "training"].astype(np.float64):
        ddof = {"channel_std": 0, "mean_center": 1, "train_mean_center": 1}.get(method)
        channels = features.reshape(SHAPES[layer]) if layer == "conv" else [features]
        spreads.append(np.linalg.norm(features) if ddof is None else np.mean([c.std(ddof=ddof) for c in channels]))
    return np.mean(spreads)


@pytest.mark.parametrize("roi", ["VC", "V1"])
def test_predictions_are_those_of_the_decoder(decodable, run_verb, roi) -> None:
    study, truth = decodable(rois=[roi])
    run_verb(fit, study)
    tiles = run_verb(decode, study)
    assert [tile.stage for tile in tiles] == ["decode"] * 2 + ["correct"] * 2
    for layer in SHAPES:
        X, Y, codes = truth.training("S1", roi, layer)
        d = fit_decoder(X, Y, 12, 5.0, stimulus=codes)
        for dataset in ("natural", "shapes"):
            expected = d.predict(truth.test("S1", roi, dataset).astype(np.float32))
            got = decoded(study, dataset, layer, roi=roi)
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(decoded(study, dataset, layer, "gain", roi=roi), 1)
            np.testing.assert_array_equal(decoded(study, dataset, layer, "offset", roi=roi), 0)


def test_decoding_finds_the_signal(decodable, run_verb) -> None:
    study, truth = decodable(fit={"n_voxels": 30, "alpha": 10.0})
    run_verb(fit, study)
    run_verb(decode, study)
    true = truth.features["conv"][truth.dataset == "natural"]
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(decoded(study, "natural", "conv").T, true.T, strict=True) if b.std()]
    assert np.mean(r) > 0.8


def test_single_trials(decodable, run_verb) -> None:
    study, truth = decodable(decode={"average": False})
    run_verb(fit, study)
    run_verb(decode, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    samples, rows = truth.brain["S1", "natural"]
    expected = fit_decoder(X, Y, 12, 5.0, stimulus=codes).predict(samples[np.argsort(rows, kind="stable")])
    np.testing.assert_allclose(decoded(study, "natural", "fc"), expected, rtol=1e-5, atol=1e-5)


def test_unused_voxel_slots_do_not_predict(decodable, run_verb) -> None:
    study, truth = decodable(fit={"n_voxels": 500, "alpha": 5.0}, data={"constant_voxels": 3})
    run_verb(fit, study)
    run_verb(decode, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    expected = fit_decoder(X, Y, 500, 5.0, stimulus=codes).predict(truth.test("S1", "VC", "natural"))
    np.testing.assert_allclose(decoded(study, "natural", "fc"), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("method", "while_fitting"), [*((method, False) for method in METHODS), (METHODS[-1], True)])
def test_the_corrected_spread_is_that_of_the_training_features(decodable, run_verb, method, while_fitting) -> None:
    study, truth = decodable(
        fit={"n_voxels": 12, "alpha": 5.0, "decode": while_fitting},
        decode={"norm_correction": method},
    )
    run_verb(fit, study)
    run_verb(decode, study)
    for layer, shape in SHAPES.items():
        mean = truth.features[layer][truth.dataset == "training"].astype(np.float64).mean(0)
        centre = mean if method == "train_mean_center" else np.zeros_like(mean)
        gain, offset = (decoded(study, "natural", layer, part).astype(np.float64) for part in ("gain", "offset"))
        raw = decoded(study, "natural", layer).astype(np.float64)
        corrected = corrections.apply(raw, gain=gain, offset=offset, unit_mean=centre)
        spread = corrections.reference_statistics(corrected - centre, shape)[:, corrections.COLUMN[method]]
        np.testing.assert_allclose(spread, reference(truth, layer, method), rtol=1e-5)
        if method not in ("l2_norm", "channel_std"):
            np.testing.assert_allclose(corrected.mean(1), raw.mean(1), rtol=1e-4)


def test_a_sample_of_units_with_l2_norm(decodable, run_verb) -> None:
    study, truth = decodable(units=50, decode={"norm_correction": "l2_norm"})
    run_verb(fit, study)
    run_verb(decode, study)
    X, Y, codes = truth.training("S1", "VC", "conv", unit_sample(study, "net", "conv", 100))
    raw = fit_decoder(X, Y, 12, 5.0, stimulus=codes).predict(truth.test("S1", "VC", "natural"))
    expected = reference(truth, "conv", "l2_norm") * np.sqrt(50 / 100) / np.linalg.norm(raw, axis=1)
    np.testing.assert_allclose(decoded(study, "natural", "conv", "gain", name="net@50"), expected, rtol=1e-5)
    whole = decoded(study, "natural", "fc", name="net@50")  # the layer has 30 units: all of them
    gain = decoded(study, "natural", "fc", "gain", name="net@50")
    np.testing.assert_allclose(gain * np.linalg.norm(whole, axis=1), reference(truth, "fc", "l2_norm"), rtol=1e-5)


def test_a_sample_of_units_has_no_channels(decodable) -> None:
    from hpc_recon.stores import shapes

    study, _ = decodable(units=50, decode={"norm_correction": "mean_center"})
    with pytest.raises(StudyError, match=r"needs the spread of each channel and so whole layers.*net/conv"):
        decode.plan(study, shapes.read(study))


def test_images_without_spread_are_refused(decodable, run_verb) -> None:
    study, _ = decodable(decode={"norm_correction": "channel_std"})
    run_verb(fit, study)
    tiles = run_verb(decode, study)
    from hpc_recon.stores import arrays, layout

    ref = layout.decoded("S1", "VC", "natural", "net", "fc")
    flat = np.ones_like(decoded(study, "natural", "fc"))
    arrays.write(study.workspace, ref, (0, 0), flat)
    with pytest.raises(DataError, match="1 of 1 have none"):
        decode.work(study, tiles[-1])


def test_without_decoders_the_command_is_named(decodable, run_verb) -> None:
    from hpc_recon.stores import shapes

    study, _ = decodable()
    tiles = decode.plan(study, shapes.read(study))
    decode.prepare(study)
    with pytest.raises(MissingStore, match=r"python -m hpc_recon\.fit"):
        decode.work(study, tiles[0])
    assert f"fit/{'/'.join(tiles[0].group.path)}" in tiles[0].group.upstream


def test_preparing_twice_changes_nothing(decodable, run_verb) -> None:
    study, _ = decodable()
    run_verb(fit, study)
    run_verb(decode, study)
    before = decoded(study, "natural", "conv")
    fit.prepare(study)
    decode.prepare(study)
    np.testing.assert_array_equal(decoded(study, "natural", "conv"), before)


def _with_reference(truth, layer, statistics):
    """Write statistics of reference images of a layer, (n, 3), as extract does."""
    from hpc_recon.stores import arrays, layout

    ref, geometry = layout.reference("net", layer), layout.row_geometry(*statistics.shape)
    arrays.create(truth.workspace, ref, shape=statistics.shape, dtype="float32", geometry=geometry, made_by=REFERENCE)
    return arrays.write(truth.workspace, ref, (0, 0), statistics.astype("f4"))


REFERENCE = "extract/net/_reference"
NETWORK = {"architecture": "vgg11_quarter", "image_size": 16, "layers": ["conv", "fc"]}


@pytest.mark.parametrize("method", METHODS)
def test_the_corrected_spread_is_that_of_the_reference_images(decodable, run_verb, method, tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    network = {**NETWORK, "reference": {"folder": "photos"}}
    study, truth = decodable(networks={"net": network}, decode={"norm_correction": method})
    statistics = np.random.default_rng(2).uniform(5, 9, (7, 3))
    truth.receipt(("extract", "net", "_reference"), [f for x in SHAPES for f in _with_reference(truth, x, statistics)])
    run_verb(fit, study)
    tiles = run_verb(decode, study)
    assert all(REFERENCE in tile.group.upstream for tile in tiles)
    expected = statistics[:, {"l2_norm": 0, "channel_std": 1}.get(method, 2)].mean()
    for layer, shape in SHAPES.items():
        mean = truth.features[layer][truth.dataset == "training"].astype(np.float64).mean(0)
        centre = mean if method == "train_mean_center" else np.zeros_like(mean)
        gain, offset = (decoded(study, "natural", layer, part).astype(np.float64) for part in ("gain", "offset"))
        corrected = gain[:, None] * (decoded(study, "natural", layer) - centre) + offset[:, None]
        maps = corrected.reshape(6, shape[0] if layer == "conv" else 1, -1)
        spread = {
            "l2_norm": np.linalg.norm(corrected, axis=1),
            "channel_std": maps.std(axis=2).mean(axis=1),
        }.get(method, maps.std(axis=2, ddof=1).mean(axis=1))
        np.testing.assert_allclose(spread, expected, rtol=1e-4)


@pytest.mark.parametrize(("name", "method", "ddof"), [("std.mat", "channel_std", 0), ("s_dof1.mat", "mean_center", 1)])
def test_the_labs_file_is_used(decodable, run_verb, tmp_path, name, method, ddof) -> None:
    from hpc_recon.stores import layout, tables

    (tmp_path / name).touch()
    network = {**NETWORK, "reference": {"file": name}}
    study, truth = decodable(networks={"net": network}, decode={"norm_correction": method})
    columns = {"layer": ["fc", "conv"], "statistic": [method] * 2, "value": [3.5, 11.0]}
    truth.receipt(
        ("extract", "net", "_reference"),
        [tables.write_table(truth.workspace, layout.reference_table("net"), columns, made_by=REFERENCE)],
    )
    run_verb(fit, study)
    run_verb(decode, study)
    for layer, value in (("conv", 11.0), ("fc", 3.5)):
        maps = decoded(study, "shapes", layer).reshape(3, SHAPES[layer][0] if layer == "conv" else 1, -1)
        gain = decoded(study, "shapes", layer, "gain")
        np.testing.assert_allclose(gain * maps.std(axis=2, ddof=ddof).mean(axis=1), value, rtol=1e-4)


def test_training_stimuli_stand_for_reference_images_only_with_a_word(decodable, run_verb, caplog) -> None:
    study, _ = decodable(decode={"norm_correction": "l2_norm"})
    run_verb(fit, study)
    run_verb(decode, study)
    assert "net: l2_norm restores the spread of the training stimuli (no reference images were given)" in caplog.text
    group = decode.plan(study, shapes.read(study))[-1].group
    assert '"reference":"training"' in group.settings


def test_some_trials_at_a_time(decodable, run_verb) -> None:
    study, truth = decodable(decode={"average": 2}, data={"repeats": 3})
    run_verb(fit, study)
    run_verb(decode, study)
    X, Y, codes = truth.training("S1", "VC", "fc")
    expected = fit_decoder(X, Y, 12, 5.0, stimulus=codes).predict(truth.test("S1", "VC", "natural").astype(np.float32))
    np.testing.assert_allclose(decoded(study, "natural", "fc"), expected, rtol=1e-5, atol=1e-5)  # two trials of each
