"""Latents in arrays: matched by label or by the order of a dataset, through the command that reads them."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import extract
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.stores import arrays, layout, shapes

N = 56


def _network(*parts, **more):
    return {"z": {"architecture": "features", "features": {"arrays": {"z": list(parts)}}, "layers": ["z"], **more}}


def _labels(tmp_path, labels):
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n")


@pytest.fixture
def values(tmp_path):
    made = np.random.default_rng(2).normal(size=(N, 4, 2)).astype("f4")
    np.save(tmp_path / "z.npy", made)
    np.save(tmp_path / "first.npy", made[:20])
    np.save(tmp_path / "rest.npy", made[20:][::-1])
    return made


def test_rows_follow_labels_and_keep_their_shape(make_study, study, values, run_verb, tmp_path):
    _labels(tmp_path, [f"s{i:02d}" for i in reversed(range(20, N))])
    (tmp_path / "first.txt").write_text("\n".join(f"s{i:02d}" for i in range(20)))
    parts = [{"file": "first.npy", "labels": "first.txt"}, {"file": "rest.npy", "labels": "labels.txt"}]
    made = make_study(networks=_network(*parts))
    run_verb(extract, made)
    stored = arrays.read(made.workspace, layout.features("z", "z"))
    np.testing.assert_array_equal(stored, values.reshape(N, 8))
    assert shapes.read(made).unit_shape("z", "z") == (4, 2)


def test_rows_follow_the_order_of_a_dataset_and_the_plan_stays_the_same(make_study, study, values, run_verb):
    made = make_study(networks=_network({"file": "z.npy", "dataset": "training", "unit_shape": [4, 2]}))
    tiles = run_verb(extract, made)
    np.testing.assert_array_equal(arrays.read(made.workspace, layout.features("z", "z")), values.reshape(N, 8))
    again = extract.plan(made, shapes.read(made))
    assert [t.group.settings for t in again] == [t.group.settings for t in tiles]


def test_another_content_is_another_network(make_study, study, values, run_verb, tmp_path):
    made = make_study(networks=_network({"file": "z.npy", "dataset": "training"}))
    before = run_verb(extract, made)[0].group.settings
    np.save(tmp_path / "z.npy", values + 1)
    assert extract.plan(made, shapes.read(made))[0].group.settings != before


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ({"file": "first.npy", "dataset": "training"}, "20 rows, but the dataset training has 56 labels"),
        ({"file": "z.npy", "dataset": "training", "unit_shape": [8]}, r"rows of shape \(4, 2\), but the study says"),
        ({"file": "first.npy", "labels": "labels.txt"}, r"36 of 56 stimuli have no row .*s20, s21"),
        ({"file": "first.npy", "labels": "absent.txt"}, "cannot be read"),
        ({"file": "absent.npy", "dataset": "training"}, "does not exist"),
    ],
)
def test_what_does_not_fit_is_named(make_study, study, values, tmp_path, part, what):
    _labels(tmp_path, [f"s{i:02d}" for i in range(20)])
    made = make_study(networks=_network(part))
    with pytest.raises(StudyError, match=what):
        extract.plan(made, shapes.read(made))


def test_arrays_of_one_file_have_one_shape_too(make_study, study, values, tmp_path):
    """Shapes were known by file: rows of 6 numbers were written into columns of 8."""
    np.savez(tmp_path / "both.npz", first=values[:20].reshape(20, 8), rest=values[20:].reshape(36, 8)[:, :6])
    (tmp_path / "first.txt").write_text("\n".join(f"s{i:02d}" for i in range(20)))
    _labels(tmp_path, [f"s{i:02d}" for i in range(20, N)])
    parts = [
        {"file": "both.npz", "key": "first", "labels": "first.txt"},
        {"file": "both.npz", "key": "rest", "labels": "labels.txt"},
    ]
    made = make_study(networks=_network(*parts))
    with pytest.raises(StudyError, match=r"different shapes: \(8,\) in .*both\.npz \(first\), \(6,\) in"):
        extract.plan(made, shapes.read(made))


def test_a_feature_too_large_for_the_stored_type_is_refused(make_study, study, values, run_verb, tmp_path):
    """It was stored as infinite."""
    values[3, 1, 0] = 1e5
    np.save(tmp_path / "z.npy", values)
    made = make_study(networks=_network({"file": "z.npy", "dataset": "training"}, dtype="float16"))
    with pytest.raises(DataError, match=r"finite as float16, but 1 of 384 values of z/z .* set dtype: float32"):
        run_verb(extract, made)


def test_a_label_twice_and_a_stimulus_in_two_arrays_are_named(make_study, study, values, tmp_path):
    _labels(tmp_path, ["s00", *(f"s{i:02d}" for i in range(N - 1))])
    made = make_study(networks=_network({"file": "z.npy", "labels": "labels.txt"}))
    with pytest.raises(StudyError, match="'s00' twice"):
        extract.plan(made, shapes.read(made))
    whole = {"file": "z.npy", "dataset": "training"}
    made = make_study(networks=_network(whole, whole))
    with pytest.raises(StudyError, match="56 of 56 stimuli have a row in more than one array"):
        extract.plan(made, shapes.read(made))
