"""Networks whose features come from files, through the command that reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon import extract
from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.formats import feature_trees
from hpc_recon.stores import arrays, layout, shapes

N = 56


def write_tree(root: Path, values: dict[str, tuple[np.ndarray, tuple[int, ...]]]) -> Path:
    for layer, (rows, shape) in values.items():
        for i, row in enumerate(rows):
            feature_trees.write_feature(root, layer, f"s{i:02d}", row, shape)
    return root


@pytest.fixture
def foreign(tmp_path: Path) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
    """A tree `lab/net` of the features of all stimuli."""
    rng = np.random.default_rng(1)
    shapes = {"conv": (3, 2, 4), "fc": (7,)}
    made = {layer: (rng.normal(size=(N, int(np.prod(s)))).astype("f4"), s) for layer, s in shapes.items()}
    write_tree(tmp_path / "lab" / "net", made)
    return made


FILES = {"architecture": "features", "features": {"folders": "lab/net"}, "layers": ["conv", "fc"]}


def test_features_are_read_from_files_with_their_norms(make_study, study: Study, foreign, run_verb):
    networks = {"lab": FILES, "half": {**FILES, "dtype": "float16", "transform": "abs", "layers": ["fc"]}}
    made = make_study(networks=networks)
    tiles = run_verb(extract, made)
    assert [t.id for t in tiles][:3] == [
        "extract/lab/conv/extract-00000000-00000048",
        "extract/lab/conv/extract-00000048-00000056",
        "extract/lab/fc/extract-00000000-00000048",
    ]
    for layer, (values, shape) in foreign.items():
        np.testing.assert_array_equal(arrays.read(made.workspace, layout.features("lab", layer)), values)
        assert shapes.read(made).unit_shape("lab", layer) == shape
        norms = arrays.read(made.workspace, layout.norms("lab", layer))
        np.testing.assert_allclose(norms[:, 0], np.linalg.norm(values, axis=1), rtol=1e-6)
        spread = values.reshape(N, shape[0] if len(shape) > 1 else 1, -1).std(axis=2).mean(axis=1)
        np.testing.assert_allclose(norms[:, 1], spread, rtol=1e-5)
    half = arrays.read(made.workspace, layout.features("half", "fc"))
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, np.abs(foreign["fc"][0]).astype("f2"))


def test_a_tile_of_files_writes_what_it_projects_and_the_plan_stays_the_same(make_study, study, foreign):
    made = make_study(networks={"lab": FILES})
    planned = extract.plan(made, shapes.read(made))
    extract.prepare(made)
    for tile in planned:
        files = extract.work(made, tile)
        assert len(files) == len(set(files)) == tile.need.files_out
        assert tile.need.bytes_out < sum(path.stat().st_size for path in files) * 1.2 + 4096
    assert extract.plan(made, shapes.read(made)) == planned


def test_files_that_changed_since_make_another_group(make_study, study, foreign, tmp_path):
    made = make_study(networks={"lab": FILES})
    before = {t.group.path[1]: t.group for t in extract.plan(made, shapes.read(made))}
    extract.prepare(made)
    for tile in extract.plan(made, shapes.read(made)):
        extract.work(made, tile)
    feature_trees.write_feature(tmp_path / "lab" / "net", "fc", "s07", np.arange(7.0), (7,))
    after = {t.group.path[1]: t.group for t in extract.plan(made, shapes.read(made))}
    assert before["conv"] == after["conv"]
    assert before["fc"] != after["fc"]


def test_files_must_have_the_shapes_of_a_known_architecture(make_study, study, tmp_path):
    network = {"architecture": "vgg11_quarter", "features": {"folders": "lab/vgg"}, "layers": ["conv1_1", "conv2_1"]}
    made = make_study(networks={"vgg": network})
    rng = np.random.default_rng(0)
    wrong = {"conv1_1": (rng.normal(size=(N, 4096)), (16, 16, 16)), "conv2_1": (rng.normal(size=(N, 2048)), (8, 8, 32))}
    write_tree(tmp_path / "lab" / "vgg", wrong)
    with pytest.raises(StudyError, match=r"conv2_1 has units \(8, 8, 32\).*axes of the files are reversed") as caught:
        extract.plan(made, shapes.read(made))
    assert len(caught.value.problems) == 1
    write_tree(tmp_path / "lab" / "vgg", {"conv2_1": (rng.normal(size=(N, 512)), (32, 4, 4))})
    with pytest.raises(StudyError, match=r"\(32, 4, 4\).*\(32, 8, 8\) for images of 16 x 16 pixels; set image_size"):
        extract.plan(made, shapes.read(made))
    write_tree(tmp_path / "lab" / "vgg", {"conv2_1": (rng.normal(size=(N, 2048)), (32, 8, 8))})
    assert len(extract.plan(made, shapes.read(made))) == 2 * 2


def test_missing_labels_stop_the_plan_and_weights_are_not_looked_for(make_study, study, foreign, tmp_path):
    absent = {"architecture": "vgg11_quarter", "weights": "absent.pth", "layers": ["conv1_1"]}
    made = make_study(networks={"lab": FILES, "vgg": {**absent, "features": {"folders": "lab/vgg"}}})
    rows = np.random.default_rng(0).normal(size=(N, 4096))
    write_tree(tmp_path / "lab" / "vgg", {"conv1_1": (rows, (16, 16, 16))})
    assert len(extract.plan(made, shapes.read(made))) == 6
    (tmp_path / "lab" / "vgg" / "conv1_1" / "s55.mat").unlink()
    with pytest.raises(StudyError, match=r"vgg: 1 of 56 stimuli have no file in .*lab/vgg \(s55"):
        extract.plan(made, shapes.read(made))


def test_a_file_of_units_is_checked_against_the_files(make_study, study, foreign, tmp_path):
    np.save(tmp_path / "units.npy", np.array([0, 7]))
    wrong = make_study(networks={"lab": FILES}, units={"file": str(tmp_path / "units.npy")})
    with pytest.raises(StudyError, match=r"the unit 7 of the layer 'fc', which has 7 units"):
        extract.plan(wrong, shapes.read(wrong))
