#!/usr/bin/env bash
# Everything that wants a CUDA device, in one go, into one JSON with the card's name: benchmarks/gpu_all.py.
#
#     benchmarks/gpu_all.sh --output benchmarks/results/gpu.json
#
# PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" benchmarks/gpu_all.py "$@"
