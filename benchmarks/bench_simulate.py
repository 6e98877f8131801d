"""How long does a simulated subject take to answer all stimuli, at the size of a published study?

python benchmarks/bench_simulate.py            # 7,000 voxels x 1,250 stimuli of 64 px
python benchmarks/bench_simulate.py --toy
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from hpc_recon.simulation import voxels
from hpc_recon.simulation.presets import PRESETS

SIZE = (7000, 1250)
TOY = (60, 10)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny size, seconds")
    n_voxels, n_stimuli = TOY if parser.parse_args(argv).toy else SIZE
    brain = voxels.population("S1", n_voxels=n_voxels, preset=PRESETS["easy"], study_seed=0)
    images = np.random.default_rng(1).integers(256, size=(n_stimuli, 64, 64, 3), dtype=np.uint8)
    begin, cpu = time.perf_counter(), time.process_time()
    answers = voxels.responses(images, brain, study_seed=0)
    assert answers.shape == (n_stimuli, n_voxels)
    seconds = {"wall": round(time.perf_counter() - begin, 2), "cpu": round(time.process_time() - cpu, 2)}
    print(json.dumps({"voxels": n_voxels, "stimuli": n_stimuli, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
