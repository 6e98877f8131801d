"""Trees of features: labels matched by name, what does not fit, and which files count as the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core.errors import DamagedStore, DataError, StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.extraction import given_files
from hpc_recon.formats import feature_trees, matlab

LABELS = tuple(f"s{i}" for i in range(6))
SHAPES = {"conv": (2, 3, 4), "fc": (5,)}
VALUES = {
    layer: np.random.default_rng(0).normal(size=(6, int(np.prod(shape)))).astype("f4")
    for layer, shape in SHAPES.items()
}


def write(root: Path, rows: range = range(6)) -> Path:
    for layer, shape in SHAPES.items():
        for row in rows:
            feature_trees.write_feature(root, layer, LABELS[row], VALUES[layer][row], shape)
    return root


def network(*folders: Path, layers: tuple[str, ...] = ("fc", "conv")) -> Network:
    return Network(architecture="features", features={"folders": list(folders)}, layers=layers)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "tree")


def test_layers_come_in_the_order_of_the_study_and_labels_in_any(tree: Path) -> None:
    found = given_files.look("net", network(tree), LABELS[1:5])
    assert list(found) == ["fc", "conv"]
    assert [layer.unit_shape for layer in found.values()] == [(5,), (2, 3, 4)]
    assert list(found["conv"].files) == list(LABELS[1:5])  # the files of other labels are left alone
    np.testing.assert_array_equal(found["conv"].read((LABELS[4], LABELS[2])), VALUES["conv"][[4, 2]])


def test_stimuli_spread_over_two_folders(tmp_path: Path) -> None:
    roots = [write(tmp_path / "a", range(4)), write(tmp_path / "b", range(4, 6))]
    found = given_files.look("net", network(*roots), LABELS)
    np.testing.assert_array_equal(found["fc"].read(LABELS, n_threads=2), VALUES["fc"])
    write(roots[1], range(2, 4))
    with pytest.raises(StudyError, match=r"2 stimuli have a file in more than one of .*\(s2, s3\)"):
        given_files.look("net", network(*roots), LABELS)


def test_missing_stimuli_are_counted_with_the_closest_name(tree: Path) -> None:
    with pytest.raises(StudyError, match=r"2 of 8 stimuli have no file in .*tree \(S0, q9; known: s0, s1"):
        given_files.look("net", network(tree), (*LABELS, "S0", "q9"))


def test_layers_that_are_not_there_or_list_other_labels(tree: Path) -> None:
    with pytest.raises(StudyError, match=r"tree has no layer 'conv9'; did you mean 'conv'"):
        given_files.look("net", network(tree, layers=("conv9",)), LABELS)
    (tree / "fc" / "s3.mat").unlink()
    with pytest.raises(StudyError, match=r"conv and fc .* have different labels: fc lacks 1 \(s3\)"):
        given_files.look("net", network(tree), LABELS)


def test_shapes_that_differ(tree: Path, tmp_path: Path) -> None:
    path = tree / "conv" / "s4.mat"
    matlab.write_v5(path, {"feat": VALUES["conv"][4].reshape(1, 2, 3, 4).transpose(0, 3, 2, 1)})
    found = given_files.look("net", network(tree), LABELS)["conv"]
    with pytest.raises(DataError, match=r"s4\.mat has units \(4, 3, 2\).*reversed"):
        found.read(("s4",))  # alone, so that nothing but the layer's own shape tells
    other = tmp_path / "other"
    for layer in SHAPES:
        feature_trees.write_feature(other, layer, "extra", np.zeros(7, "f4"), (7,))
    with pytest.raises(StudyError, match=r"the units of fc have different shapes: \(5,\) in .*, \(7,\) in "):
        given_files.look("net", network(tree, other), (*LABELS, "extra"))


def test_values_that_are_not_finite(tree: Path) -> None:
    matlab.write_v5(tree / "fc" / "s1.mat", {"feat": np.array([[1, np.nan, 2, np.inf, 3]])})
    with pytest.raises(DataError, match="2 of 5 values that are NaN or infinite"):
        given_files.look("net", network(tree), LABELS)["fc"].read(LABELS)


def test_what_was_read_is_recorded_under_network_and_layer(tree: Path, tmp_path: Path) -> None:
    found = given_files.look("net", network(tree), LABELS)["fc"]
    before = given_files.identity(tmp_path / "ws", found)
    path = given_files.record(tmp_path / "ws", found, LABELS[:4], start=48)
    assert path == tmp_path / "ws" / "sources" / "net" / "fc" / "00000048.json"
    assert given_files.identity(tmp_path / "ws", found) == before
    path.write_text("{")
    with pytest.raises(DamagedStore, match=r"00000048\.json.*--only 'net/fc/\*'"):
        given_files.identity(tmp_path / "ws", found)


def test_files_that_were_only_renamed_are_others(tree: Path, tmp_path: Path) -> None:
    before = given_files.identity(tmp_path, given_files.look("net", network(tree), LABELS)["fc"])
    for a, b in (("s1", "x"), ("s2", "s1"), ("x", "s2")):
        for layer in SHAPES:
            (tree / layer / f"{a}.mat").rename(tree / layer / f"{b}.mat")
    assert given_files.identity(tmp_path, given_files.look("net", network(tree), LABELS)["fc"]) != before


def test_settings_name_what_the_stored_values_depend_on(tree: Path) -> None:
    plain = network(tree)
    found = given_files.look("net", plain, LABELS)["conv"]
    texts = {
        given_files.settings(changed, found, identity=identity)
        for changed in (plain, *(plain.model_copy(update=u) for u in ({"transform": "abs"}, {"dtype": "float16"})))
        for identity in ("a", "b")
    }
    assert len(texts) == 6
