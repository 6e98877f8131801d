from __future__ import annotations

import shutil

import numpy as np
import pytest

from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.stores import brain, images, shapes
from hpc_recon.stores.brain import Brain

KEY = "simulate/S1"
LABELS = ("b", "a", "b", "c", "a", "b")  # stimuli rows: a 0, b 1, c 2


def _samples(n=6, n_voxels=7):
    return np.random.default_rng(n).standard_normal((n, n_voxels)).astype(np.float32)


@pytest.fixture
def study(make_study, finish):
    """A study whose workspace holds stimuli a, b, c and the dataset `natural` of S1; ROI V1 = voxels 1, 4, 5."""
    study = make_study()
    stimuli = images.Stimuli(
        np.zeros((3, 4, 5, 3), np.uint8), ("a", "b", "c"), ("natural",) * 3, ("",) * 3, ("", "", "")
    )
    finish(
        study.workspace, "simulate/stimuli", images.write_stimuli(study.workspace, stimuli, made_by="simulate/stimuli")
    )
    files = brain.write_brain(
        study.workspace, "S1", "natural", Brain(_samples(), LABELS, {"run": [1.0] * 6}), made_by=KEY
    )
    mask = np.isin(np.arange(7), [1, 4, 5])
    files += brain.write_roi(study.workspace, "S1", "V1", mask, made_by=KEY)
    finish(study.workspace, KEY, files)
    return study


def test_samples_of_a_region_come_back_in_voxel_order(study):
    found = brain.read_brain(study.workspace, "S1", "natural", "V1")
    np.testing.assert_array_equal(found.samples, _samples()[:, [1, 4, 5]])
    assert found.labels == LABELS == brain.read_labels(study.workspace, "S1", "natural")
    assert found.columns == {"run": [1.0] * 6}


def test_vc_is_all_voxels_where_no_mask_is_stored(study):
    np.testing.assert_array_equal(brain.read_brain(study.workspace, "S1", "natural").samples, _samples())
    assert brain.read_roi(study.workspace, "S1", "VC").tolist() == [True] * 7
    assert shapes.read(study).n_voxels("S1", "VC") == 7


def test_lost_mask_of_vc_is_damage_and_not_all_voxels(study, finish):
    files = brain.write_roi(study.workspace, "S1", "VC", np.arange(7) < 2, made_by=KEY)
    finish(study.workspace, KEY, files, start=1)
    assert shapes.read(study).n_voxels("S1", "VC") == 2
    shutil.rmtree(study.workspace / "brain.zarr" / "S1" / "roi" / "VC")
    with pytest.raises(DamagedStore, match=r"roi/VC was written but is gone .* --redo --only 'simulate/S1/'"):
        brain.read_brain(study.workspace, "S1", "natural")
    with pytest.raises(DamagedStore, match="roi/VC was written but is gone"):
        shapes.read(study).n_voxels("S1", "VC")


def test_lost_mask_of_a_control_is_damage_too(study, finish):
    made_by = "control/S1"
    finish(study.workspace, made_by, brain.write_roi(study.workspace, "S1", "VC", np.arange(7) < 2, made_by=made_by))
    shutil.rmtree(study.workspace / "brain.zarr" / "S1" / "roi" / "VC")
    with pytest.raises(DamagedStore, match=r"roi/VC was written but is gone .* --redo --only 'control/S1/'"):
        brain.read_roi(study.workspace, "S1", "VC")


def test_unknown_region_or_split_is_missing_and_names_the_command(study):
    with pytest.raises(MissingStore, match=r"brain\.zarr/S1/roi/V2 does not exist .*hpc_recon\.ingest"):
        brain.read_brain(study.workspace, "S1", "natural", "V2")
    with pytest.raises(MissingStore, match=r"brain\.zarr/S2/training/samples does not exist"):
        brain.read_roi(study.workspace, "S2", "VC")


def test_items_average_repeats_in_stimulus_order(study):
    items = brain.read_items(study, "S1", "natural", "V1")
    samples = _samples()[:, [1, 4, 5]].astype(float)
    oracle = [(samples[1] + samples[4]) / 2, (samples[0] + samples[2] + samples[5]) / 3, samples[3]]
    assert items.names == items.labels == ("a", "b", "c")
    assert items.rows.tolist() == [0, 1, 2]
    assert items.n_averaged.tolist() == [2, 3, 1]
    assert items.samples.dtype == np.float32
    np.testing.assert_allclose(items.samples, oracle, rtol=1e-6)  # float32 rounding of a float64 mean
    assert shapes.read(study).n_items("S1", "natural") == 3


def test_items_without_averaging_are_numbered_repeats(study):
    study = study.model_copy(update={"decode": study.decode.model_copy(update={"average": False})})
    items = brain.read_items(study, "S1", "natural")
    assert items.names == ("a@01", "a@02", "b@01", "b@02", "b@03", "c@01")
    assert items.rows.tolist() == [0, 0, 1, 1, 1, 2]
    np.testing.assert_array_equal(items.samples, _samples()[[1, 4, 0, 2, 5, 3]])
    assert shapes.read(study).n_items("S1", "natural") == 6


def test_items_weigh_means_by_their_number_of_presentations(study, finish):
    values = np.array([[1.0], [4.0]], np.float32)
    part = Brain(values, ("c", "c"), {"n_averaged": [1.0, 2.0]})
    files = brain.write_brain(study.workspace, "S1.r1f01", "natural", part, made_by="simulate/S1.r1f01")
    finish(study.workspace, "simulate/S1.r1f01", files)
    items = brain.read_items(study, "S1.r1f01", "natural")
    assert items.samples.tolist() == [[3.0]]
    assert items.n_averaged.tolist() == [3]
    assert items.rows.tolist() == [2]


def test_unknown_labels_are_counted_with_examples(study):
    assert brain.stimulus_rows(study.workspace, ["c", "a", "c"]).tolist() == [2, 0, 2]
    with pytest.raises(DataError, match=r"2 labels of brain samples are not in the .*'x', 'y'; .* has 3: 'a'"):
        brain.stimulus_rows(study.workspace, ["x", "a", "y", "x"])


def test_nan_in_samples_is_refused_and_nothing_written(tmp_path):
    samples = _samples()
    samples[2, 3] = np.nan
    with pytest.raises(DataError, match=r"1 of 42 values in \[rows 0:6, columns 0:7\] are NaN .*first at \[2, 3\]"):
        brain.write_brain(tmp_path, "S1", "natural", Brain(samples, LABELS), made_by=KEY)
    assert not list(tmp_path.rglob("c/*/*"))


@pytest.mark.parametrize(
    "part",
    [
        Brain(_samples(5), LABELS),
        Brain(_samples(), LABELS, {"run": [1.0]}),
        Brain(_samples().ravel(), LABELS * 7),
        Brain(_samples(), LABELS, {"label": [1.0] * 6}),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path, part):
    with pytest.raises(DataError, match=r"brain\.zarr/S1/natural/samples: "):
        brain.write_brain(tmp_path, "S1", "natural", part, made_by=KEY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mask", [np.zeros(7, bool), np.ones(7), np.ones((7, 1), bool)])
def test_masks_without_voxels_or_of_other_types_are_refused(tmp_path, mask):
    with pytest.raises(DataError, match=r"a mask is \(n_voxels,\) bool with at least one voxel"):
        brain.write_roi(tmp_path, "S1", "V1", mask, made_by=KEY)


def test_mask_of_other_length_than_the_samples_is_damage(study, finish):
    files = brain.write_roi(study.workspace, "S1", "V9", np.ones(6, bool), made_by=KEY)
    finish(study.workspace, KEY, files, start=2)
    with pytest.raises(DamagedStore, match=r"mask of V9 has 6 voxels but .* has 7"):
        brain.read_brain(study.workspace, "S1", "natural", "V9")


def _with_average(study, average):
    return study.model_copy(update={"decode": study.decode.model_copy(update={"average": average})})


def test_items_average_some_repeats_at_a_time_and_a_rest(study):
    study = _with_average(study, 2)
    items = brain.read_items(study, "S1", "natural")
    x = _samples().astype(float)
    assert items.names == ("a@01", "b@01", "b@02", "c@01")  # b was seen three times
    assert items.rows.tolist() == [0, 1, 1, 2]
    assert items.n_averaged.tolist() == [2, 2, 1, 1]
    np.testing.assert_allclose(items.samples, [(x[1] + x[4]) / 2, (x[0] + x[2]) / 2, x[5], x[3]], rtol=1e-6)
    assert shapes.read(study).n_items("S1", "natural") == 4


@pytest.fixture
def imagery(study, finish):
    """Imagery of b and a, of a category, and of nothing, with vividness; means of 1 and 3 presentations."""
    part = Brain(
        _samples(5),
        ("rest", "b", "cats", "rest", "b"),
        {"vividness": [1.0, 2.0, 3.0, 5.0, 4.0], "n_averaged": [3.0, 1.0, 1.0, 1.0, 1.0]},
        {"rest": "nothing", "cats": "category"},
    )
    files = brain.write_brain(study.workspace, "S1.r1f01", "imagery", part, made_by="simulate/S1.r1f01")
    finish(study.workspace, "simulate/S1.r1f01", files)
    return study


def test_conditions_come_back_and_their_items_are_last_and_have_no_row(imagery):
    found = brain.read_brain(imagery.workspace, "S1.r1f01", "imagery")
    assert found.conditions == {"rest": "nothing", "cats": "category"}
    items = brain.read_items(imagery, "S1.r1f01", "imagery")
    assert items.names == items.labels == ("b", "cats", "rest")
    assert items.rows.tolist() == [1, -1, -1]
    assert items.conditions == ("", "category", "nothing")
    assert items.scored.tolist() == [0]
    assert items.n_averaged.tolist() == [2, 1, 4]
    x = _samples(5).astype(float)
    np.testing.assert_allclose(items.samples, [(x[1] + x[4]) / 2, x[2], (3 * x[0] + x[3]) / 4], rtol=1e-6)
    assert items.columns["vividness"].tolist() == [3.0, 3.0, 2.0]  # (3 * 1 + 5) / 4
    assert list(items.columns) == ["vividness"]


def test_items_are_described_without_their_samples(imagery):
    whole = brain.read_items(imagery, "S1.r1f01", "imagery")
    found = brain.read_item_table(imagery, "S1.r1f01", "imagery")
    assert found.samples.shape == (3, 0)
    assert (found.names, found.conditions) == (whole.names, whole.conditions)
    for one, other in ((found.rows, whole.rows), (found.n_averaged, whole.n_averaged)):
        np.testing.assert_array_equal(one, other)


def test_samples_of_stimuli_alone_have_no_column_of_conditions(study, imagery):
    from hpc_recon.stores import layout, tables

    plain, mixed = (
        tables.read_checked(study.workspace, layout.samples_columns(*place))
        for place in (("S1", "natural"), ("S1.r1f01", "imagery"))
    )
    assert "shows" not in plain
    assert mixed["shows"] == ["nothing", "stimulus", "category", "nothing", "stimulus"]


@pytest.mark.parametrize("name", ["label", "shows"])
def test_names_of_columns_that_have_a_meaning_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=f"no column may be called '{name}'"):
        brain.write_brain(tmp_path, "S1", "natural", Brain(_samples(), LABELS, {name: [1.0] * 6}), made_by=KEY)


def test_an_unknown_kind_of_condition_is_damage(study, finish):
    part = Brain(_samples(1), ("x",), {}, {"x": "dreams"})
    files = brain.write_brain(study.workspace, "S1.r1f02", "imagery", part, made_by="simulate/S1.r1f02")
    finish(study.workspace, "simulate/S1.r1f02", files)
    with pytest.raises(DamagedStore, match=r"show 'dreams', but can show a stimulus, nothing or category"):
        brain.read_brain(study.workspace, "S1.r1f02", "imagery")


def test_missing_numbers_of_a_column_come_back_and_are_left_out_of_means(study, finish):
    nan = float("nan")
    columns = {"vividness": [nan, 2.0, nan, nan, 4.0, 1.0]}
    files = brain.write_brain(study.workspace, "S1.r1f03", "natural", Brain(_samples(), LABELS, columns), made_by="x/y")
    finish(study.workspace, "x/y", files)
    found = brain.read_brain(study.workspace, "S1.r1f03", "natural").columns["vividness"]
    np.testing.assert_array_equal(found, columns["vividness"])
    items = brain.read_items(study, "S1.r1f03", "natural")  # a: 2 and 4; b: 1 and two gaps; c: a gap
    np.testing.assert_array_equal(items.columns["vividness"], [3.0, 1.0, nan])
