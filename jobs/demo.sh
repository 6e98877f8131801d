#!/usr/bin/env bash
# The demo: a synthetic study from simulation to report, on this machine. `make demo` sets up and calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}

"$python" -m hpc_recon.pipeline --study configs/studies/demo.yaml --cluster local "$@"
echo "report: $PWD/runs/demo/report/index.html"
