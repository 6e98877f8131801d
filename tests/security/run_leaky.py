"""Run the leaky verb as a process of its own: `python run_leaky.py STUDY CLUSTER CLUSTER_FILE`."""

import importlib
import sys

from hpc_recon.run.verbs import Verb


def main(*arguments):
    """Run it as the fake verb is run."""
    run_fake = importlib.import_module("run_fake")
    run_fake.FAKE = Verb("fit", "leaky_verb", "pretend")
    return run_fake.main(*arguments)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
