"""bdpy's profile correlation and pairwise identification of stored features; started by `benchmarks/bench_scores.py`.

    python benchmarks/peers/scores_bdpy.py FOLDER

Reads `decoded.npy` and `true.npy`, (items, units) float32; prints seconds as JSON, and leaves `bdpy_profile.npy` and
`bdpy_identification.npy` in the folder. Needs bdpy and nothing of hpc_recon.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from bdpy.evals.metrics import pairwise_identification, profile_correlation

folder = Path(sys.argv[1])
decoded, true = (np.load(folder / f"{name}.npy") for name in ("decoded", "true"))
found = {}
for name, score in {"profile": profile_correlation, "identification": pairwise_identification}.items():
    begin = time.perf_counter()
    values = score(decoded, true)
    found[f"{name}_s"] = time.perf_counter() - begin
    np.save(folder / f"bdpy_{name}.npy", np.asarray(values, np.float64).ravel())
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
found["peak_mib"] = int(peak.split()[1]) / 1024
found["versions"] = {"numpy": np.__version__}
print(json.dumps(found))
