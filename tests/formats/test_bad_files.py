"""docs/bad_files.md: each row of its tables is injected here, and the error says what the row says."""

from __future__ import annotations

import json
import logging
import re
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import scipy.io
from PIL import Image

from hpc_recon import ingest
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.formats import (
    bdata,
    bids,
    caffemodel,
    decoder_trees,
    feature_trees,
    labfiles,
    matlab,
    stimulus_ids,
    surfaces,
    volumes,
)
from hpc_recon.formats.bdata_write import Row, write_bdata
from hpc_recon.stores import shapes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad_files.md"
X = np.arange(12.0).reshape(3, 4)


def table(root: Path) -> Path:
    columns = {"VoxelData": X, "Label": np.array([1443537.000002, 1518878.010042, 1443537.000002])}
    rows = {"ROI_V1": Row("VoxelData", np.array([1, 1, 0, 0], dtype=bool))}
    return write_bdata(root / "S1.h5", columns, metadata=rows)


def edited(root: Path, edit: Callable[[h5py.File], object]) -> Path:
    path = table(root)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def replaced(file: h5py.File, name: str, value: object) -> None:
    del file[name]
    file[name] = value


def cut(path: Path, keep: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def truncated_h5(root):
    bdata.BData(cut(table(root), 0.5))


def wrong_magic(root):
    (root / "S1.h5").write_text("<html>404")
    bdata.BData(root / "S1.h5")


def no_metadata(root):
    bdata.BData(edited(root, lambda file: file.__delitem__("metadata")))


def no_dataset(root):
    bdata.BData(edited(root, lambda file: file.__delitem__("dataset")))


def columns_off(root):
    bdata.BData(edited(root, lambda file: replaced(file, "metadata/value", np.ones((3, 9)))))


def not_utf8(root):
    bdata.BData(edited(root, lambda file: replaced(file, "metadata/key", np.array([b"a", b"caf\xe9", b"b"]))))


def damaged_texts(root):
    path = edited(root, lambda file: replaced(file, "metadata/key", ["VoxelData", "Label", "ROI_V1"]))
    path.write_bytes(path.read_bytes().replace(b"GCOL", b"GCOX"))
    bdata.BData(path)


def linked(root):
    def edit(file):
        del file["dataset"]
        file["dataset"] = h5py.ExternalLink("/etc/passwd", "/")

    bdata.BData(edited(root, edit))


def object_array(root):
    with h5py.File(root / "S1.h5", "w") as file:
        file.create_dataset("x", (2,), h5py.vlen_dtype(np.float64))[0] = np.ones(3)
    labfiles.read_array(root / "S1.h5", "x")


def float32_ids(root):
    path = edited(root, lambda file: replaced(file, "dataset", file["dataset"][()].astype(np.float32)))
    stimulus_ids.stimulus_labels(bdata.BData(path).numbers("Label"), f"Label in {path}")


def unreversed_axes(root):
    with h5py.File(root / "feat.mat", "w", userblock_size=512) as file:
        item = file.create_dataset("feat", data=np.zeros((2, 3, 4)))
        item.attrs["Python.Shape"] = np.array([2, 3, 4], dtype=np.uint64)
    matlab.read_array(root / "feat.mat", "feat")


def unlike_layers(root):
    for layer, labels in (("conv1_1", ("n1", "n2")), ("fc6", ("n1",))):
        for label in labels:
            feature_trees.write_feature(root, layer, label, np.ones(4), (4,))
    feature_trees.FeatureTree(root).read("fc6")


def nan_feature(root):
    (root / "fc6").mkdir()
    scipy.io.savemat(root / "fc6/n1.mat", {"feat": np.array([[1.0, np.nan]])})
    feature_trees.FeatureTree(root).read("fc6")


def structure(root):
    scipy.io.savemat(root / "S1.mat", {"s": {"brain": X, "labels": X}})
    labfiles.read_array(root / "S1.mat", "s")


def string_array(root):
    def fill(stream):
        item = stream.create_dataset("labels", data=np.array([[3707764736, 2, 1, 1, 1, 1]], dtype=np.uint32))
        item.attrs["MATLAB_class"], item.attrs["MATLAB_object_decode"] = np.bytes_("string"), np.int32(3)

    labfiles.read_array(matlab.write_hdf5(root / "S1.mat", fill), "labels")


def truncated_mat(root):
    scipy.io.savemat(root / "S1.mat", {"x": np.arange(1000.0)})
    labfiles.read_array(cut(root / "S1.mat", 0.5), "x")


def pickled(root):
    np.save(root / "S1.npy", np.array([{}], dtype=object), allow_pickle=True)
    labfiles.read_array(root / "S1.npy")


def announcing_npy(root):
    np.save(root / "S1.npy", X)
    path = root / "S1.npy"
    path.write_bytes(path.read_bytes().replace(b"(3, 4), }        ", b"(3000000, 4), }  "))
    labfiles.read_array(path)


def image_bomb(root):
    Image.new("L", (64, 64)).save(root / "a.bmp")
    content = (root / "a.bmp").read_bytes()
    (root / "a.bmp").write_bytes(content[:18] + np.array([8192, 8192], "<i4").tobytes() + content[26:])
    labfiles.read_image(root / "a.bmp")


def truncated_image(root):
    Image.effect_noise((64, 64), 80).save(root / "a.png")
    labfiles.read_image(cut(root / "a.png", 0.5))


def gifti(root, *, change=lambda text: text):
    array = nib.gifti.GiftiDataArray(np.arange(10, dtype=np.float32))
    nib.save(nib.GiftiImage(darrays=[array]), root / "L.func.gii")
    path = root / "L.func.gii"
    path.write_text(change(path.read_text()))
    surfaces.read_gifti(path)


def gifti_bomb(root):
    gifti(root, change=lambda text: text.replace('Dim0="10"', 'Dim0="2"'))


def gifti_entities(root):
    gifti(root, change=lambda text: text.replace("<!DOCTYPE GIFTI", '<!DOCTYPE GIFTI [<!ENTITY a "b">]><!-- '))


def nifti_header(root):
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4)), root / "run.nii")
    volumes.read_mask(cut(root / "run.nii", 0.9))


def latin_table(root):
    (root / "events.tsv").write_bytes("onset\tduration\tstim_file\n0\t8\tcaf\xe9.png\n".encode("latin-1"))
    bids.read_events(root / "events.tsv")


def nul_table(root):
    (root / "events.tsv").write_bytes("onset\tduration\n0\t8\n".encode("utf-16-le"))
    bids.read_events(root / "events.tsv")


def ragged_table(root):
    (root / "events.tsv").write_text("onset\tduration\n0\n")
    bids.read_events(root / "events.tsv")


def truncated_caffemodel(root):
    (root / "net.caffemodel").write_bytes(b"\xa2\x06\x50\x0a\x05conv1")
    caffemodel.open_caffemodel(root / "net.caffemodel")


def nan_decoder(root):
    rows = decoder_trees.DecoderRows(
        0, np.zeros((2, 1), np.uint32), np.ones((2, 1), np.float32), np.ones(2, np.float32)
    )
    decoder_trees.write_rows(root, rows, 3, (2,))
    matlab.write_v73(root / "b.mat", {"b": np.array([[1.0, np.nan]])})
    list(decoder_trees.read_rows(root))


def lab(make_study, root: Path, **change):
    """A study of arrays, six samples of three stimuli, planned after a change of the lab's files."""
    rng = np.random.default_rng(0)
    content = {
        "x": rng.standard_normal((6, 5)),
        "labels": np.array(["t0", "t1", "t2"] * 2),
        "pictures": rng.integers(0, 256, (3, 8, 8, 3)).astype(np.uint8),
        "names": np.array(["t0", "t1", "t2"]),
        "v1": np.ones(5),
    }
    np.savez(root / "S1.npz", **(content | change))
    key = {name: {"file": "S1.npz", "key": name} for name in content}
    study = make_study(
        {
            "name": "lab",
            "subjects": ["S1"],
            "rois": ["V1"],
            "datasets": {"training": {"role": "training"}},
            "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
            "ingest": {
                "subjects": {
                    "S1": {
                        "datasets": {"training": {"samples": key["x"], "labels": key["labels"]}},
                        "rois": {"V1": key["v1"]},
                    }
                },
                "stimuli": {"training": {"array": key["pictures"], "labels": key["names"]}},
            },
        }
    )
    ingest.plan(study, shapes.read(study))
    assert not study.workspace.exists()


NAN_SAMPLES = np.where(np.arange(30).reshape(6, 5) == 8, np.nan, 1.0)
CONSTANT_SAMPLES = np.where(np.arange(5) < 2, 1.0, np.random.default_rng(0).standard_normal((6, 5)))
STUDIES = {
    "a voxel that is NaN": {"x": NAN_SAMPLES},
    "a label that no stimulus has": {"labels": np.array(["t0", "t1", "z9"] * 2)},
    "fewer labels than samples": {"labels": np.array(["t0", "t1"])},
    "a label of two stimuli": {"names": np.array(["t0", "t1", "t0"])},
    "an ROI of another number of voxels": {"v1": np.ones(4)},
}
CONSTANT = "voxels that never change (a warning)"
CASES = {
    "an `.h5` file that was cut": truncated_h5,
    "another file with that name": wrong_magic,
    "BData without `/metadata`": no_metadata,
    "BData without `/dataset`": no_dataset,
    "metadata of another number of columns": columns_off,
    "a key that is not UTF-8": not_utf8,
    "damaged texts of variable length": damaged_texts,
    "a link to another file": linked,
    "an object array": object_array,
    "`stimulus_id` that went through float32": float32_ids,
    "a v7.3 `.mat` whose axes were not reversed": unreversed_axes,
    "a structure where an array is meant": structure,
    "a string array (text in double quotes) or a table of MATLAB": string_array,
    "a `.mat` file that was cut": truncated_mat,
    "a layer with other labels": unlike_layers,
    "a feature that is NaN": nan_feature,
    "a decoder that is NaN": nan_decoder,
    "a pickle in `.npy`": pickled,
    "a `.npy` that announces more than it holds": announcing_npy,
    "an image of more pixels than its bytes can hold": image_bomb,
    "an image that was cut": truncated_image,
    "GIFTI data that unpack to more than announced": gifti_bomb,
    "XML entities in GIFTI or CIFTI": gifti_entities,
    "NIfTI of fewer bytes than its header says": nifti_header,
    "a table that is not UTF-8": latin_table,
    "a table with NUL bytes": nul_table,
    "a row with a cell missing": ragged_table,
    "a `.caffemodel` that was cut": truncated_caffemodel,
}


def told() -> dict[str, str]:
    """Return what is wrong -> what one is told, from the page."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {wrong: text for wrong, text in rows if not set(text) <= set("-") and wrong != "what is wrong"}


def require_told(case: str, error: str, root: Path) -> None:
    said = " ".join(error.split()).replace(f"{root}/", "")
    pieces = [re.escape(piece.strip()) for piece in told()[case].split("...")]
    assert re.search(".*".join(pieces), said), said


@pytest.mark.parametrize("case", CASES)
def test_each_bad_file_is_told_as_the_page_says(case: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        CASES[case](tmp_path)
    require_told(case, str(caught.value), tmp_path)
    assert re.search(r"\.(h5|mat|npy|bmp|png|gii|nii|tsv|caffemodel)\b|fc6", str(caught.value))


@pytest.mark.parametrize("case", STUDIES)
def test_each_bad_study_is_told_as_the_page_says(case: str, tmp_path: Path, make_study) -> None:
    with pytest.raises((StudyError, DataError)) as caught:
        lab(make_study, tmp_path, **STUDIES[case])
    require_told(case, str(caught.value), tmp_path)


def test_constant_voxels_are_counted(tmp_path: Path, make_study, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        lab(make_study, tmp_path, x=CONSTANT_SAMPLES)
    require_told(CONSTANT, caplog.text, tmp_path)


def test_the_page_has_every_case_and_no_other() -> None:
    assert set(told()) == {*CASES, *STUDIES, CONSTANT}


def test_a_vmap_of_many_entries_is_read_in_bounded_time_and_memory(tmp_path: Path) -> None:
    """50,000 here; 10^6 were measured (benchmarks/LOG.md)."""

    def edit(file):
        file["vmap/Label/7.0"] = "a"
        group = file["vmap/Label"]
        for i in range(50_000):
            group.id.links.create_hard(f"{i + 100}.0".encode(), group.id, b"7.0")
        values = file["dataset"][()]
        values[:, 4] = [100, 101, 50_099]
        file["dataset"][...] = values

    path = edited(tmp_path, edit)
    began = time.perf_counter()
    tracemalloc.start()
    assert bdata.BData(path).label("Label") == ("a", "a", "a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20  # a list of all names alone takes 4 MB
    assert time.perf_counter() - began < 5


if __name__ == "__main__":  # what is said now, to write the page
    import tempfile

    found = {}
    for name, make in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                make(Path(folder))
            except DataError as error:
                found[name] = " ".join(str(error).split()).replace(f"{folder}/", "")
    print(json.dumps(found, indent=1, ensure_ascii=False))
