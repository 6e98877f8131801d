"""Run the fake verb as a process of its own: `python run_fake.py STUDY CLUSTER [CLUSTER_FILE] [JOBS] [FLAG ...]`.

A flag is the name of an option that is on or off: `verify`, `retry_failed`, ...
"""

import sys
from pathlib import Path

from hpc_recon.run.cli import guarded
from hpc_recon.run.options import Jobs, Options
from hpc_recon.run.session import run_verbs
from hpc_recon.run.verbs import Verb

FAKE = Verb("fit", "fake_verb", "pretend")


def main(study, cluster="local", cluster_file="", jobs="1", *flags):
    options = Options(
        study=Path(study),
        cluster=cluster,
        cluster_file=Path(cluster_file) if cluster_file else None,
        jobs=Jobs.parse(jobs),
        **dict.fromkeys(flags, True),
    )
    return guarded(lambda: run_verbs([FAKE], options))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
