"""Every mistake that a user is likely to make, through the command line: exit code 2, clear, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hpc_recon import decode, extract, fit, ingest, pipeline, reconstruct, simulate

Content = dict[str, Any]


@pytest.fixture
def lab(tmp_path: Path) -> Content:
    """Write a small lab's files and return a study that reads them without a mistake."""
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "brain.npz",
        train=rng.normal(size=(12, 20)),
        test=rng.normal(size=(4, 20)),
        train_labels=np.array([f"a{i:02d}" for i in range(12)]),
        test_labels=np.array([f"b{i:02d}" for i in range(4)]),
        v1=np.arange(20) < 8,
        empty=np.zeros(20),
        nan=np.where(rng.random((12, 20)) < 0.02, np.nan, 1.0) + np.eye(12, 20) * np.nan,
        other_labels=np.array([f"z{i:02d}" for i in range(12)]),
    )
    for name, n in (("a", 12), ("b", 4)):
        np.savez(
            tmp_path / f"{name}.npz",
            images=rng.integers(0, 256, size=(n, 8, 8), dtype=np.uint8),
            labels=np.array([f"{name}{i:02d}" for i in range(n)]),
        )

    def key(name: str) -> dict[str, str]:
        return {"file": "brain.npz", "key": name}

    return {
        "name": "lab",
        "workspace": str(tmp_path / "ws"),
        "subjects": ["S1"],
        "rois": ["V1"],
        "datasets": {"training": {"role": "training"}, "test": {"role": "test"}},
        "ingest": {
            "subjects": {
                "S1": {
                    "rois": {"V1": key("v1")},
                    "datasets": {
                        "training": {"samples": key("train"), "labels": key("train_labels")},
                        "test": {"samples": key("test"), "labels": key("test_labels")},
                    },
                }
            },
            "stimuli": {
                name: {
                    "array": {"file": f"{file}.npz", "key": "images"},
                    "labels": {"file": f"{file}.npz", "key": "labels"},
                }
                for name, file in (("training", "a"), ("test", "b"))
            },
        },
        "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
        "fit": {"n_voxels": 5, "alpha": 1.0},
        "reconstruct": {"direct": {"method": "pixels", "network": "image"}},
    }


def put(content: Content, path: str, value: Any) -> Content:
    *outer, last = path.split("/")
    section = content
    for part in outer:
        section = section[part]
    section[last] = value
    return content


TRAINING = "ingest/subjects/S1/datasets/training"
CASES: dict[str, tuple[Callable[..., int], Callable[[Content], Content], list[str], list[str]]] = {
    "missing file": (
        ingest.main,
        lambda c: put(c, f"{TRAINING}/samples/file", "absent.mat"),
        [],
        ["absent.mat", "does not exist"],
    ),
    "wrong key": (ingest.main, lambda c: put(c, f"{TRAINING}/samples/key", "trian"), [], ["'trian'", "train"]),
    "labels that do not match": (
        ingest.main,
        lambda c: put(c, f"{TRAINING}/labels/key", "other_labels"),
        [],
        ["12 ", "z00"],
    ),
    "NaN in voxels": (ingest.main, lambda c: put(c, f"{TRAINING}/samples/key", "nan"), [], ["NaN", "training"]),
    "ROI without voxels": (
        ingest.main,
        lambda c: put(c, "ingest/subjects/S1/rois/V1/key", "empty"),
        [],
        ["V1", "no voxel"],
    ),
    "unknown layer": (
        pipeline.main,
        lambda c: put(
            put(c, "networks/vgg", {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv9_1"]}),
            "reconstruct",
            {},
        ),
        [],
        ["conv9_1", "conv5_1"],
    ),
    "missing weights": (
        pipeline.main,
        lambda c: put(
            put(c, "networks/vgg", {"architecture": "vgg11_quarter", "weights": "absent.pt", "layers": ["conv1_1"]}),
            "reconstruct",
            {},
        ),
        [],
        ["absent.pt", "random:<seed>"],
    ),
    "unknown cluster": (ingest.main, lambda c: c, ["--cluster", "slrum"], ["slrum", "slurm"]),
    "sbatch not on PATH": (ingest.main, lambda c: c, ["--cluster", "slurm"], ["sbatch", "PATH"]),
    "three mistakes": (
        fit.main,
        lambda c: put(put(put(c, "fit/alhpa", 1), "datasets/test/role", "tset"), "networks/image/layers", []),
        [],
        ["fit.alhpa", "'tset'", "networks.image.layers", "3 mistakes"],
    ),
    "upstream of extract missing": (extract.main, lambda c: c, [], ["python -m hpc_recon.ingest"]),
    "upstream of fit missing": (fit.main, lambda c: c, [], ["python -m hpc_recon.ingest"]),
    "upstream of decode missing": (decode.main, lambda c: c, [], ["python -m hpc_recon."]),
    "upstream of reconstruct missing": (reconstruct.main, lambda c: c, [], ["python -m hpc_recon."]),
    "a study without simulate": (simulate.main, lambda c: c, [], ["simulate"]),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(
    case: str, lab: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    main, spoil, options, expected = CASES[case]
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(spoil(lab), sort_keys=False))
    if case.startswith("sbatch"):
        monkeypatch.setenv("PATH", str(tmp_path))
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    assert main(["--study", str(path), *options]) == 2
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert not [text for text in expected if text not in error], error
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before, "something was written"


def test_the_good_study_is_good(lab: Content, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the cases above spoil would run: its dry run succeeds, and touches nothing either."""
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(lab))
    assert ingest.main(["--study", str(path), "--dry-run"]) == 0
    assert "stimuli" in capfd.readouterr().out
    assert not (tmp_path / "ws").exists()
