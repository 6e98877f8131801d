"""Torque's commands (qsub, qstat, qdel) above Slurm, unpacked from Debian's packages into a folder of their own.

    python tests/slurm/torque.py /tmp/torque     prints `export TORQUE_COMMANDS=...`

They are not installed, because Grid Engine's client, which has commands of the same names, may be.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("slurm-wlm-torque", "libslurm-perl", "libslurmdb-perl", "libswitch-perl", "libslurm38")
BESIDE = ("sbatch", "squeue", "scancel", "scontrol", "srun", "salloc")


def unpack(folder: Path) -> Path:
    """Download and unpack the packages; return the folder of the commands."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=True)
    for name in BESIDE:
        # The wrappers call these by their own folder.
        (folder / "usr/bin" / name).symlink_to(Path("/usr/bin") / name)
    return folder / "usr/bin"


def environment(commands: Path) -> dict[str, str]:
    """Return the variables with which the commands find each other, their libraries and Slurm."""
    libraries = next((commands.parent / "lib").glob("*-linux-gnu"))
    modules = [*libraries.glob("perl5/*"), commands.parent / "share/perl5"]
    return {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PERL5LIB": os.pathsep.join(map(str, modules)),
        "LD_LIBRARY_PATH": str(libraries),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"export TORQUE_COMMANDS={unpack(Path(sys.argv[1]).absolute())}")
