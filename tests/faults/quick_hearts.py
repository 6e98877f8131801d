"""As `run_fake.py`, but the controller's heart beats ten times as often, and strangers wait half as long for a beat."""

import functools
import sys

from hpc_recon.run import lease, session


def main(*arguments):
    import run_fake  # on the path of these tests' controllers only

    lease.HEARTBEAT /= 10
    session.hold = functools.partial(lease.hold, patience=lease.PATIENCE / 2)
    return run_fake.main(*arguments)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
