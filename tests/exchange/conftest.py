"""A small lab with simulated BOLD whose truth is known: volumes, GIFTI or CIFTI, named as fMRIPrep names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel import cifti2
from PIL import Image

TR = 2.0
SHAPE = (5, 6, 4)
AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2.5, -72], [0, 0, 0, 1]])
N_LEFT, N_RIGHT = 40, 30
LEFT, RIGHT = "CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT"
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
#: Nothing is regressed out or clipped, so that a sample is exactly the response that was planted.
EXACT = {"linear_trend": False, "despike_sd": None, "confounds": []}


def dense_axis() -> cifti2.BrainModelAxis:
    """24 of 40 vertices left, 30 of 30 right, 3 voxels of a nucleus."""
    left = cifti2.BrainModelAxis.from_surface(np.arange(0, 24), N_LEFT, name="CortexLeft")
    right = cifti2.BrainModelAxis.from_surface(np.arange(N_RIGHT), N_RIGHT, name="CortexRight")
    nucleus = np.zeros(SHAPE, bool)
    nucleus[2, 3, :3] = True
    return left + right + cifti2.BrainModelAxis.from_mask(nucleus, affine=AFFINE, name="thalamus_left")


def save_labels(path: Path, labels: np.ndarray, names: dict[int, str]) -> Path:
    table = nib.gifti.GiftiLabelTable()
    for number, name in names.items():
        label = nib.gifti.GiftiLabel(number)
        label.label = name
        table.labels.append(label)
    nib.save(nib.GiftiImage(darrays=[nib.gifti.GiftiDataArray(labels.astype(np.int32))], labeltable=table), path)
    return path


def save_dense_labels(path: Path, labels: np.ndarray, names: dict[int, str], axis: Any) -> Path:
    table = {0: ("???", (0, 0, 0, 0)), **{number: (name, (1, 0, 0, 1)) for number, name in names.items()}}
    first = cifti2.LabelAxis(["parcels"], [table])
    nib.save(nib.Cifti2Image(labels[None].astype(np.int32), (first, axis)), path)
    return path


def save_volume(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE, *, tr_s: float = TR) -> Path:
    image = nib.Nifti1Image(values, affine)
    if values.ndim == 4:
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = tr_s
    nib.save(image, path)
    return path


class BoldLab:
    """Two sessions of training runs, one test run and one imagery run of a subject, with known responses.

    `response[label]` (n_voxels,) percent; a block's response is its window of volumes, 4 s later, without any shape.
    Voxels are in the order of the samples. `noise` is its SD in percent.
    """

    def __init__(
        self, root: Path, kind: str = "volume", *, noise: float = 0.0, labels: int = 6, runs: int = 2, sessions: int = 2
    ) -> None:
        self.root, self.kind, self.noise = root, kind, noise
        self.rng = np.random.default_rng(3)
        self.mask = self.rng.random(SHAPE) < 0.3
        self.n_voxels = {"volume": int(self.mask.sum()), "gifti": N_LEFT + N_RIGHT, "cifti": 57}[kind]
        self.training = [f"t{i:02d}" for i in range(labels)]
        self.test = ["n01", "n02", "n03"]
        self.response = {x: self.rng.normal(size=self.n_voxels) for x in (*self.training, *self.test)}
        self.level = 800 + 100 * self.rng.random(self.n_voxels)
        (root / "lab").mkdir()
        for folder, names in (("training", self.training), ("test", self.test)):
            (root / "lab" / folder).mkdir()
            for i, name in enumerate(names):
                pixels = np.full((16, 16, 3), 9 * i + len(folder), np.uint8)
                Image.fromarray(pixels).save(root / "lab" / folder / f"{name}.png")
        save_volume(root / "lab" / "mask.nii.gz", self.mask.astype(np.uint8))
        self.shown: dict[tuple[str, str, int], list[str]] = {}
        for s in range(1, sessions + 1):
            for r in range(1, runs + 1):
                order = [str(x) for x in self.rng.permutation(self.training)]
                self.write_run(f"training{s:02d}", "perception", r, [*order[:2], order[1], *order[2:]], 4)
        self.write_run("test01", "perception", 1, [*self.test, *self.test[::-1]][:5], 6)
        self.write_run("imagery01", "imagery", 1, self.test, 8)

    def write_run(self, session: str, task: str, run: int, labels: list[str], n_window: int) -> None:
        """Blocks of as many volumes as a window, from 32 s on; then 8 s of rest."""
        self.shown[session, task, run] = labels
        n_volumes = 16 + n_window * len(labels) + 4
        percent = self.noise * self.rng.normal(size=(n_volumes, self.n_voxels))
        lines = ["onset\tduration\ttrial_type\tstim_file\tevaluation", "0\t32\trest\tn/a\tn/a"]
        for block, label in enumerate(labels):
            first = 16 + n_window * block
            percent[first + 2 : first + 2 + n_window] += self.response[label]
            lines.append(f"{TR * first:g}\t{TR * n_window:g}\tstimulus\tphotos/{label}.JPEG\t{block % 5 + 1}")
        self.save(session, task, run, (self.level * (1 + percent / 100)).astype(np.float32))
        raw = self.folder("raw", session)
        (raw / f"{self.name(session, task, run)}_events.tsv").write_text("\n".join(lines) + "\n")
        motion = self.rng.normal(size=(n_volumes, 6)).cumsum(axis=0) / 50
        rows = ["\t".join(f"{x:.6f}" for x in row) + ("\tn/a" if i == 0 else "\t0.1") for i, row in enumerate(motion)]
        table = "\n".join(["\t".join((*MOTION, "framewise_displacement")), *rows]) + "\n"
        derived = self.folder("derived", session)
        (derived / f"{self.name(session, task, run)}_desc-confounds_timeseries.tsv").write_text(table)

    def name(self, session: str, task: str, run: int) -> str:
        return f"sub-01_ses-{session}_task-{task}_run-{run}"

    def folder(self, kind: str, session: str) -> Path:
        path = self.root / "lab" / kind / "sub-01" / f"ses-{session}" / "func"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def images(self, session: str, task: str, run: int) -> list[Path]:
        endings = {
            "volume": ["_space-T1w_desc-preproc_bold.nii.gz"],
            "gifti": ["_hemi-L_space-fsnative_bold.func.gii", "_hemi-R_space-fsnative_bold.func.gii"],
            "cifti": ["_space-fsLR_den-91k_bold.dtseries.nii"],
        }[self.kind]
        return [self.folder("derived", session) / (self.name(session, task, run) + ending) for ending in endings]

    def save(self, session: str, task: str, run: int, bold: np.ndarray) -> None:
        paths = self.images(session, task, run)
        if self.kind == "volume":
            whole = np.zeros((*SHAPE, len(bold)), np.float32)
            whole[self.mask] = bold.T
            save_volume(paths[0], whole)
        elif self.kind == "cifti":
            nib.save(nib.Cifti2Image(bold, (cifti2.SeriesAxis(0, TR, len(bold)), dense_axis())), paths[0])
        else:
            for path, part in zip(paths, (bold[:, :N_LEFT], bold[:, N_LEFT:]), strict=True):
                arrays = [nib.gifti.GiftiDataArray(row) for row in part]
                nib.save(nib.GiftiImage(darrays=arrays), path)
                path.with_name(path.name.replace(".func.gii", ".json")).write_text('{"RepetitionTime": 2.0}')

    def bids(self, sessions: str, task: str = "*") -> dict[str, Any]:
        space = {"volume": "T1w", "gifti": "fsnative", "cifti": "fsLR"}[self.kind]
        return {
            "folder": "lab/derived", "events": "lab/raw", "subject": "01", "sessions": sessions, "tasks": task,
            "space": space, "kind": self.kind,
        }  # fmt: skip

    def dataset(self, sessions: str, **options: Any) -> dict[str, Any]:
        common = {
            "bids": self.bids(sessions),
            "labels": {"column": "stim_file", "by": "file"},
            "stimuli": {"trial_type": "stimulus"},
        }
        return {"bold": {**common, **({"mask": "lab/mask.nii.gz"} if self.kind == "volume" else {}), **options}}

    def study(self, options: dict[str, Any] | None = None, **subject: Any) -> dict[str, Any]:
        more = EXACT if options is None else options
        return {
            "name": "bold",
            "subjects": ["S1"],
            "datasets": {"training": {"role": "training"}, "test": {"role": "test"}, "imagery": {"role": "test"}},
            "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
            "ingest": {
                "subjects": {
                    "S1": {
                        "datasets": {
                            "training": self.dataset("training*", columns={"vividness": "evaluation"}, **more),
                            "test": self.dataset("test*", **more),
                            "imagery": self.dataset("imagery*", **more),
                        },
                        **subject,
                    }
                },
                "stimuli": {"training": {"folder": "lab/training"}, "test": {"folder": "lab/test"}},
            },
        }


@pytest.fixture
def bold_lab(tmp_path: Path) -> Any:
    """Return a function that writes a lab into `tmp_path` and returns it: `bold_lab("gifti", noise=1.0)`."""

    def make(kind: str = "volume", **options: Any) -> BoldLab:
        return BoldLab(tmp_path, kind, **options)

    return make
