"""No pickle is read from a file: the package has no call that could, and hostile files are refused by its loaders."""

from __future__ import annotations

import ast
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import yaml

from hpc_recon.core import loading, units
from hpc_recon.core.cluster_file import load_cluster
from hpc_recon.core.errors import DataError, ReconError, StudyError
from hpc_recon.formats import labfiles
from hpc_recon.nets import weights
from hpc_recon.stores import arrays, images, layout, statistics

PACKAGE = Path(__file__).resolve().parents[2] / "hpc_recon"
FILES = sorted(PACKAGE.rglob("*.py"))

#: Names whose mere call reads code from a file, or unpacks an archive.
FORBIDDEN = {
    "pickle": {"load", "loads", "Unpickler", "_Unpickler"},
    "cPickle": {"load", "loads"},
    "cloudpickle": {"load", "loads"},
    "dill": {"load", "loads"},
    "joblib": {"load"},
    "marshal": {"load", "loads"},
    "shelve": {"open"},
    "pandas": {"read_pickle", "read_hdf"},
    "pd": {"read_pickle", "read_hdf"},
    "yaml": {"unsafe_load", "full_load", "load_all", "unsafe_load_all", "full_load_all", "Loader", "UnsafeLoader"},
    "shutil": {"unpack_archive"},
    "torch": {"jit"},
    "torch.hub": {"load", "load_state_dict_from_url", "download_url_to_file"},
    "builtins": {"eval", "exec"},
}
#: Modules that the package has no use for.
FORBIDDEN_IMPORTS = {"tarfile", "zipfile", "shelve", "marshal", "dill", "cloudpickle", "joblib"}
#: The one place that opens zips (`.npz`), whose entries it reads into memory; `extract` is looked for everywhere.
ZIPS = "formats/archives.py"


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"


def keyword(call: ast.Call, name: str) -> object:
    return next((getattr(k.value, "value", ast.unparse(k.value)) for k in call.keywords if k.arg == name), None)


def unsafe_reads(tree: ast.AST) -> list[str]:
    """Return every call and import of a module that might run or unpack what a file holds."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"line {node.lineno}: import {a.name}" for a in node.names if a.name in FORBIDDEN_IMPORTS]
        if isinstance(node, ast.ImportFrom):
            root = (node.module or "").split(".")[0]
            if root in FORBIDDEN_IMPORTS or any(a.name in FORBIDDEN.get(root, ()) for a in node.names):
                found.append(f"line {node.lineno}: from {node.module} import ...")
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN.get(dotted(node.value), ()):
            found.append(f"line {node.lineno}: {dotted(node)}")
        if isinstance(node, ast.Attribute) and node.attr in {"extract", "extractall"}:
            found.append(f"line {node.lineno}: {node.attr} of an archive")
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in {"np.load", "numpy.load"} and keyword(node, "allow_pickle") is not False:
            found.append(f"line {node.lineno}: np.load without allow_pickle=False")
        if name in {"np.save", "np.savez", "numpy.save"} and keyword(node, "allow_pickle") is not False:
            found.append(f"line {node.lineno}: {name} without allow_pickle=False")
        if name == "torch.load" and keyword(node, "weights_only") is not True:
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if name == "yaml.load" and keyword(node, "Loader") != "_UniqueKeyLoader":
            found.append(f"line {node.lineno}: yaml.load without the safe loader")
        if name in {"eval", "exec"}:
            found.append(f"line {node.lineno}: {name}")
        if name.endswith(("create_array", "open_array")) and "object" in ast.unparse(node):
            found.append(f"line {node.lineno}: an array of objects")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_call_that_could_run_what_a_file_holds(path: Path) -> None:
    found = unsafe_reads(ast.parse(path.read_text(encoding="utf-8")))
    if path.relative_to(PACKAGE).as_posix() == ZIPS:
        found = [line for line in found if not line.endswith(": import zipfile")]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.load(f)",
        "from pickle import loads",
        "import numpy as np\nnp.load('x.npy')",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=flag)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "import tarfile",
        "shutil.unpack_archive(f)",
        "open_npz(f).extractall(folder)",
        "zarr.create_array(store=s, dtype=object)",
        "pd.read_pickle(f)",
        "eval(text)",
    ],
)
def test_the_search_would_find(code: str) -> None:
    assert unsafe_reads(ast.parse(code))


def test_the_yaml_loader_is_a_safe_one() -> None:
    assert issubclass(loading._UniqueKeyLoader, yaml.SafeLoader)


# ---- hostile files through the package's own loaders ----------------------------------------------------------------


class Payload:
    """Its pickle makes a file where it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.mark), "w"))


@pytest.fixture
def mark(tmp_path: Path):
    """A file that exists as soon as the payload of a test ran; the test fails if it does."""
    path = tmp_path / "payload-ran"
    with open(tmp_path / "check.pkl", "wb") as stream:
        pickle.dump(Payload(path), stream)
    with open(tmp_path / "check.pkl", "rb") as stream:
        pickle.load(stream).close()  # the payload works: where it is unpickled, the file appears
    assert path.exists()
    path.unlink()
    yield path
    assert not path.exists(), "the payload ran"


def objects(mark: Path) -> np.ndarray:
    values = np.empty(2, dtype=object)
    values[:] = [Payload(mark), Payload(mark)]
    return values


def test_npy_of_objects(mark: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", objects(mark), allow_pickle=True)
    with pytest.raises(DataError, match=r"x\.npy holds Python objects, which are never loaded"):
        labfiles.read_array(tmp_path / "x.npy")


def test_npz_of_objects(mark: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", brain=objects(mark))
    with pytest.raises(DataError, match=r"x\.npz holds Python objects, which are never loaded"):
        labfiles.read_array(tmp_path / "x.npz", "brain")


def test_npz_that_is_a_pickle(mark: Path, tmp_path: Path) -> None:
    for name in ("x.npz", "x.npy"):
        (tmp_path / name).write_bytes(pickle.dumps(Payload(mark)))
        with pytest.raises(DataError, match="cannot be read"):
            labfiles.read_array(tmp_path / name, "brain" if name == "x.npz" else None)


def test_npz_whose_members_climb_out_of_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("../../escaped.npy", b"x")
    with pytest.raises(DataError, match=r"x\.npz cannot be read as \.npz"):
        labfiles.read_array(tmp_path / "x.npz", "../../escaped")
    assert not list(tmp_path.parent.glob("escaped*"))


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_file_of_units(mark: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"units{ending}"
    if ending == ".npy":
        np.save(path, objects(mark), allow_pickle=True)
    else:
        np.savez(path, layer=objects(mark))
    with pytest.raises(StudyError, match="units"):
        units.from_file(units.UnitFile(file=path), "layer", 10)


def test_mat_of_cells_and_objects(mark: Path, tmp_path: Path) -> None:
    cell = np.empty(1, dtype=object)
    cell[0] = np.frombuffer(pickle.dumps(Payload(mark)), np.uint8)
    scipy.io.savemat(tmp_path / "x.mat", {"brain": cell})
    with pytest.raises(DataError, match="neither numbers nor text"):
        labfiles.read_array(tmp_path / "x.mat", "brain")


def test_h5_of_variable_lengths_and_of_references(mark: Path, tmp_path: Path) -> None:
    pickled = np.frombuffer(pickle.dumps(Payload(mark)), np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as stream:
        ragged = stream.create_dataset("ragged", (1,), dtype=h5py.vlen_dtype(np.uint8))
        ragged[0] = pickled
        stream["opaque"] = np.void(pickled.tobytes())
        stream["blob"] = pickled
        stream.create_dataset("reference", (1,), dtype=h5py.ref_dtype)[0] = stream["ragged"].ref
        stream.create_dataset("nowhere", (2,), dtype=h5py.ref_dtype)
        stream["table"] = np.zeros(2, dtype=[("a", "f4"), ("b", "i4")])
    for key in ("ragged", "opaque", "reference", "nowhere", "table"):
        with pytest.raises(DataError, match=r"x\.h5"):
            labfiles.read_array(tmp_path / "x.h5", key)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("external", r"x\.h5 is stored outside the file"),
        ("virtual", r"x\.h5 is a virtual dataset, whose values lie in other files"),
        ("soft link", r"x\.h5 has no 'nothing'"),
        ("external link", r"x\.h5.*another file"),
    ],
)
def test_h5_that_leads_to_another_file(tmp_path: Path, kind: str, message: str) -> None:
    """Raw storage in another file would read any file of the user's as if it were brain data."""
    secret = tmp_path / "secret.txt"
    secret.write_bytes(bytes(range(64)))
    with h5py.File(tmp_path / "other.h5", "w") as stream:
        stream["brain"] = np.arange(8.0)
    with h5py.File(tmp_path / "x.h5", "w") as stream:
        stream["mine"] = np.arange(3)
        if kind == "external":
            stream.create_dataset("brain", (64,), dtype="u1", external=[(str(secret), 0, 64)])
        elif kind == "virtual":
            virtual = h5py.VirtualLayout((8,), dtype="f8")
            virtual[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "brain", shape=(8,))
            stream.create_virtual_dataset("brain", virtual)
        elif kind == "soft link":
            stream["brain"] = h5py.SoftLink("/nothing")
        else:
            stream["brain"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "brain")
    with pytest.raises(DataError, match=message):
        labfiles.read_array(tmp_path / "x.h5", "brain")


@pytest.mark.parametrize("nested", [False, True], ids=["whole", "inside a state dict"])
def test_weights_with_a_reducer(mark: Path, tmp_path: Path, nested: bool) -> None:
    content = {"features.0.weight": torch.zeros(1), "more": Payload(mark)} if nested else Payload(mark)
    torch.save(content, tmp_path / "vgg.pt")
    with pytest.raises(DataError, match=r"vgg\.pt"):
        weights.read_state(tmp_path / "vgg.pt")


def test_weights_that_are_a_plain_pickle(mark: Path, tmp_path: Path) -> None:
    (tmp_path / "vgg.pt").write_bytes(pickle.dumps({"features.0.weight": Payload(mark)}, protocol=2))
    with pytest.raises(DataError, match=r"vgg\.pt"):
        weights.read_state(tmp_path / "vgg.pt")


HOSTILE_YAML = (
    "!!python/object/apply:builtins.open [{mark}, w]",
    "name: !!python/object/apply:os.system ['touch {mark}']",
    "name: !!python/object/new:pathlib.PosixPath [{mark}]",
    "name: !!python/name:os.system",
    "? !!python/object/apply:builtins.open [{mark}, w]\n: 1",
)


@pytest.mark.parametrize("text", HOSTILE_YAML)
def test_study_and_cluster_files_with_python_objects(mark: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text.replace("{mark}", str(mark)))
    with pytest.raises(StudyError):
        loading.load_study(path)
    with pytest.raises(StudyError):
        load_cluster("mine", path)


def test_a_set_option_with_a_python_object(mark: Path) -> None:
    with pytest.raises(StudyError, match="not YAML"):
        loading.override({}, [f"name=!!python/object/apply:builtins.open [{mark}, w]"])


# ---- what lies in a workspace that others can write -----------------------------------------------------------------


def test_a_stored_picture_of_objects(mark: Path, tmp_path: Path) -> None:
    from hpc_recon.core import receipts
    from hpc_recon.core.tiles import Group, Tile

    path = tmp_path / "images" / "a.png"
    files = images.write_picture(path, np.zeros((2, 2, 3)))
    np.save(path.with_suffix(".npy"), objects(mark), allow_pickle=True)
    receipts.write(tmp_path, Tile(Group("reconstruct", ("a",)), "reconstruct", 0, 1), files, {})
    with pytest.raises(ReconError, match=r"a\.npy cannot be read"):
        images.read_picture(tmp_path, path, made_by="reconstruct/a", size=(2, 2))


def test_stored_statistics_of_objects(mark: Path, tmp_path: Path) -> None:
    from hpc_recon.core import receipts
    from hpc_recon.core.tiles import Group, Tile

    maker = statistics.made_by("S1", "VC")
    files = statistics.write(tmp_path, "S1", "VC", {"gram": np.zeros(2)})
    np.save(files[0], objects(mark), allow_pickle=True)
    verb, *path = maker.split("/")
    receipts.write(tmp_path, Tile(Group(verb, tuple(path)), "statistics", 0, 1), files, {})
    for mapped in (False, True):
        with pytest.raises(ReconError, match=r"gram\.npy has the length .* other bytes than were written"):
            statistics.read(tmp_path, "S1", "VC", "gram", mapped=mapped)


def test_an_array_exchanged_for_one_of_pickled_objects(mark: Path, tmp_path: Path) -> None:
    """zarr's older format has a codec that unpickles; the arrays of a workspace are of the newer one only."""
    import json

    from numcodecs import Pickle

    ref = layout.features("net", "fc")
    folder = tmp_path / ref.path
    arrays.create(
        tmp_path, ref, shape=(2, 4), dtype="float32", geometry=layout.whole_geometry(2, 4), made_by="extract/net/fc"
    )
    old = {"zarr_format": 2, "shape": [2, 4], "chunks": [2, 4], "dtype": "|O", "fill_value": None, "order": "C"}
    (folder / ".zarray").write_text(
        json.dumps({**old, "compressor": None, "filters": [{"id": "pickle", "protocol": 5}]})
    )
    (folder / "0.0").write_bytes(Pickle().encode(objects(mark)))
    with pytest.raises(ReconError, match="receipt"):
        arrays.read(tmp_path, ref)
    (folder / "zarr.json").unlink()
    with pytest.raises(ReconError, match="does not exist"):
        arrays.read(tmp_path, ref)


@pytest.mark.parametrize("codec", ["numcodecs.pickle", "pickle", "numcodecs.json2", "object"])
def test_zarr_has_no_codec_of_objects_for_our_format(mark: Path, tmp_path: Path, codec: str) -> None:
    import json

    import zarr

    ref = layout.features("net", "fc")
    arrays.create(
        tmp_path, ref, shape=(2, 4), dtype="float32", geometry=layout.whole_geometry(2, 4), made_by="extract/net/fc"
    )
    path = tmp_path / ref.path / "zarr.json"
    content = json.loads(path.read_text())
    content["codecs"] = [{"name": codec, "configuration": {}}]
    path.write_text(json.dumps(content))
    (tmp_path / ref.path / "c" / "0").mkdir(parents=True)
    (tmp_path / ref.path / "c" / "0" / "0").write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises((KeyError, ValueError, TypeError, zarr.errors.BaseZarrError)):
        np.asarray(zarr.open_array(tmp_path / ref.path, mode="r", zarr_format=3)[:])
    with pytest.raises(ReconError):
        arrays.read(tmp_path, ref)
