"""What bdpy makes of BData files; run in an environment with requirements-bdpy.txt by `benchmarks/bench_bdata.py`.

    python bdata_bdpy.py write CASE.npz FILE.h5         write a file through bdpy's own functions
    python bdata_bdpy.py answer FILE.h5 SELECTORS.json ANSWERS.npz
    python bdata_bdpy.py roi FILE.h5 SELECTOR           read one ROI; prints seconds, memory and a checksum as JSON
"""

import hashlib
import importlib.metadata
import json
import sys
import time
from pathlib import Path

import numpy as np
from bdpy import BData


def memory(field):
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{field}:"))


def write(case, path):
    with np.load(case) as arrays:
        made = BData()
        for name in arrays["blocks"].tolist():
            made.add(arrays[f"block_{name}"], name)
        for name in arrays["rows"].tolist():
            made.add_metadata(name, arrays[f"row_{name}"], f"1 = {name}", where="VoxelData")
        vmap = dict(zip(arrays["vmap_numbers"].tolist(), arrays["vmap_texts"].tolist()))
        made.add_vmap("stimulus_name", vmap)
    made.save(path)


def answer(path, questions, answers):
    found = BData(path)
    masks, errors = [], []
    for selector in json.loads(Path(questions).read_text()):
        try:
            masks.append(found.select(selector, return_index=True)[1])
            errors.append("")
        except Exception as error:  # what bdpy raises is part of the answer
            masks.append(np.zeros(found.dataset.shape[1], dtype=bool))
            errors.append(repr(error))
    np.savez(
        answers,
        dataset=found.dataset,
        keys=np.array(found.metadata.key),
        descriptions=np.array(found.metadata.description),
        values=found.metadata.value,
        labels=np.array(found.get_labels("stimulus_name")),
        masks=np.array(masks),
        errors=np.array(errors),
        version=importlib.metadata.version("bdpy"),
    )


def roi(path, selector):
    before, begin = memory("VmRSS"), time.perf_counter()
    samples = BData(path).select(selector)
    seconds = time.perf_counter() - begin
    result = {"seconds": seconds, "bytes": memory("VmHWM") - before, "shape": samples.shape}
    result["sha256"] = hashlib.sha256(np.ascontiguousarray(samples)).hexdigest()  # after what is measured
    print(json.dumps(result))


if __name__ == "__main__":
    {"write": write, "answer": answer, "roi": roi}[sys.argv[1]](*sys.argv[2:])
