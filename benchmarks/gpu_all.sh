#!/usr/bin/env bash
# Everything that wants a GPU, by one command on a machine with an NVIDIA card: the tests of tests/gpu, then the benchmarks that have a GPU part.
# Writes one JSON with the card's name (default: benchmarks/results/gpu-<card>.json).
#
#   benchmarks/gpu_all.sh [--toy] [--output FILE]
#
# Uses the project's own .venv, made anew where it is absent, with cupy for the driver's CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi --query-gpu=name --format=csv,noheader >/dev/null 2>&1; then
    echo "gpu_all: no NVIDIA card here (nvidia-smi finds none); run this on a GPU node, by srun --gres=gpu:1 for example" >&2
    exit 2
fi
make .venv/.ready
if ! .venv/bin/python -c 'import cupy; raise SystemExit(not cupy.cuda.is_available())' 2>/dev/null; then
    major=$(nvidia-smi | sed -n 's/.*CUDA Version: \([0-9]*\).*/\1/p' | head -1)
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[cuda$((major < 13 ? 12 : 13))]"
fi
exec .venv/bin/python benchmarks/gpu_all.py "$@"
