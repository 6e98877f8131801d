"""ROIs in images: masks, atlases, label files and parcels, against loops over the voxels' places."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import ingest
from hpc_recon.core.errors import StudyError
from hpc_recon.stores import brain, positions, shapes

from .conftest import AFFINE, N_LEFT, N_RIGHT, SHAPE, dense_axis, save_dense_labels, save_labels, save_volume

NAMES = {1: "V1", 2: "V2", 5: "FFA"}


@pytest.fixture
def masks(bold_lab, make_study, run_verb):
    """Return a function that ingests a lab with ROIs and returns each mask, and the lab."""

    def make(kind, rois, prepare=None):
        lab = bold_lab(kind, runs=1, sessions=1)
        if prepare is not None:
            prepare(lab)
        study = make_study(lab.study(rois=rois))
        run_verb(ingest, study)
        return {name: brain.read_roi(study.workspace, "S1", name) for name in rois}, lab, study

    return make


def atlas():
    labels = np.random.default_rng(11).choice([0, 1, 2, 5], SHAPE)
    labels[0, 0, 0] = -1  # NSD marks voxels without data so
    return labels


def write_volumes(lab):
    save_volume(lab.root / "lab" / "atlas.nii.gz", atlas().astype(np.int16))
    save_volume(lab.root / "lab" / "v1.nii.gz", (atlas() == 1).astype(np.uint8))
    save_volume(lab.root / "lab" / "p.nii.gz", np.where(atlas() == 1, 0.8, 0.3).astype(np.float32))
    (lab.root / "lab" / "names.tsv").write_text("index\tname\n1\tV1\n2\tV2\n5\tFFA\n")


def test_masks_and_atlases_on_the_grid_are_combined(masks):
    image = {"atlas": "lab/atlas.nii.gz"}
    named = image | {"table": "lab/names.tsv"}
    rois = {
        "V1": {"mask": "lab/v1.nii.gz"},
        "P1": {"mask": "lab/p.nii.gz", "above": 0.5},
        "early": named | {"labels": ["V1", "V2"]},
        "FFA": image | {"labels": 5},
        "all": image,
        "rest": "all - early",
    }
    found, lab, _ = masks("volume", rois, write_volumes)
    values = [atlas()[i, j, k] for i, j, k in np.argwhere(lab.mask)]
    oracle = {"V1": [1], "P1": [1], "early": [1, 2], "FFA": [5], "all": [1, 2, 5], "rest": [5]}
    for name, numbers in oracle.items():
        assert found[name].tolist() == [value in numbers for value in values], name


def test_labels_of_hemispheres(masks):
    left, right = np.arange(N_LEFT) % 3, np.arange(N_RIGHT) % 2 * 5

    def write(lab):
        save_labels(lab.root / "lab" / "lh.label.gii", left, {0: "???", **NAMES})
        save_labels(lab.root / "lab" / "rh.label.gii", right, {0: "???", **NAMES})

    files = {"left": "lab/lh.label.gii", "right": "lab/rh.label.gii"}
    found, _, _ = masks(
        "gifti", {"V1": files | {"labels": ["V1"]}, "FFA": files | {"labels": [5]}, "all": files}, write
    )
    both = np.concatenate([left, right])
    for name, numbers in {"V1": [1], "FFA": [5], "all": [1, 2, 5]}.items():
        assert found[name].tolist() == np.isin(both, numbers).tolist()


def test_labels_of_hemispheres_fit_grayordinates_of_the_same_surfaces(masks):
    left, right = np.arange(N_LEFT) % 3, np.arange(N_RIGHT) % 2 * 5

    def write(lab):
        save_labels(lab.root / "lab" / "lh.label.gii", left, {0: "???", **NAMES})
        save_labels(lab.root / "lab" / "rh.label.gii", right, {0: "???", **NAMES})

    files = {"left": "lab/lh.label.gii", "right": "lab/rh.label.gii"}
    found, _, _ = masks("cifti", {"V2": files | {"labels": ["V2"]}}, write)
    assert found["V2"].tolist() == [x == 2 for x in left[:24]] + [False] * 33


def test_parcels_of_the_cortex_alone_and_a_mask_of_the_nucleus(masks):
    def write(lab):
        cortex = dense_axis()[:54]  # files of parcels have the cortex alone, runs the nuclei too
        labels = np.arange(54) % 4
        save_dense_labels(lab.root / "lab" / "p.dlabel.nii", labels, {1: "V1", 2: "V2", 3: "FFA"}, cortex)
        inside = np.zeros(SHAPE, np.uint8)
        inside[2, 3, 1] = 1
        save_volume(lab.root / "lab" / "nucleus.nii.gz", inside)

    rois = {
        "V1": {"atlas": "lab/p.dlabel.nii", "labels": ["V1"]},
        "N": {"mask": "lab/nucleus.nii.gz"},
        "both": "V1 + N",
    }
    found, _, study = masks("cifti", rois, write)
    assert found["V1"].tolist() == [i % 4 == 1 for i in range(54)] + [False] * 3
    assert np.flatnonzero(found["N"]).tolist() == [55]
    assert found["both"].tolist() == (found["V1"] | found["N"]).tolist()
    assert positions.read_positions(study.workspace, "S1").ijk[55].tolist() == [2, 3, 1]


def shifted(lab):
    write_volumes(lab)
    other = AFFINE.copy()
    other[0, 3] += 1
    save_volume(lab.root / "lab" / "v1.nii.gz", (atlas() == 1).astype(np.uint8), other)


def smaller(lab):
    write_volumes(lab)
    save_volume(lab.root / "lab" / "atlas.nii.gz", atlas()[:-1].astype(np.int16))


BAD = {
    "another affine": (
        "volume",
        {"mask": "lab/v1.nii.gz"},
        shifted,
        r"rois\.R: .*v1\.nii\.gz and the samples are",
    ),
    "another shape": (
        "volume",
        {"atlas": "lab/atlas.nii.gz"},
        smaller,
        r"not on one grid: shape \(4, 6, 4\) and",
    ),
    "unknown name": (
        "volume",
        {"atlas": "lab/atlas.nii.gz", "table": "lab/names.tsv", "labels": ["V3"]},
        write_volumes,
        r"rois\.R: .*atlas\.nii\.gz has no label 'V3'; known: FFA, V1, V2 \(it has 1 V1, 2 V2, 5 FFA\)",
    ),
    "unknown number": (
        "volume",
        {"atlas": "lab/atlas.nii.gz", "labels": [3]},
        write_volumes,
        r"has no label 3 \(it has 1 1, 2 2, 5 5\)",
    ),
    "several values": ("volume", {"mask": "lab/atlas.nii.gz"}, write_volumes, r"must have one value besides 0"),
    "a volume for vertices": (
        "gifti",
        {"mask": "lab/v1.nii.gz"},
        write_volumes,
        r"the samples are vertices",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_images_that_do_not_fit_are_refused(bold_lab, make_study, case):
    kind, roi, prepare, message = BAD[case]
    lab = bold_lab(kind, runs=1, sessions=1)
    prepare(lab)
    study = make_study(lab.study(rois={"R": roi}))
    with pytest.raises(StudyError, match=message):
        ingest.plan(study, shapes.read(study))
    assert not study.workspace.exists()


def test_surfaces_that_do_not_fit_are_refused(bold_lab, make_study):
    lab = bold_lab("gifti", runs=1, sessions=1)
    files = {"left": "lab/lh.label.gii", "right": "lab/rh.label.gii"}
    study = make_study(lab.study(rois={"R": files | {"labels": ["V1"]}}))

    def error(n_left, names):
        save_labels(lab.root / "lab" / "lh.label.gii", np.zeros(n_left), names)
        save_labels(lab.root / "lab" / "rh.label.gii", np.zeros(N_RIGHT), {0: "???", **NAMES})
        with pytest.raises(StudyError) as caught:
            ingest.plan(study, shapes.read(study))
        return str(caught.value)

    assert "lh.label.gii has 41 vertices, but the surface of the samples 40; resample one" in error(41, NAMES)
    assert "the label 1 is 'MT' in" in error(40, {0: "???", 1: "MT"})
    assert "rois.R has no voxel: none of the 70 of the samples is in" in error(40, NAMES)


def test_a_mask_outside_the_samples_has_no_voxel(bold_lab, make_study):
    lab = bold_lab(runs=1, sessions=1)
    outside = np.zeros(SHAPE, np.uint8)
    outside[tuple(np.argwhere(~lab.mask)[0])] = 1
    save_volume(lab.root / "lab" / "out.nii.gz", outside)
    study = make_study(lab.study(rois={"R": {"mask": "lab/out.nii.gz"}}))
    with pytest.raises(StudyError, match=r"rois\.R has no voxel: none of the \d+ of the samples is in .*out\.nii\.gz"):
        ingest.plan(study, shapes.read(study))


def test_without_positions_an_image_is_refused(tmp_path, make_study):
    np.savez(tmp_path / "x.npz", x=np.eye(4), images=np.random.default_rng(0).random((4, 8, 8)))
    save_volume(tmp_path / "v1.nii.gz", np.ones(SHAPE, np.uint8))
    study = make_study(
        simulate=None,
        datasets={"training": {"role": "training"}},
        ingest={
            "subjects": {
                "S1": {
                    "datasets": {"training": {"samples": {"file": "x.npz", "key": "x"}}},
                    "rois": {"V1": {"mask": "v1.nii.gz"}},
                }
            },
            "stimuli": {"training": {"array": {"file": "x.npz", "key": "images"}, "scale": 1.0}},
        },
    )
    with pytest.raises(StudyError, match=r"rois\.V1 is an image, but it is not known where the voxels lie; give"):
        ingest.plan(study, shapes.read(study))
