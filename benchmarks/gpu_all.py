"""Does everything that is meant for a GPU give the CPU's results on this one, and how fast is it?

Runs the tests marked `gpu` (none of them may be skipped), then each of `BENCHMARKS`, one after the other; a failure is
kept with the end of what was printed, and the rest goes on. The result is one JSON with the card's name, its driver,
and what each gave.

    benchmarks/gpu_all.sh --output benchmarks/results/gpu.json
    benchmarks/gpu_all.sh --toy            a first look: small sizes where a benchmark has them

Exit codes: 0 all went well, 1 something failed, 2 there is no CUDA device or no cupy. docs/gpu.md lists what this
covers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from give import give
from machine import machine

ROOT = Path(__file__).resolve().parents[1]
#: Script, its options, and whether it has `--toy`.
BENCHMARKS = (
    ("bench_fit.py", ("--xp", "cupy"), True),
    ("bench_fit.py", ("--xp", "numpy"), True),
    ("bench_icnn.py", (), True),
    ("bench_reconstruct.py", (), True),
    ("bench_train.py", ("--variants",), False),
    ("bench_latent.py", (), True),
)
#: Characters of what a failed command printed that are kept.
KEPT = 4000


def absent():
    """Return why nothing can run here, None if there is a device that both torch and cupy see."""
    import torch

    from hpc_recon.core.errors import StudyError
    from hpc_recon.numerics import xp

    if not torch.cuda.is_available():
        return "torch sees no CUDA device (nvidia-smi says which there are; a torch without CUDA sees none)"
    try:
        xp.module("cupy")
    except StudyError as error:
        return str(error)
    return None


def card():
    """Return the name, memory and software of the first device."""
    import cupy
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "devices": torch.cuda.device_count(),
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cuda of torch": torch.version.cuda,
        "cuda of cupy": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "torch": torch.__version__,
    }


def called(command):
    """Run a command; return its exit code, seconds, and the end of what it printed if it failed."""
    begin = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {"command": " ".join(map(str, command[1:])), "code": done.returncode, "seconds": time.monotonic() - begin}
    return found | ({"printed": (done.stdout + done.stderr)[-KEPT:]} if done.returncode else {})


def counts(report):
    """Return how many tests a JUnit report has, by outcome, and the names of those that did not pass.

    >>> counts('<testsuite><testcase name="a"/><testcase name="b"><skipped/></testcase></testsuite>')
    ({'passed': 1, 'skipped': 1, 'failure': 0, 'error': 0}, ['b'])
    """
    cases = list(ElementTree.fromstring(report).iter("testcase"))
    found = {kind: sum(case.find(kind) is not None for case in cases) for kind in ("skipped", "failure", "error")}
    others = [case.get("name") for case in cases if any(case.find(kind) is not None for kind in found)]
    return {"passed": len(cases) - len(others), **found}, others


def tests(folder):
    """Run the tests marked `gpu`."""
    report = folder / "tests.xml"
    found = called([sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", f"--junitxml={report}"])
    if report.exists():
        found["tests"], found["not_passed"] = counts(report.read_text())
    found["good"] = found["code"] == 0 and not found.get("not_passed")
    return found


def benchmark(script, options, *, folder, number):
    """Run one benchmark; return what it measured."""
    output = folder / f"{number}.json"
    found = called([sys.executable, f"benchmarks/{script}", *options, "--output", str(output)])
    found["good"] = found["code"] == 0 and output.exists()
    return found | ({"result": json.loads(output.read_text())} if output.exists() else {})


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="small sizes where a benchmark has them")
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    options = parser.parse_args(argv)
    reason = absent()
    if reason is not None:
        sys.stderr.write(
            f"error: nothing was run: {reason}.\nOn a machine with an NVIDIA card: pip install 'hpc_recon[cuda12]' or "
            "'hpc_recon[cuda13]', then this command again\n"
        )
        return 2
    summary = {"card": card(), "machine": machine(), "toy": options.toy}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        summary["tests"] = tests(folder)
        summary["benchmarks"] = [
            benchmark(script, (*given, *(("--toy",) if options.toy and small else ())), folder=folder, number=number)
            for number, (script, given, small) in enumerate(BENCHMARKS)
        ]
    give(summary, options.output)
    return 0 if all(each["good"] for each in (summary["tests"], *summary["benchmarks"])) else 1


if __name__ == "__main__":
    raise SystemExit(main())
