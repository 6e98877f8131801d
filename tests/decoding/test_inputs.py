"""What decoders are fitted to: samples, stimuli, features and units as the stores hold them, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_recon import fit
from hpc_recon.core.errors import DataError
from hpc_recon.core.sampling import unit_sample
from hpc_recon.decoding import inputs, planning
from hpc_recon.stores import layout, shapes, tables

FIXED = {"n_voxels": 12, "alpha": 5.0}


def layer_group(study, layer="conv"):
    groups = [group for group, _, _ in planning.layer_groups(study, shapes.read(study))]
    return next(group for group in groups if group.path[-1] == layer)


def everything(study):
    return sorted(path for path in study.workspace.rglob("*") if path.is_file())


@pytest.mark.parametrize("roi", ["VC", "V1"])
@pytest.mark.parametrize("samples", [{}, {"session": [2]}, {"session": [3, 1]}], ids=str)
def test_training_samples(decodable, roi, samples) -> None:
    study, truth = decodable(rois=[roi], fit={**FIXED, "samples": samples})
    X, rows = truth.brain["S1", "training"]
    kept = np.isin(truth.session["S1"], samples.get("session", [1, 2, 3]))
    found = inputs.training(study, "S1", roi)
    np.testing.assert_array_equal(found.samples, X[kept][:, truth.voxels(roi)])
    assert found.samples.dtype == np.float32
    np.testing.assert_array_equal(found.rows[found.codes], rows[kept])
    assert found.rows.tolist() == sorted(set(rows[kept].tolist()))
    assert found.columns.keys() == {"session"}
    np.testing.assert_array_equal(found.columns["session"], truth.session["S1"][kept])
    np.testing.assert_array_equal(inputs.admitted(study, "S1"), kept)
    assert inputs.training_stimuli(study, "S1") == len(found.rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": {"run": [1]}}, r"training samples of S1 have no column run, which .* there are: session"),
        ({"statistics_by": "day"}, r"training samples of S1 have no column day, which .* there are: session"),
        ({"samples": {"run": [1]}, "statistics_by": "day"}, "have no column day, run,"),
        (
            {"samples": {"session": [4, 5]}},
            r"fit.samples admits none of the 72 training samples of S1: asked for are session 4, 5, and there are "
            "session 1, 2, 3",
        ),
        (
            {"alpha": {"grid": [1.0, 2.0]}, "folds": 13},
            "got 24 training stimuli for 13 folds; set fit.folds to at most 12",
        ),
        (
            {"alpha": {"grid": [1.0, 2.0]}, "folds": 10, "samples": {"session": [1]}},
            r"got \d+ training stimuli for 10 folds",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_anything_is_written(decodable, options, message) -> None:
    study, _ = decodable(fit={**FIXED, **options})
    before = everything(study)
    assert fit.plan(study, shapes.read(study))
    with pytest.raises(DataError, match=message):
        fit.prepare(study)
    assert everything(study) == before


def test_columns_of_training_samples_are_asked_for_by_tiles_too(decodable) -> None:
    study, _ = decodable(fit={**FIXED, "statistics_by": "day"})
    with pytest.raises(DataError, match="have no column day"):
        inputs.training(study, "S1", "VC")


def test_folds_are_the_same_for_all_rois_and_differ_between_subjects(decodable, oracle) -> None:
    study, _ = decodable(subjects=["S1", "S2"], fit={**FIXED, "folds": 4})
    dealt = inputs.folds_of_stimuli(study, "S1", 24)
    np.testing.assert_array_equal(dealt, oracle.dealt(study, 24))
    assert np.bincount(dealt).tolist() == [6] * 4
    assert (dealt != inputs.folds_of_stimuli(study, "S2", 24)).any()


@pytest.mark.parametrize("part", ["", "fold-2"])
def test_stored_statistics(decodable, run_verb, stored, part) -> None:
    study, _ = decodable(fit={**FIXED, "alpha": {"grid": [1.0, 2.0]}, "folds": 3})
    run_verb(fit, study)
    known, rows = inputs.brain_statistics(study, "S1", "VC", part=part)
    for name in ("mean", "scale", "gram", "sums", "counts"):
        np.testing.assert_array_equal(getattr(known, name), stored(study).statistics(name, part))
    assert isinstance(known.gram, np.memmap)
    assert known.n_samples == (72 if not part else 48)
    np.testing.assert_array_equal(rows, stored(study).statistics("rows", part))
    assert len(rows) == len(known.counts)


def test_without_repeats_there_is_no_gram_matrix(decodable, run_verb) -> None:
    study, _ = decodable(data={"repeats": 1})
    run_verb(fit, study)
    known, _ = inputs.brain_statistics(study, "S1", "VC")
    assert known.gram is None
    assert known.n_samples == 24


def test_stored_folds(decodable, run_verb, oracle) -> None:
    study, truth = decodable(fit={**FIXED, "alpha": {"grid": [1.0, 2.0]}, "folds": 3})
    run_verb(fit, study)
    X, _, codes = truth.training("S1", "VC", "fc")
    dealt = oracle.dealt(study, 24)
    found = list(inputs.folds(study, "S1", "VC"))
    assert len(found) == 3
    for i, fold in enumerate(found):
        assert fold.train_rows.tolist() == np.flatnonzero(dealt != i).tolist()
        assert fold.test_rows.tolist() == np.flatnonzero(dealt == i).tolist()
        mean, scale = oracle.moments(X[dealt[codes] != i].astype(np.float64))
        test = np.stack([X[codes == s].astype(np.float64).mean(0) for s in np.flatnonzero(dealt == i)])
        np.testing.assert_allclose(fold.test_patterns, (test - mean) / scale, atol=1e-4)


@pytest.mark.parametrize(
    ("units", "expected"),
    [(None, None), ({"every": 3}, np.arange(0, 100, 3)), ("file", [2, 50, 99]), (100, None), (10, "drawn")],
    ids=str,
)
def test_units_and_their_features(decodable, tmp_path, units, expected) -> None:
    if units == "file":
        (tmp_path / "units.json").write_text(json.dumps({"conv": [2, 50, 99], "fc": [1]}))
        units = {"file": "units.json"}
    study, truth = decodable(units=units)
    own = inputs.units_of(study, layer_group(study))
    if isinstance(expected, str):
        expected = unit_sample(study, "net", "conv", 100)
        assert len(expected) == 10
    if expected is None:
        assert own is None
    else:
        np.testing.assert_array_equal(own, expected)
    columns = np.arange(100) if own is None else own
    together, apart = np.arange(6, 30), np.array([6, 8, 9, 29])  # a range of the table, and not
    for rows in (together, apart):
        got = inputs.features(study, layer_group(study), rows, own, 1, 3)
        np.testing.assert_array_equal(got, truth.features["conv"][rows][:, columns[1:3]])


@pytest.mark.parametrize("average", [True, False])
def test_test_patterns_are_z_scored_with_the_training_statistics(decodable, run_verb, oracle, average) -> None:
    study, truth = decodable(rois=["V1"], decode={"average": average})
    run_verb(fit, study)
    X, _, _ = truth.training("S1", "V1", "fc")
    mean, scale = oracle.moments(X.astype(np.float64))
    found = inputs.test_patterns(study, "S1", "V1")
    assert list(found) == ["natural", "shapes"]
    for dataset, Z in found.items():
        raw = truth.test("S1", "V1", dataset)
        if not average:
            samples, rows = truth.brain["S1", dataset]
            raw = samples[np.argsort(rows, kind="stable")][:, truth.voxels("V1")]
        assert Z.dtype == np.float32
        np.testing.assert_allclose(Z, (raw - mean) / scale, atol=1e-4)


def test_names_of_groups(decodable) -> None:
    study, _ = decodable(fit={**FIXED, "out_of_fold": True})
    group = layer_group(study)
    assert inputs.names(group) == ("S1", "VC", "net", "conv")
    assert inputs.names(planning.out_of_fold_group(study, group)) == ("S1", "VC", "net", "conv")


def test_a_column_with_gaps_selects_samples_but_divides_none(decodable, monkeypatch) -> None:
    study, _ = decodable(fit={"samples": {"session": [2, 3]}})
    whole = tables.read_checked(study.workspace, layout.samples_columns("S1", "training"))
    gap = whole["session"].index(2.0)
    whole["session"][gap] = None  # as a missing number is read
    monkeypatch.setattr(tables, "read_checked", lambda *_: {name: list(own) for name, own in whole.items()})
    kept = inputs.admitted(study, "S1")
    assert kept.tolist() == [session in (2, 3) for session in whole["session"]]
    study, _ = decodable(workspace=f"{study.workspace}-2", fit={"statistics_by": "session"})
    with pytest.raises(DataError, match=r"1 of 72 training samples of S1 have no number in the column session"):
        inputs.admitted(study, "S1")
