"""As `run_fake.py`, but the clocks of the workers differ from the controller's by $CLOCK_SHIFT, through $CLOCK."""

import multiprocessing.spawn
import shlex
import sys
import tempfile
from pathlib import Path


def main(*arguments):
    import run_fake  # on the path of these tests' controllers only

    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "python"
        python.write_text(f'#!/bin/sh\nexport LD_PRELOAD="$CLOCK"\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(0o755)
        multiprocessing.spawn.set_executable(str(python))
        return run_fake.main(*arguments)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
