"""What does `ingest` take for one run of BOLD, or one session of betas, of the published size?

    python benchmarks/bench_images.py --output benchmarks/results/images.json

A run of 239 volumes: 100 x 100 x 66 voxels as int16 `.nii.gz` with 11,726 kept; two GIFTI hemispheres of 40,962
vertices; 91,282 grayordinates. A session of 200 betas of 81 x 104 x 83 voxels as int16, 15,724 kept, as `.nii.gz` and
`.hdf5`. For each, in a process of its own: peak memory and seconds of the plan, which must read no voxel, and of the
tile, beside the projected ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import machine
import nibabel as nib
import numpy as np
import yaml
from nibabel import cifti2

from hpc_recon.core.files import write_json

KINDS = ("volume", "gifti", "cifti", "betas_nifti", "betas_hdf5")
TR_S = 2.0


def sizes(toy):
    """Return grid, kept voxels, vertices, volumes, grid and kept voxels of betas, and trials."""
    if toy:
        return (12, 10, 8), 100, 60, 239, (9, 8, 7), 80, 20
    return (100, 100, 66), 11_726, 40_962, 239, (81, 104, 83), 15_724, 200


def mask(path, shape, n_kept, rng):
    inside = np.zeros(int(np.prod(shape)), np.uint8)
    inside[rng.choice(inside.size, n_kept, replace=False)] = 1
    nib.save(nib.Nifti1Image(inside.reshape(shape), np.eye(4)), path)


def write_bold(folder, kind, toy, rng):
    """Write one run and return the `bold` section that reads it."""
    shape, n_kept, n_vertices, n_volumes, *_ = sizes(toy)
    section = {"labels": {"column": "stimulus"}, "confounds": []}
    run = {"events": "events.tsv"}
    rows = [f"{32 + 8 * i}\t8\ttraining-{i + 1:04d}" for i in range(50)]
    (folder / "events.tsv").write_text("\n".join(["onset\tduration\tstimulus", *rows]) + "\n")
    if kind == "volume":
        mask(folder / "mask.nii.gz", shape, n_kept, rng)
        bold = np.empty((*shape, n_volumes), np.int16, order="F")
        for volume in range(n_volumes):
            bold[..., volume] = 1000 + 5 * rng.standard_normal(shape, dtype=np.float32)
        image = nib.Nifti1Image(bold, np.eye(4))
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = TR_S
        nib.save(image, folder / "run.nii.gz")
        section, run = section | {"mask": "mask.nii.gz"}, run | {"file": "run.nii.gz"}
    elif kind == "gifti":
        for side in ("left", "right"):
            rows = (1000 + 5 * rng.standard_normal((n_volumes, n_vertices))).astype(np.float32)
            image = nib.GiftiImage(darrays=[nib.gifti.GiftiDataArray(row) for row in rows])
            nib.save(image, folder / f"{side}.func.gii")
        run |= {"left": "left.func.gii", "right": "right.func.gii", "tr_s": TR_S}
    else:
        counts = (40, 30, 10) if toy else (29_696, 29_716, 31_870)
        n_surface = 64 if toy else 32_492
        left, right = (
            cifti2.BrainModelAxis.from_surface(np.arange(n), n_surface, name=f"Cortex{side}")
            for n, side in zip(counts[:2], ("Left", "Right"), strict=True)
        )
        inside = np.zeros((91, 109, 91), bool)
        inside.reshape(-1)[: counts[2]] = True
        columns = left + right + cifti2.BrainModelAxis.from_mask(inside, affine=np.eye(4), name="thalamus_left")
        values = (1000 + 5 * rng.standard_normal((n_volumes, len(columns)))).astype(np.float32)
        nib.save(nib.Cifti2Image(values, (cifti2.SeriesAxis(0, TR_S, n_volumes), columns)), folder / "run.dtseries.nii")
        run |= {"file": "run.dtseries.nii"}
    return {"bold": section | {"runs": [run]}}


def write_betas(folder, kind, toy, rng):
    """Write one session and return the `betas` section that reads it."""
    *_, shape, n_kept, n_trials = sizes(toy)
    mask(folder / "mask.nii.gz", shape, n_kept, rng)
    stored = rng.integers(-3000, 3000, (*shape, n_trials), dtype=np.int16)
    name = "betas.nii.gz" if kind == "betas_nifti" else "betas.hdf5"
    if kind == "betas_nifti":
        nib.save(nib.Nifti1Image(stored, np.eye(4)), folder / name)
    else:
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("betas", data=stored.transpose(3, 2, 1, 0), chunks=(1, *shape[::-1]))
    labels = [f"training-{i % 50 + 1:04d}" for i in range(n_trials)]
    (folder / "trials.txt").write_text("\n".join(labels) + "\n")
    return {"betas": {"files": [name], "mask": "mask.nii.gz", "scale": 300, "trials": {"files": "trials.txt"}}}


def write_study(folder, kind, toy):
    rng = np.random.default_rng(0)
    np.savez(folder / "images.npz", images=rng.random((50, 8, 8)))
    write = write_betas if kind.startswith("betas") else write_bold
    content = {
        "name": kind,
        "workspace": str(folder / "ws"),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
        "ingest": {
            "subjects": {"S1": {"datasets": {"training": write(folder, kind, toy, rng)}}},
            "stimuli": {"training": {"array": {"file": "images.npz", "key": "images"}, "scale": 1.0}},
        },
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content))


def peak(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measured(action):
    """Return what an action returns, the bytes by which it raised the resident peak, and its seconds."""
    Path("/proc/self/clear_refs").write_text("5")
    before, start = peak("VmRSS"), time.perf_counter()
    found = action()
    return found, {"peak_bytes": peak("VmHWM") - before, "seconds": round(time.perf_counter() - start, 3)}


def child(path):
    """Plan and run the tiles of a study in this process, and print the figures as JSON."""
    from hpc_recon import ingest
    from hpc_recon.core import receipts
    from hpc_recon.core.loading import load_study
    from hpc_recon.exchange import mapping
    from hpc_recon.nets import zoo
    from hpc_recon.stores import brain, images, positions, shapes

    assert all((mapping, brain, images, positions)), "imported before anything is measured"
    study = load_study(path)
    for network in study.networks.values():  # torch itself is not meant
        zoo.check(network, image_size=(8, 8))
    tiles, found = measured(lambda: ingest.plan(study, shapes.read(study)))
    figures = {"plan": found}
    for tile in tiles:
        files, found = measured(lambda tile=tile: ingest.work(study, tile))
        receipts.write(study.workspace, tile, files, {})
        figures[tile.stage] = found | {"projected_bytes": tile.need.host_bytes, "projected_s": tile.need.seconds}
    print(json.dumps(figures))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="small files, for the tests")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child is not None:
        child(options.child)
        return 0
    results = {"machine": machine.machine(), "toy": options.toy}
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as name:
            write_study(Path(name), kind, options.toy)
            command = [sys.executable, str(Path(__file__)), "--child", f"{name}/study.yaml"]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
        results[kind] = json.loads(ran.stdout.splitlines()[-1])
        plan, tile = results[kind]["plan"], results[kind]["brain"]
        print(
            f"{kind:12} plan {plan['peak_bytes'] / 1e6:6.1f} MB {plan['seconds']:6.2f} s   "
            f"tile {tile['peak_bytes'] / 1e6:6.1f} MB of {tile['projected_bytes'] / 1e6:.1f} projected, "
            f"{tile['seconds']:6.2f} s of {tile['projected_s']:.1f}"
        )
    if options.output is not None:
        write_json(options.output, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
