"""Run the watched verb as a process of its own: `python run_watched.py STUDY '{"cluster": "slurm", "jobs": "1:3"}'`."""

import json
import sys
from pathlib import Path

from hpc_recon.run.cli import guarded
from hpc_recon.run.options import Jobs, Options
from hpc_recon.run.session import run_verbs
from hpc_recon.run.verbs import Verb

VERB = Verb("fit", "watched_verb", "pretend")


def main(study, given="{}"):
    options = json.loads(given)
    options["jobs"] = Jobs.parse(options.get("jobs", "1"))
    if "cluster_file" in options:
        options["cluster_file"] = Path(options["cluster_file"])
    return guarded(lambda: run_verbs([VERB], Options(study=Path(study), **options)))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
