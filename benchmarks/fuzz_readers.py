"""Sound files for `fuzz_files.py`, small and with every construct a reader knows, and what is read of each.

A reader is two functions: `make(root)` writes its files into an empty folder, `attempts(root)` returns what is read of
them: functions without arguments, each tried for itself.
"""

from __future__ import annotations

from functools import partial

import h5py
import nibabel as nib
import numpy as np
import scipy.io
import scipy.sparse
from nibabel import cifti2
from PIL import Image

from hpc_recon.formats import (
    betas,
    bids,
    caffemodel,
    decoder_trees,
    feature_trees,
    labfiles,
    matlab,
    selectors,
    sparse,
    stimulus_ids,
    surfaces,
    volumes,
)  # fmt: skip
from hpc_recon.formats.bdata import BData
from hpc_recon.formats.bdata_write import Row, write_bdata

X = np.arange(12.0).reshape(3, 4)
MASK = np.zeros((3, 4, 2), dtype=bool)
MASK[1:, 1:3] = True
GRID = volumes.Mask("mask", volumes.Grid(MASK.shape, np.eye(4)), MASK)


def make_bdata(root):
    rng = np.random.default_rng(0)
    columns = {
        "VoxelData": rng.standard_normal((6, 8)),
        "Run": np.arange(6.0),
        "name": np.array([1.0, 2, 3, 1, 2, np.nan]),
    }
    rows = {"ROI_V1": Row("VoxelData", np.arange(8) < 4), "voxel_x": Row("VoxelData", np.arange(8.0))}
    vmaps, header = {"name": {1.0: "a", 2.0: "b", 3.0: "c"}}, {"made_by": "fuzz"}
    write_bdata(root / "a.h5", columns, metadata=rows, vmaps=vmaps, header=header)
    with h5py.File(root / "a.h5", "r") as source, h5py.File(root / "b.h5", "w", libver="latest") as other:
        for name in ("dataset", "metadata", "vmap"):
            source.copy(name, other)
        key, text = other["metadata/key"][()], h5py.string_dtype()
        del other["metadata/key"]
        other.create_dataset("metadata/key", data=key, dtype=text, chunks=(2,), compression="gzip", shuffle=True)


def read_bdata(path):
    found = BData(path)
    _ = found.header
    for key in dict.fromkeys(found.keys):
        found.value(key)
        found.read(f"'{key}'" if "'" not in key else None, dtype=np.float64)
    for key in found.vmaps:
        found.label(key)


def make_mat5(root):
    content = {
        "X": X, "small": X.astype(np.uint8), "cells": np.array([["image one"], ["b"]], dtype=object),
        "chars": np.array(["abc", "de"]), "sparse": scipy.sparse.csc_matrix(X), "s": {"inner": {"X": X}},
        "flag": X > 3, "z": X + 1j, "name": "ä word",
    }  # fmt: skip
    scipy.io.savemat(root / "a.mat", content)
    scipy.io.savemat(root / "b.mat", content, do_compression=True)


def make_mat73(root):
    with h5py.File(root / "a.mat", "w", userblock_size=512) as stream:
        stream["X"] = X.T
        stream["X"].attrs["MATLAB_class"] = np.bytes_("double")
        stream["s/inner/X"] = X.T
        items = [stream.create_dataset(f"#refs#/{i}", data=np.array([[97], [98]], np.uint16)) for i in range(2)]
        for item in items:
            item.attrs["MATLAB_class"] = np.bytes_("char")
        stream.create_dataset("cells", data=np.array([[i.ref for i in items]], dtype=h5py.ref_dtype))
        stream["cells"].attrs["MATLAB_class"] = np.bytes_("cell")
        stream["chars"] = np.array([[97, 98], [99, 100]], np.uint16)
        stream["chars"].attrs["MATLAB_class"] = np.bytes_("char")
        stream["name"] = np.array([[97], [98]], np.uint16)
        stream["name"].attrs["MATLAB_class"] = np.bytes_("char")
        stream["small"] = np.array([0, 0], np.uint64)
        stream["small"].attrs["MATLAB_empty"] = np.uint8(1)
        stream["sparse"] = np.zeros((4, 3))
        stream["flag"] = np.array([[1]], np.uint8)
        stream["flag"].attrs["MATLAB_class"] = np.bytes_("logical")
    with open(root / "a.mat", "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    matlab.write_v73(root / "b.mat", {"X": X, "flag": X > 3, "small": np.zeros((0, 3))})


def read_mat(root):
    for path in sorted(root.glob("*.mat")):
        for key in ("X", "cells", "chars", "sparse", "s.inner.X", "small", "flag", "name", "none"):
            yield partial(labfiles.read_array, path, key)
        for key in ("s", "cells", "z", "name"):
            yield partial(matlab.read_value, path, key)


def make_h5(root):
    for name, version in (("a.h5", "earliest"), ("b.h5", "latest")):
        with h5py.File(root / name, "w", libver=version) as stream:
            stream["brain/X"] = X
            stream["words"] = ["ä", "b"]
            stream["alias"] = h5py.SoftLink("/brain/X")
            stream.create_dataset("packed", data=X, chunks=(2, 2), compression="gzip", shuffle=True, fletcher32=True)
            stream.create_dataset("fixed", data=np.array([b"a", b"bc"]))


def make_npz(root):
    np.savez(root / "a.npz", X=X, words=np.array(["ä", "b"]), small=X.astype(np.int8))
    np.savez_compressed(root / "b.npz", X=X, words=np.array(["ä", "b"]))


def make_npy(root):
    np.save(root / "a.npy", X)
    np.save(root / "b.npy", np.asfortranarray(X.astype(">f4")))


def make_features(root):
    rng = np.random.default_rng(1)
    for layer, shape in (("conv1_1", (2, 3, 3)), ("fc6", (5,))):
        for i in range(2):
            feature_trees.write_feature(root / "true", layer, f"n{i}", rng.standard_normal(np.prod(shape)), shape)
            feature_trees.write_decoded(root / "dec", layer, "S1", "VC", f"n{i}", np.ones(np.prod(shape)), shape)
    matlab.write_v73(root / "true/fc6/n1.mat", {"feat": np.ones((1, 5), np.float32)})
    scipy.io.savemat(root / "index.mat", {"index": {"conv1_1": np.arange(3), "fc6": np.array([0, 4])}})


def read_features(root):
    for layer in ("conv1_1", "fc6"):
        yield lambda layer=layer: feature_trees.FeatureTree(root / "true").read(layer)
        yield lambda layer=layer: feature_trees.DecodedTree(root / "dec").read(layer, "S1", "VC")
    yield partial(feature_trees.read_index, root / "index.mat")


def make_sparse(root):
    sparse.write_sparse(root / "a.mat", "x", sparse.from_dense(X - 3))

    def fill(stream):
        group = stream.create_group("x")
        for name, value in (
            (sparse.MARKER, True),
            ("index", [[0, 1], [2, 3]]),
            ("value", [1.0, 2.0]),
            ("shape", [3, 4]),
        ):
            matlab.put_array(group, name, np.array(value))
        matlab.put_array(group, "background", np.array(0.0))

    matlab.write_hdf5(root / "b.mat", fill)


def read_sparse(root):
    for name in ("a.mat", "b.mat"):
        yield partial(sparse.read_either, root / name, "x")
        yield partial(sparse.read_dense, root / name, "x")


def make_decoders(root):
    rng = np.random.default_rng(2)
    voxel = np.array([[0, 3], [1, 2], [0, 1], [2, 4]] * 2, dtype=np.uint32)
    rows = decoder_trees.DecoderRows(0, voxel, rng.standard_normal((8, 2)).astype(np.float32), np.ones(8, np.float32))
    decoder_trees.write_rows(root, rows, 5, (2, 2, 2))
    ones = np.ones(5, np.float32), np.ones(8, np.float32)
    decoder_trees.write_scaling(root, decoder_trees.Scaling(ones[0], ones[0], ones[1], ones[1], (2, 2, 2)))


def make_nifti(root):
    rng = np.random.default_rng(3)
    for name, shape, dtype in (("run", (3, 4, 2, 5), np.int16), ("mask", MASK.shape, np.uint8)):
        values = rng.integers(1, 200, shape).astype(dtype) if name == "run" else MASK.astype(dtype)
        for kind, ending in ((nib.Nifti1Image, ".nii"), (nib.Nifti2Image, "2.nii.gz")):
            nib.save(kind(values, np.eye(4)), root / f"{name}{ending}")


def read_nifti(root):
    for ending in (".nii", "2.nii.gz"):
        yield lambda ending=ending: volumes.open_series(root / f"run{ending}", GRID).read()
        yield lambda ending=ending: volumes.read_mask(root / f"mask{ending}")
        yield lambda ending=ending: volumes.read_atlas(root / f"mask{ending}")


def make_gifti(root):
    values = np.arange(10, dtype=np.float32)
    kinds = nib.gifti
    arrays = {"a": kinds.GiftiDataArray(values), "b": kinds.GiftiDataArray(values, encoding="B64BIN")}
    arrays["c"] = kinds.GiftiDataArray(values, encoding="ASCII")
    for name, array in arrays.items():
        nib.save(nib.GiftiImage(darrays=[array, array]), root / f"{name}.func.gii")
    table = kinds.GiftiLabelTable()
    for number, name in ((0, "???"), (3, "V1")):
        table.labels.append(kinds.GiftiLabel(number, 0.1, 0.2, 0.3, 1.0))
        table.labels[-1].label = name
    labels = kinds.GiftiDataArray(np.array([0, 3, 3], np.int32))
    nib.save(nib.GiftiImage(darrays=[labels], labeltable=table), root / "d.label.gii")


def read_gifti(root):
    for name in "abc":
        yield partial(surfaces.read_gifti, root / f"{name}.func.gii")
    yield partial(surfaces.read_gifti_labels, root / "d.label.gii")


def make_cifti(root):
    inside = np.zeros((3, 3, 3), bool)
    inside[1, 1] = True
    axis = cifti2.BrainModelAxis.from_surface(np.arange(0, 20, 2), 30, name="CortexLeft")
    axis += cifti2.BrainModelAxis.from_mask(inside, affine=np.eye(4), name="thalamus_left")
    values = np.arange(4 * len(axis), dtype=np.float32).reshape(4, -1)
    nib.save(nib.Cifti2Image(values, (cifti2.SeriesAxis(0, 0.8, 4), axis)), root / "a.dtseries.nii")
    label = cifti2.LabelAxis(["parcels"], [{0: ("???", (0, 0, 0, 0)), 1: ("V1", (1, 0, 0, 1))}])
    nib.save(nib.Cifti2Image((values[:1] % 2).astype(np.float32), (label, axis)), root / "b.dlabel.nii")


def read_cifti(root):
    def parcels():
        columns = surfaces.open_cifti(root / "a.dtseries.nii").grayordinates
        _, _, own = surfaces.read_dense_labels(root / "b.dlabel.nii")
        own.require_same(columns)

    return [lambda: surfaces.open_cifti(root / "a.dtseries.nii").read(), parcels]


def make_tables(root):
    (root / "events.tsv").write_text("onset\tduration\tstim_file\n0.0\t8\ta.png\n8.5\tn/a\tb.png\n16\t8\tä.png\n")
    header = "\t".join(bids.MOTION)
    (root / "confounds.tsv").write_text(f"{header}\n" + "\t".join(["n/a"] * 6) + "\n" + "\t".join(["0.25"] * 6) + "\n")
    (root / "bold.json").write_text('{"RepetitionTime": 2.0, "SliceTiming": [0, 1.0], "x": {"y": null}}\n')
    (root / "dseg.tsv").write_text("index\tname\n1\tV1\n2\tV2\n")
    (root / "labels.txt").write_text("1 V1\n2, V2\n")
    (root / "trials.txt").write_text("a\nb\nä\n")


def read_tables(root):
    yield partial(bids.read_events, root / "events.tsv")
    yield partial(bids.read_confounds, root / "confounds.tsv")
    yield partial(bids.read_repetition_time, root / "bold.json")
    yield partial(volumes.read_label_table, root / "dseg.tsv")
    yield partial(volumes.read_label_table, root / "labels.txt")
    yield partial(betas.read_trials, root / "trials.txt", 3)


def make_betas(root):
    values = np.arange(5 * MASK.size, dtype=np.int16).reshape(5, *MASK.shape[::-1])
    with h5py.File(root / "a.hdf5", "w") as stream:
        stream["betas"] = values
    with h5py.File(root / "b.hdf5", "w", libver="latest") as stream:
        stream.create_dataset("betas", data=values.T, chunks=(3, 4, 2, 1), compression="gzip")


def read_betas(root):
    yield lambda: betas.open_betas(root / "a.hdf5", GRID, scale=300).read()
    yield lambda: betas.open_betas(root / "b.hdf5", GRID, axes="as written").read()


def _part(number, content):
    return bytes(caffe_varint(number * 8 + 2)) + bytes(caffe_varint(len(content))) + content


def caffe_varint(value):
    while value > 127:
        yield value & 127 | 128
        value >>= 7
    yield value


def make_caffe(root):
    data = np.arange(6, dtype="<f4").tobytes()
    blob = _part(7, _part(1, b"\x02\x03")) + _part(5, data)
    legacy = bytes([8, 1, 16, 1, 24, 2, 32, 3]) + b"".join(b"\x2d" + data[i : i + 4] for i in range(0, 24, 4))
    (root / "a.caffemodel").write_bytes(
        _part(1, b"net") + _part(100, _part(1, b"conv1") + _part(7, blob) + _part(7, legacy))
    )
    (root / "b.caffemodel").write_bytes(_part(2, _part(4, b"conv1") + _part(6, blob)) * 1 + _part(2, _part(4, b"x")))


def read_caffe(root):
    def model(path):
        for blobs in caffemodel.open_caffemodel(path).layers.values():
            for blob in blobs:
                blob.read()

    for name in "ab":
        yield partial(model, root / f"{name}.caffemodel")


def make_images(root):
    rgb = np.random.default_rng(4).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(rgb)
    for ending in ("png", "jpg", "bmp", "webp", "tif"):
        picture.save(root / f"a.{ending}", **({"exif": exif} if ending in ("png", "jpg", "webp", "tif") else {}))
    picture.convert("RGBA").save(root / "b.png")
    picture.convert("P").save(root / "c.png", transparency=3)
    picture.save(root / "b.jpg", progressive=True, quality=30)
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 200).save(root / "d.png")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        picture.save(root / f"{compression}.tif", compression=compression)


def read_images(root):
    return [partial(labfiles.read_image, path) for path in sorted(root.iterdir())]


def make_std(root):
    scipy.io.savemat(root / "a.mat", {"conv1_1": np.float32([[54.19]]), "fc6": np.array([[1.0, 3.0]])})
    scipy.io.savemat(root / "b.mat", {"conv1_1": np.float32([[54.19]])}, do_compression=True)


def read_std(root):
    from hpc_recon.nets import reference

    return [partial(reference.read_std_file, root / name) for name in ("a.mat", "b.mat")]


def make_selectors(root):
    texts = ("ROI_V1 = 1 | ROI_V2 = 1", "ROI_* & (voxel_x - 'a-b') + ((ROI_V1))", '"ROI V1" = 0')
    for i, text in enumerate(texts):
        (root / f"{i}.txt").write_text(text)
    (root / "names.txt").write_text("sub-01_ses-p2_task-x_run-03_bold.nii.gz")
    (root / "ids.bin").write_bytes(np.array([1518878.010042, 1443537.0, 3.0]).tobytes())


def read_selectors(root):
    keys = ("ROI_V1", "ROI_V2", "ROI V1", "voxel_x", "a-b", "VoxelData")
    masks = {key: np.random.default_rng(i).random(9) < 0.5 for i, key in enumerate(keys)}
    for path in sorted(root.glob("[0-9].txt")):
        text = path.read_bytes().decode("utf-8", "replace")
        yield partial(selectors.select_columns, text, keys, masks.__getitem__, reading="agreed")
    yield partial(bids.entities_of, root / "names.txt" / (root / "names.txt").read_bytes().decode("utf-8", "replace"))
    raw = (root / "ids.bin").read_bytes()
    ids = np.frombuffer(raw[: len(raw) // 8 * 8])
    yield partial(stimulus_ids.stimulus_labels, ids)
    yield partial(stimulus_ids.image_names, ids, ["a", "b", "c"])


def _arrays(pattern, keys):
    def attempts(root):
        return [partial(labfiles.read_array, path, key) for path in sorted(root.glob(pattern)) for key in keys]

    return attempts


#: name -> (make, attempts, whether errors must name a file)
READERS = {
    "bdata": (make_bdata, lambda root: [partial(read_bdata, root / "a.h5"), partial(read_bdata, root / "b.h5")], True),
    "mat5": (make_mat5, read_mat, True),
    "mat73": (make_mat73, read_mat, True),
    "h5": (make_h5, _arrays("*.h5", ("brain/X", "words", "alias", "packed", "fixed", "none")), True),
    "npz": (make_npz, _arrays("*.npz", ("X", "words", "small")), True),
    "npy": (make_npy, _arrays("*.npy", (None,)), True),
    "features": (make_features, read_features, True),
    "sparse": (make_sparse, read_sparse, True),
    "decoders": (
        make_decoders,
        lambda root: [lambda: list(decoder_trees.read_rows(root)), partial(decoder_trees.read_scaling, root)],
        True,
    ),
    "nifti": (make_nifti, read_nifti, True),
    "gifti": (make_gifti, read_gifti, True),
    "cifti": (make_cifti, read_cifti, True),
    "tables": (make_tables, read_tables, True),
    "betas": (make_betas, read_betas, True),
    "caffe": (make_caffe, read_caffe, True),
    "images": (make_images, read_images, True),
    "std": (make_std, read_std, True),
    "selectors": (make_selectors, read_selectors, False),
}
