"""How large is a page for raters at the size of the published experiments, and how long does it take to make?

Photographs are crops of scikit-image's; reconstructions are the same with noise of 10 %, which compresses badly.

python benchmarks/bench_rating.py              # 50 photographs of 224 px, 8 variants
python benchmarks/bench_rating.py --toy
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
from skimage import data

from hpc_recon.numerics import trial_design
from hpc_recon.reporting import rating_page
from hpc_recon.stores import rating_design


def _crops(n, side, rng):
    photographs = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    for _ in range(n):
        whole = photographs[rng.integers(len(photographs))]
        y, x = (int(rng.integers(length - side)) for length in whole.shape[:2])
        yield whole[y : y + side, x : x + side, :3]


def _page(task, stimuli, n_variants, rng):
    n = len(stimuli)
    noisy = [stimuli[i % n] / 255 + 0.1 * rng.standard_normal(stimuli[0].shape) for i in range(n * n_variants)]
    made = [np.clip(image, 0, 1).astype(np.float32) for image in noisy]
    begin = time.perf_counter()
    if task == "compare":
        trials = trial_design.variant_trials(n, n_variants, rng=rng).tolist()
        rows = [(i, n + n * a + i, n + n * b + i) for i, a, b in trials]
    else:
        trials = [(a, a, b) for a, b in trial_design.candidate_trials(np.zeros(n, int), rng=rng).tolist()]
        rows = [(n + i, a, b) for i, a, b in trials]
    pictures, digest = rating_page.sheet(stimuli, made)
    design = rating_design.Design(
        name=task, task=task, study="bench", subject="S1", roi="VC", dataset="natural",
        variants=tuple(f"v{i}" for i in range(n_variants)), images=tuple(f"i{i}" for i in range(n)), seed=1,
        per_image=None, trials=tuple((i, a, b) for i, a, b in trials), pictures=digest,
    )  # fmt: skip
    html = rating_page.render(design, pictures, rows, title="bench", label="", version="0").encode()
    return {"trials": len(trials), "bytes": len(html), "seconds": round(time.perf_counter() - begin, 2)}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny size, seconds")
    n, side, n_variants = (4, 16, 3) if parser.parse_args(argv).toy else (50, 224, 8)
    rng = np.random.default_rng(0)
    stimuli = list(_crops(n, side, rng))
    pages = {task: _page(task, stimuli, v, rng) for task, v in (("identify", 1), ("compare", n_variants))}
    print(json.dumps(pages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
