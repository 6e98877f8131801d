"""Run all tests and benchmarks that want a GPU, and write what they said as one JSON (benchmarks/gpu_all.sh).

    python benchmarks/gpu_all.py --output benchmarks/results/gpu.json

A benchmark that fails is recorded with the end of what it printed, and the others still run. Exit status: 0 if all
tests passed (none skipped) and all benchmarks ran, 1 if not, 2 where there is no CUDA device.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch
from give import give
from machine import machine

HERE = Path(__file__).parent
#: Benchmarks with a GPU part: name, arguments, arguments at toy size.
BENCHMARKS = {
    "fit": (["bench_fit.py", "--xp", "cupy"], ["--toy"]),
    "ard": (["bench_ard.py", "--xp", "cupy", "--without-pseudo-inverse"], ["--toy"]),
    "train": (["bench_train.py", "--profile", "paper", "--voxels", "11726", "--batch", "64", "--variants"], []),
    "reconstruct": (["bench_reconstruct.py", "--only", "time", "--device", "cuda"], ["--toy"]),
}
#: At toy size the published training is not tried.
TOY_TRAINING = ["bench_train.py", "--variants", "--steps", "2", "--turns", "2"]
#: Characters of what a failing benchmark printed last.
TAIL = 2000


def tests(folder: Path) -> dict[str, object]:
    """Run tests/gpu; return the counts, and what failed or was skipped, with the reason."""
    report = folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "tests/gpu", f"--junitxml={report}"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    if not report.exists():
        return {"error": (done.stdout + done.stderr)[-TAIL:]}
    return counts(report)


def counts(report: Path) -> dict[str, object]:
    """Return how many tests of a JUnit report passed, and names and reasons of those that did not."""
    found: dict[str, object] = {"passed": 0, "failed": {}, "skipped": {}}
    for case in ElementTree.parse(report).iter("testcase"):  # our own pytest's file
        name, bad = f"{case.get('classname')}::{case.get('name')}", {c.tag: c.get("message", "") for c in case}
        if "failure" in bad or "error" in bad:
            found["failed"][name] = (bad.get("failure") or bad.get("error"))[:TAIL]
        elif "skipped" in bad:
            found["skipped"][name] = bad["skipped"]
        else:
            found["passed"] += 1
    return found


def benchmark(arguments: list[str], folder: Path) -> dict[str, object]:
    """Run one benchmark; return its result and seconds, or the end of what it printed."""
    output = folder / "result.json"
    output.unlink(missing_ok=True)
    begin = time.monotonic()
    command = [sys.executable, str(HERE / arguments[0]), *arguments[1:], "--output", str(output)]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    if done.returncode or not output.exists():
        return {"seconds": seconds, "error": (done.stdout + done.stderr)[-TAIL:]}
    return {"seconds": seconds, "command": ["python", *arguments], "result": json.loads(output.read_text())}


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/gpu-<card>.json")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print(
            "gpu_all: torch sees no CUDA device; run this on a GPU node, and see that torch is built for CUDA",
            file=sys.stderr,
        )
        return 2
    card = torch.cuda.get_device_properties(0)
    found = {
        "card": card.name,
        "memory_bytes": card.total_memory,
        "capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "machine": machine(),
        "toy": options.toy,
    }
    with tempfile.TemporaryDirectory() as folder:
        found["tests"] = tests(Path(folder))
        found["benchmarks"] = {}
        for name, (arguments, toy) in BENCHMARKS.items():
            chosen = (TOY_TRAINING if name == "train" else [*arguments, *toy]) if options.toy else arguments
            print(f"gpu_all: {' '.join(chosen)}", file=sys.stderr, flush=True)
            found["benchmarks"][name] = benchmark(chosen, Path(folder))
    slug = re.sub(r"[^a-z0-9]+", "-", card.name.lower()).strip("-")
    give(found, options.output or HERE / "results" / f"gpu-{slug}.json")
    broken = [name for name, own in found["benchmarks"].items() if "error" in own]
    told = found["tests"]
    return 1 if broken or "error" in told or told["failed"] or told["skipped"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
