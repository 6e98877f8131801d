"""The fake verb of tests/run, which also writes down where and when each tile was computed (`<workspace>/trace`)."""

import json
import os
import time
import uuid

import fake_verb
from fake_verb import plan

__all__ = ["plan", "prepare", "work"]


def prepare(study):
    fake_verb.prepare(study)
    (study.workspace / "trace").mkdir(exist_ok=True)


def work(study, tile):
    start = time.time()
    files = fake_verb.work(study, tile)
    content = {
        "tile": tile.name,
        "start": start,
        "stop": time.time(),
        "pid": os.getpid(),
        "node": os.environ.get("SLURMD_NODENAME"),
        "job": os.environ.get("SLURM_JOB_ID"),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    (study.workspace / "trace" / f"{tile.name}-{uuid.uuid4().hex[:6]}.json").write_text(json.dumps(content))
    return files
