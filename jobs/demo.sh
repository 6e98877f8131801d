#!/usr/bin/env bash
# A synthetic study from simulation to report, on this machine: `make demo`, or `make demo STUDY=shape_demo` for another one
# of configs/studies (shape_demo, demo_latents, demo_convert). `make demo` sets up and calls this.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
study=${STUDY:-demo}
file=configs/studies/$study.yaml

if [[ $study == demo_latents && ! -f runs/demo_latents_generator/decoder.pt ]]; then # its generators are made of its own images
    "$python" -m hpc_recon.simulate --study "$file"
    "$python" -m hpc_recon.generator make linear --study "$file" --latents 64 --to runs/demo_latents_generator
    "$python" -m hpc_recon.generator make decoder --study "$file" --latents 64 --size 32 --width 16 --epochs 40 --to runs/demo_latents_generator
fi
"$python" -m hpc_recon.pipeline --study "$file" --cluster local "$@"
echo "report: $PWD/runs/$study/report/index.html"
