"""What a generator learns from: nothing of test items, nothing of an image's own part, pairs by label."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.core.loading import load_study
from hpc_recon.core.sampling import seed_of
from hpc_recon.numerics import combining
from hpc_recon.stores import arrays, folds, images, items, layout
from hpc_recon.training import Place, shape_decoding, shape_inputs, shape_sources

PLACE = Place("fused", "S1", "VC")


@pytest.fixture(scope="module")
def made(shape_study):
    return shape_inputs.compute(shape_study, PLACE)


def with_entry(study, **changes):
    own = study.train["fused"]
    semantic = own.semantic.model_copy(update=changes.pop("semantic", {}))
    return study.model_copy(update={"train": {"fused": own.model_copy(update={"semantic": semantic, **changes})}})


def same(one, two):
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("rows", "shape", "semantic"))


def test_rows_are_training_images_then_those_without_brain_data(shape_study, made):
    table = images.read_table(layout.workspace_of(shape_study))
    assert [table.dataset[row] for row in made.rows] == ["training"] * 16 + ["extra"] * 4
    assert made.has_brain.tolist() == [True] * 16 + [False] * 4
    assert made.shape.shape == (20, 1, 8, 8)
    assert made.semantic.shape == (20, 4)
    np.testing.assert_allclose(made.semantic[:16].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(made.semantic[:16].std(axis=0), 1, rtol=1e-4)


def test_names_that_sort_otherwise_than_numbers_are_paired_by_label(shape_study, made):
    """`a_training1`, `b_training10`, `b_training2`: each shape is that of its own image."""
    table = images.read_table(layout.workspace_of(shape_study))
    labels = [table.labels[row] for row in made.rows[:16]]
    assert labels.index("b_training10") < labels.index("b_training2")
    true = items.true_features(shape_study, "shape", "pixels", made.rows)
    np.testing.assert_array_equal(made.shape[16:].reshape(4, -1), true[16:])  # of images without brain data: true ones
    r = np.corrcoef(np.concatenate([made.shape[:16].reshape(16, -1), true[:16]]))[:16, 16:]
    assert (r.argmax(axis=1) == np.arange(16)).mean() > 0.6
    stored = np.load(shape_study.ingest.subjects["S1"].datasets["training"].samples.file)
    patterns = shape_sources.training_patterns(shape_study, "S1", "VC", made.rows[:16])
    for label, pattern in zip(labels, patterns, strict=True):
        np.testing.assert_allclose(pattern, stored["samples"][stored["labels"] == label].mean(axis=0), rtol=1e-5)


def test_a_shape_is_joined_by_weights_without_its_image(shape_study, made):
    rows = made.rows[:16]
    workspace = layout.workspace_of(shape_study)
    predicted = np.stack(
        [arrays.read(workspace, layout.out_of_fold("S1", roi, "shape", "pixels")) for roi in ("V1", "V2")]
    )
    true = items.true_features(shape_study, "shape", "pixels", rows)
    table = images.read_table(workspace)
    rng = np.random.default_rng(seed_of(0, "shape-semantic folds", "S1"))
    dealt = folds.deal([table.category[row] for row in rows], 4, rng=rng)
    for fold in range(4):
        held = dealt == fold
        own = combining.fit(predicted[:, ~held], true[~held], kind="ridge")
        np.testing.assert_allclose(made.shape[:16][held].reshape(held.sum(), -1), own.apply(predicted[:, held]))


def test_shuffled_test_labels_and_other_test_data_change_nothing(shape_study, made, monkeypatch):
    """Categories, features and samples of test items may be anything: no bit of what is learnt from changes."""
    plain_table, plain_read = images.read_table, arrays.read
    tested = {row for row, own in enumerate(plain_table(layout.workspace_of(shape_study)).dataset) if own == "test"}

    def other_table(workspace):
        table = plain_table(workspace)
        category = tuple("b" if row in tested else c for row, c in enumerate(table.category))
        return shape_sources.images.StimulusTable(**{**table.__dict__, "category": category})

    def other_read(workspace, ref, rows=None, *more):
        found = plain_read(workspace, ref, rows, *more)
        if "features" in ref.path and rows is not None:
            found = np.array(found)
            found[[i for i, row in enumerate(np.arange(len(found))[: len(rows)]) if int(rows[i]) in tested]] = 1e6
        assert "/test" not in ref.path, "samples or decoded features of test items were read"
        return found

    for kind in ({}, {"target": "kmeans", "network": "embedding", "clusters": 3, "decoder": "linear"}):
        study = with_entry(shape_study, semantic=kind)
        expected = shape_inputs.compute(study, PLACE)
        with monkeypatch.context() as patch:
            patch.setattr(images, "read_table", other_table)
            patch.setattr(arrays, "read", other_read)
            changed = shape_inputs.compute(study, PLACE)
        assert same(expected, changed)
    assert same(shape_inputs.compute(shape_study, PLACE), made)


def test_clusters_are_those_of_training_images_and_test_images_move_no_centre(shape_study):
    study = with_entry(
        shape_study, semantic={"target": "kmeans", "network": "embedding", "clusters": 3, "decoder": "linear"}
    )
    found = shape_inputs.compute(study, PLACE)
    assert found.semantics is not None
    centres = found.semantics.centres.copy()
    rows = items.training_rows(study, "S1")
    own = items.true_features(study, "embedding", "grid8", rows)
    members = shape_inputs.classes_of(found, own)
    np.testing.assert_allclose(centres, [own[members == k].mean(axis=0) for k in range(3)], rtol=1e-4)
    shown = items.read_shown(study, "S1", "test").rows
    assert shape_inputs.classes_of(found, items.true_features(study, "embedding", "grid8", shown)).shape == (4,)
    np.testing.assert_array_equal(found.semantics.centres, centres)


@pytest.mark.parametrize(
    ("semantic", "n"),
    [
        ({"target": "labels", "decoder": "linear"}, 2),
        ({"target": "labels", "feature": "logits"}, 2),
        ({"target": "embedding", "network": "embedding", "decoder": "linear"}, 64),
        ({"target": "embedding", "network": "embedding"}, 4),
    ],
)
def test_every_target_gives_vectors_of_training_and_test_items(shape_study, semantic, n):
    study = with_entry(shape_study, semantic=semantic)
    found = shape_inputs.compute(study, PLACE)
    assert found.semantic.shape == (20, n)
    shape, vectors, areas = shape_inputs.of_items(study, PLACE, "test", found)
    assert (shape.shape, vectors.shape, areas.shape) == ((4, 1, 8, 8), (4, n), (2, 4, 1, 8, 8))
    again = shape_decoding.Semantics.from_arrays(study.train["fused"], found.semantics.arrays())
    np.testing.assert_array_equal(again.of_items(study, PLACE, "test"), vectors)


def test_what_is_left_out_is_not_there(shape_study):
    nothing = with_entry(shape_study, leave_out=("shape", "augmentation"))
    found = shape_inputs.compute(nothing, PLACE)
    assert (found.shape == 0.5).all()
    assert found.combiner is None
    assert len(found.rows) == 16
    assert (shape_inputs.of_items(nothing, PLACE, "test", found)[0] == 0.5).all()
    alone = shape_inputs.compute(with_entry(shape_study, leave_out=("semantics",)), PLACE)
    assert alone.semantic.shape == (20, 0)
    first = shape_inputs.compute(with_entry(shape_study, leave_out=("fusion",)), PLACE)
    assert first.combiner.weights[1].max() == 0


def test_extra_images_have_the_mean_vector_of_their_class(shape_study, made):
    study = with_entry(
        shape_study, augmentation=shape_study.train["fused"].augmentation.model_copy(update={"noise": 0})
    )
    found = shape_inputs.compute(study, PLACE)
    category = images.read_table(layout.workspace_of(study)).category
    for i, row in enumerate(found.rows[16:]):
        own = [category[other] == category[row] for other in found.rows[:16]]
        np.testing.assert_allclose(found.semantic[16 + i], found.semantic[:16][own].mean(axis=0), rtol=1e-4, atol=1e-6)
    assert not np.array_equal(made.semantic[16:], found.semantic[16:])  # noise was added


def test_an_image_on_both_sides_is_refused_even_under_another_name(shape_study, tmp_path):
    table = images.read_table(layout.workspace_of(shape_study))
    tested = items.read_shown(shape_study, "S1", "test").rows
    with pytest.raises(DataError, match=r"2 test images are also learnt from: .*leave them out of one side"):
        shape_inputs.require_apart(shape_study, PLACE, np.concatenate([tested[:2], [0]]))
    plain = images.read_images

    def copied(workspace, rows=None):
        found = np.array(plain(workspace, rows))
        at = np.flatnonzero(np.asarray(rows) == tested[1])
        found[at] = plain(workspace, shape_inputs.items.training_rows(shape_study, "S1")[:1])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "read_images", copied)
        with pytest.raises(DataError, match=rf"1 test images .*{table.labels[tested[1]]} \(the picture of a_training1"):
            shape_inputs.compute(shape_study, PLACE)


def test_the_file_is_compared_with_its_receipt(shape_study, made, tmp_path):
    assert same(shape_inputs.read(shape_study, PLACE), made)
    with pytest.raises(MissingStore, match=r"inputs of train\.other were not made; run"):
        shape_inputs.read(
            shape_study.model_copy(update={"train": {"other": shape_study.train["fused"]}}), Place("other", "S1", "VC")
        )
    path = layout.model_folder(shape_study, "fused", "S1", "VC") / shape_inputs.FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    try:
        with pytest.raises(DamagedStore, match="not the file that its receipt describes"):
            shape_inputs.read(shape_study, PLACE)
    finally:
        path.write_bytes(content)


def test_categories_that_are_not_known_are_named(shape_study, monkeypatch):
    plain = images.read_table
    monkeypatch.setattr(
        images,
        "read_table",
        lambda w: shape_sources.images.StimulusTable(**{**plain(w).__dict__, "category": ("",) * 24}),
    )
    with pytest.raises(DataError, match=r"16 have none: .*or target: kmeans"):
        shape_inputs.compute(shape_study, PLACE)
    assert load_study is not None
