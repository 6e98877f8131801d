"""Does any damaged BData file crash the reader, hang it, raise something unclear, or cost memory?

    python benchmarks/fuzz_bdata.py --files 100000

Bytes of a small valid file are changed, cut and overwritten; everything in it is then read in a child process with a
limit of time and memory, because HDF5's C library may crash. A finding is printed with the number of the file, which
makes the same file again; the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hpc_recon.core.errors import DataError
from hpc_recon.formats.bdata import BData
from hpc_recon.formats.bdata_write import Row, write_bdata

#: Seconds for one file; a good one takes about ten milliseconds.
SECONDS = 10
#: Address space beyond what the child has when it starts: far above the file's few kilobytes, far below the machine's.
BYTES = 512 << 20
#: Growth of the peak memory over all files of a child; HDF5's caches and Python's own are most of it.
GROWTH = 96 << 20


def seed_file(path):
    rng = np.random.default_rng(0)
    return write_bdata(
        path,
        {"VoxelData": rng.standard_normal((6, 8)), "Run": np.arange(6.0), "name": np.array([1.0, 2, 3, 1, 2, np.nan])},
        metadata={"ROI_V1": Row("VoxelData", np.arange(8) < 4), "voxel_x": Row("VoxelData", np.arange(8.0))},
        vmaps={"name": {1.0: "a", 2.0: "b", 3.0: "c"}},
        header={"made_by": "fuzz"},
    )


def mutated(content, number):
    """Return the content with changes that depend on `number` alone."""
    rng = random.Random(number)
    changed = bytearray(content)
    kind = rng.randrange(5)
    if kind == 0:
        del changed[rng.randrange(len(changed)) :]
    elif kind == 1:
        begin = rng.randrange(len(changed))
        changed[begin : begin + rng.choice((4, 8, 64))] = rng.choice((b"\0", b"\xff")) * rng.choice((4, 8, 64))
    elif kind == 2:
        begin, source = rng.randrange(len(changed)), rng.randrange(len(changed))
        size = rng.choice((8, 32, 128))
        changed[begin : begin + size] = changed[source : source + size]
    else:
        # Half of them near the start, where the structure lies.
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(min(len(changed), 4096)) if kind == 3 else rng.randrange(len(changed))
            changed[at] = rng.choice((rng.randrange(256), changed[at] ^ (1 << rng.randrange(8))))
    return bytes(changed)


def read_everything(path):
    found = BData(path)
    _ = found.header
    for key in found.keys:
        found.value(key)
        found.read(key, dtype=np.float64)
    for key in found.vmaps:
        found.label(key)


def memory(field):
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{field}:"))


def child(folder, first, files):
    seed = (folder / "seed.h5").read_bytes()
    read_everything(folder / "seed.h5")  # loads what is loaded on first use
    limit = memory("VmSize") + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before, progress, path = memory("VmHWM"), folder / "progress", folder / "mutated.h5"
    refused = 0
    for number in range(first, files):
        progress.write_text(f"{number} {refused}")
        path.write_bytes(mutated(seed, number))
        signal.setitimer(signal.ITIMER_REAL, SECONDS)  # SIGALRM ends the process, also inside C
        try:
            read_everything(path)
        except DataError as error:
            refused += 1
            if str(path) not in str(error):
                raise RuntimeError("the error does not name the file") from error
        signal.setitimer(signal.ITIMER_REAL, 0)
    progress.write_text(f"{files} {refused}")
    assert memory("VmHWM") - before < GROWTH, f"the peak memory grew by {memory('VmHWM') - before} bytes"


def fuzz(files, first=0):
    """Return how many files were refused, and the findings: number of the file and what happened."""
    findings, refused, last = [], 0, first + files
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seed_file(folder / "seed.h5")
        while first < last:
            command = [sys.executable, __file__, "--child", name, str(first), str(last)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            reached, more = map(int, (folder / "progress").read_text().split())
            refused += more
            if ran.returncode:
                findings.append((reached, f"exit {ran.returncode}: {ran.stderr.strip()[-500:]}"))
            first = reached + 1 if reached < last else last
    return refused, findings


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        child(Path(options.child[0]), int(options.child[1]), int(options.child[2]))
        return 0
    refused, findings = fuzz(options.files, options.first)
    for number, what in findings:
        print(f"file {number}: {what}")
    print(f"{options.files} files, {refused} refused with a clear error, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
