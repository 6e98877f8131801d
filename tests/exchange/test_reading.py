"""What a reading projects is what it takes: peak memory of a tile that reads runs, and of a plan that reads none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .conftest import save_volume

MEASURE = """
import sys
from pathlib import Path
from hpc_recon import ingest
from hpc_recon.core import receipts
from hpc_recon.core.loading import load_study
from hpc_recon.stores import brain, images, positions, shapes
from hpc_recon.exchange import mapping
from hpc_recon.nets import zoo

def peak(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def start():
    Path("/proc/self/clear_refs").write_text("5")
    return peak("VmRSS")

study = load_study(Path(sys.argv[1]))
for network in study.networks.values():  # what torch itself takes is not meant
    zoo.check(network, image_size=(16, 16))
before = start()
tiles = ingest.plan(study, shapes.read(study))
print("plan", peak("VmHWM") - before, 0)
for tile in tiles:
    before = start()
    files = ingest.work(study, tile)
    print(tile.stage, peak("VmHWM") - before, tile.need.host_bytes)
    receipts.write(study.workspace, tile, files, {})
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc to measure peaks")
def test_peak_memory_is_at_most_the_projected(tmp_path, make_study):
    """Two runs of 120 volumes of 40 x 40 x 20, of which 16,000 voxels are kept: 15 MB each as float64."""
    rng = np.random.default_rng(0)
    shape = (40, 40, 20)
    mask = np.zeros(shape, np.uint8)
    mask[:20] = 1
    save_volume(tmp_path / "mask.nii", mask)
    labels = [f"training-{i:04d}" for i in range(1, 21)]
    np.savez(tmp_path / "images.npz", images=rng.random((20, 8, 8)))
    listed = []
    for number in range(2):
        whole = (1000 + 10 * rng.standard_normal((*shape, 120), dtype=np.float32)).astype(np.float32)
        save_volume(tmp_path / f"{number}.nii", whole)
        rows = [f"{32 + 8 * i}\t8\t{label}" for i, label in enumerate(labels)]
        (tmp_path / f"{number}.tsv").write_text("\n".join(["onset\tduration\tstimulus", *rows]) + "\n")
        listed.append({"file": f"{number}.nii", "events": f"{number}.tsv"})
    source = {"mask": "mask.nii", "runs": listed, "labels": {"column": "stimulus"}, "confounds": []}
    make_study(
        simulate=None,
        datasets={"training": {"role": "training"}},
        ingest={
            "subjects": {"S1": {"datasets": {"training": {"bold": source}}}},
            "stimuli": {"training": {"array": {"file": "images.npz", "key": "images"}, "scale": 1.0}},
        },
    )
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "study.yaml")], check=True, capture_output=True, text=True
    )
    rows = {row[0]: (int(row[1]), int(row[2])) for row in map(str.split, run.stdout.splitlines())}
    used, projected = rows["brain"]
    assert used <= projected, rows
    assert used >= projected / 4, f"the projection is far too large: {rows}"
    # A plan reads headers; one run as float32 would be 7.7 MB of masked voxels and 15 MB of whole volumes.
    assert rows["plan"][0] < 30e6, rows
