"""Does any damaged file crash a reader, hang it, raise something unclear, or cost memory?

    python benchmarks/fuzz_files.py --files 6000 [--readers bdata gifti] [--output results.json]

One of a reader's sound files (`fuzz_readers.py`) is changed (`fuzz_mutations.py`), and everything in it is read in a
child process with a limit of time and memory, because C libraries may crash. A file is read, or refused by an error of
ours that names it; anything else is a finding. A finding is printed with its number, which makes the same file again:

    python benchmarks/fuzz_files.py --readers bdata --first 2157 --files 1

The exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from fuzz_mutations import mutated

from hpc_recon.core.errors import ReconError

FILE = Path(__file__).resolve().with_name("fuzz_readers.py")
#: Seconds for one file; a good one takes some milliseconds.
SECONDS = 10
#: A reader with so many is not tried further.
MOST_FINDINGS = 20
#: Address space beyond what the child has when it starts; an array that does not fit is a finding, not an error.
BYTES = 1 << 30
#: Growth of the resident peak while one file is read: twice the file, and caches of HDF5, expat and Python.
GROWTH = 48 << 20


def memory(field):
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{field}:"))


def causes(error):
    """Yield an error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_about(attempt, files):
    """Return whether an attempt reads one of some files: its first argument says so."""
    first = attempt.args[0] if isinstance(attempt, functools.partial) and attempt.args else None
    return isinstance(first, Path) and first in files


def read_all(attempts, root, must_name, unchanged=frozenset()):
    """Try to read everything but the files that are as before; return how much was refused.

    What is neither read nor refused raises.
    """
    refused = 0
    for attempt in attempts(root):
        if is_about(attempt, unchanged):
            continue
        try:
            attempt()
        except ReconError as error:
            refused += 1
            if must_name and str(root) not in str(error):
                raise RuntimeError("the error does not name the file") from error
            if any(isinstance(cause, MemoryError) for cause in causes(error)):
                raise RuntimeError("more memory was asked for than there is") from error
    return refused


def readers_of(file):
    """Return `READERS` of a Python file."""
    sys.path.insert(0, str(file.parent))
    return importlib.import_module(file.stem).READERS


def child(name, folder, first, last, file, seconds):
    """Read the files of numbers `first` to `last`; `folder/progress` says how far it came."""
    make, attempts, must_name = readers_of(file)[name]
    root = folder / "root"
    if not root.exists():
        root.mkdir()
        make(root)
        (folder / "sound.json").write_text(json.dumps({str(p.relative_to(root)): p.read_bytes().hex()
                                                       for p in sorted(root.rglob("*")) if p.is_file()}))  # fmt: skip
    sound = {part: bytes.fromhex(text) for part, text in json.loads((folder / "sound.json").read_text()).items()}
    for part, content in sound.items():
        (root / part).write_bytes(content)
    warnings.simplefilter("error")
    # keys that do not exist, and the like; it also loads what is loaded on first use
    others = {part: {root / other for other in sound} - {root / part} for part in sound}
    usual = {part: read_all(attempts, root, must_name, others[part]) for part in sound}
    limit = memory("VmSize") + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    refused, slowest, parts, donors = 0, 0.0, sorted(sound), list(sound.values())
    for number in range(first, last):
        (folder / "progress").write_text(f"{number} {refused} {slowest}")
        rng = random.Random(f"{name} {number}")
        part = rng.choice(parts)
        content = mutated(sound[part], donors, rng)
        (root / part).write_bytes(content)
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before, began = memory("VmRSS"), time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM ends the process, also inside C
        refused += read_all(attempts, root, must_name, others[part]) > usual[part]
        signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, time.perf_counter() - began)
        grown = memory("VmHWM") - before
        if grown > GROWTH + 2 * len(content):
            raise RuntimeError(f"the peak memory grew by {grown >> 20} MiB for a file of {len(content)} bytes")
        (root / part).write_bytes(sound[part])
    (folder / "progress").write_text(f"{last} {refused} {slowest}")


def fuzz(name, files, first=0, *, file=FILE, seconds=SECONDS):
    """Fuzz a reader of the Python file `file`, from number `first` on.

    Returns how many files were refused, the slowest file's seconds, and the findings: number and what happened.
    """
    findings, refused, slowest, last = [], 0, 0.0, first + files
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        while first < last and len(findings) < MOST_FINDINGS:
            command = [
                sys.executable,
                __file__,
                "--child",
                name,
                temporary,
                str(first),
                str(last),
                str(file),
                str(seconds),
            ]
            (folder / "progress").write_text(f"{first} 0 0")
            ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            reached, more, slow = (float(text) for text in (folder / "progress").read_text().split())
            refused, slowest = refused + int(more), max(slowest, slow)
            if ran.returncode:
                findings.append((int(reached), f"exit {ran.returncode}: {ran.stderr.strip()[-1500:]}"))
            first = int(reached) + 1 if reached < last else last
    return refused, slowest, findings


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300, help="changed files of each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--readers", nargs="*", help="all, unless some are named")
    parser.add_argument("--output", type=Path, help="JSON with the numbers of each reader")
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        name, folder, first, last, file, seconds = options.child
        child(name, Path(folder), int(first), int(last), Path(file), float(seconds))
        return 0
    results = {}
    for name in options.readers or readers_of(FILE):
        began = time.perf_counter()
        refused, slowest, findings = fuzz(name, options.files, options.first)
        results[name] = {
            "files": options.files, "refused": refused, "seconds": round(time.perf_counter() - began, 1),
            "slowest_file_s": round(slowest, 3), "findings": findings,
        }  # fmt: skip
        for number, what in findings:
            print(f"{name}, file {number}: {what}")
        print(
            f"{name}: {options.files} files, {refused} refused with a clear error, {len(findings)} findings, "
            f"{results[name]['seconds']} s, the slowest file {slowest:.2f} s",
            flush=True,
        )
        if options.output:
            options.output.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if any(result["findings"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
