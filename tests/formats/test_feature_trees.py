"""Trees of feature files: every naming, both versions, and what is wrong with them."""

import h5py
import numpy as np
import pytest
import scipy.io

from hpc_recon.core.errors import DataError
from hpc_recon.formats import feature_trees, matlab, sparse
from hpc_recon.formats.feature_trees import DecodedTree, FeatureTree

SHAPES = {"conv1_1": (2, 3, 4), "fc8": (5,), "inception/3a": (2, 2, 2)}
LABELS = ("Img0002", "Img0001", "Img0010")


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    return {layer: rng.normal(size=(3, *shape)).astype(np.float32) for layer, shape in SHAPES.items()}


@pytest.fixture
def root(tmp_path, values):
    for layer, rows in values.items():
        folder = tmp_path / "tree" / layer.replace("/", ":")
        folder.mkdir(parents=True)
        scipy.io.savemat(folder / f"{LABELS[0]}.mat", {"feat": rows[:1]})
        matlab.write_v73(folder / f"{LABELS[1]}.mat", {"feat": rows[1:2]})
        sparse.write_sparse(folder / f"{LABELS[2]}.mat", "feat", sparse.from_dense(rows[2:]))
    return tmp_path / "tree"


def test_all_forms_are_read_in_the_order_asked_for(root, values):
    tree = FeatureTree(root)
    assert tree.layers == ("conv1_1", "fc8", "inception/3a")
    assert tree.labels == tuple(sorted(LABELS))
    for layer, rows in values.items():
        assert tree.shape(layer) == SHAPES[layer]
        flat = rows.reshape(3, -1)
        np.testing.assert_array_equal(tree.read(layer, LABELS, threads=2), flat)
        units = np.array([4, 0, 2])
        np.testing.assert_array_equal(tree.read(layer, LABELS[1:], units), flat[1:][:, units])
    assert [label for label, _ in tree.iterate("fc8", threads=3)] == sorted(LABELS)


def test_layers_with_different_labels_are_named(root):
    (root / "fc8" / "Img0010.mat").rename(root / "fc8" / "Img0011.mat")
    with pytest.raises(DataError, match=r"fc8 lacks 1 \(Img0010\); conv1_1 lacks 1 \(Img0011\)"):
        _ = FeatureTree(root).layers


def test_reversed_axes_other_shapes_and_nan_are_named(root, values):
    path = root / "conv1_1" / "Img0010.mat"
    with h5py.File(path, "w", userblock_size=512) as stream:
        stream["feat"] = values["conv1_1"][:1]  # as if HDF5 had MATLAB's order
    with pytest.raises(DataError, match="axes"):
        FeatureTree(root).read("conv1_1")
    matlab.write_v5(path, {"feat": values["conv1_1"][:1].transpose(0, 3, 2, 1)})
    with pytest.raises(DataError, match="its axes are reversed"):
        FeatureTree(root).read("conv1_1")
    matlab.write_v5(path, {"feat": np.full((1, 2, 3, 4), np.nan)})
    with pytest.raises(DataError, match="24 of 24 values that are NaN"):
        FeatureTree(root).read("conv1_1")
    matlab.write_v5(path, {"other": np.zeros(3)})
    with pytest.raises(DataError, match="its variables: other"):
        FeatureTree(root).read("conv1_1")


def test_unknown_names_units_and_empty_trees_are_errors(root, tmp_path):
    tree = FeatureTree(root)
    with pytest.raises(DataError, match="has no layer 'fc9'"):
        tree.read("fc9")
    with pytest.raises(DataError, match="lacks 1 of 1 labels"):
        tree.read("fc8", ["Img0003"])
    with pytest.raises(DataError, match="units 0 to 5"):
        tree.read("fc8", units=np.array([0, 5]))
    (tmp_path / "empty").mkdir()
    for folder, rule in ((tmp_path / "empty", "no folder of a layer"), (tmp_path / "none", "does not exist")):
        with pytest.raises(DataError, match=rule):
            _ = FeatureTree(folder).labels
    (tmp_path / "empty" / "fc8").mkdir()
    with pytest.raises(DataError, match=r"no \.mat file"):
        _ = FeatureTree(tmp_path / "empty").labels


@pytest.mark.parametrize("inner", ["", "decoded_features", "fold1/decoded_features"])
def test_decoded_features_in_each_pattern(tmp_path, values, inner):
    for layer, rows in values.items():
        for label, row in zip(LABELS, rows, strict=True):
            folder = tmp_path / layer.replace("/", ":") / "S1" / "VC" / inner
            matlab.write_v73(folder / f"{label}.mat", {"feat": row[None]})
    other = tmp_path / "fc9" / "S1" / "VC" / "._Img1.mat"  # macOS's, beside a file that has gone
    other.parent.mkdir(parents=True)
    other.touch()
    group = ("inception/3a", "S1", "VC") + (("fold1",) if "fold" in inner else ())
    tree = DecodedTree(tmp_path)
    assert group in tree.groups()
    assert len(tree.groups()) == 3
    labels, found = tree.read(*group)
    order = np.argsort(LABELS)
    assert labels == tuple(sorted(LABELS)) == tree.labels(*group)
    np.testing.assert_array_equal(found, values["inception/3a"].reshape(3, -1)[order])


def test_the_archives_of_2019_have_no_axis_of_samples(tmp_path, values):
    for layer in ("conv1_1", "fc8"):
        folder = tmp_path / layer / "S1" / "VC"
        folder.mkdir(parents=True)
        for label, row in zip(LABELS, values[layer], strict=True):
            value = row if row.ndim == 3 else row[None]
            scipy.io.savemat(folder / f"natural-VGG19-{layer}-S1-VC-{label}.mat", {"feat": value})
    labels, found = DecodedTree(tmp_path).read("conv1_1", "S1", "VC")
    assert labels == tuple(sorted(LABELS))
    np.testing.assert_array_equal(found, values["conv1_1"].reshape(3, -1)[np.argsort(LABELS)])
    assert DecodedTree(tmp_path).labels("fc8", "S1", "VC") == labels
    scipy.io.savemat(tmp_path / "fc8" / "S1" / "VC" / "Img0001.mat", {"feat": np.zeros((1, 5))})
    with pytest.raises(DataError, match="twice"):
        DecodedTree(tmp_path).labels("fc8", "S1", "VC")


def test_written_features_are_v5_and_read_back(tmp_path, values):
    rows = values["inception/3a"].reshape(3, -1)
    for label, row in zip(LABELS, rows, strict=True):
        path = feature_trees.write_feature(tmp_path / "true", "inception/3a", label, row, (2, 2, 2))
        feature_trees.write_decoded(tmp_path / "decoded", "inception/3a", "S1", "VC", label, row, (2, 2, 2))
    assert path.parent.name == "inception:3a"
    assert scipy.io.loadmat(path)["feat"].shape == (1, 2, 2, 2)
    np.testing.assert_array_equal(FeatureTree(tmp_path / "true").read("inception/3a", LABELS), rows)
    found = DecodedTree(tmp_path / "decoded").read("inception/3a", "S1", "VC")[1]
    np.testing.assert_array_equal(found, rows[np.argsort(LABELS)])
    for label, row, rule in (("a", rows[0][:3], "takes"), ("a", rows[0] * np.nan, "NaN"), ("../a", rows[0], "name")):
        with pytest.raises(DataError, match=rule):
            feature_trees.write_feature(tmp_path, "x", label, row, (2, 2, 2))


def test_files_of_units(tmp_path):
    path = tmp_path / "index.mat"
    scipy.io.savemat(path, {"index": {"conv1_1": np.array([5, 0, 3]), "fc8": np.array([1.0, 2.0])}})
    found = feature_trees.read_index(path)
    assert {layer: units.tolist() for layer, units in found.items()} == {"conv1_1": [5, 0, 3], "fc8": [1, 2]}
    cells = np.empty((1, 2), dtype=object)
    cells[0] = [np.array([1, 2]), np.array([1, 2, 3])]
    for wrong in ([1, 1], [-1, 2], [0.5, 2], [np.nan, 2], cells, {"a": 1}, "two"):
        scipy.io.savemat(path, {"index": {"fc8": wrong}})
        with pytest.raises(DataError, match="distinct whole numbers"):
            feature_trees.read_index(path)
