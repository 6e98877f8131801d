#!/usr/bin/env bash
# A whole study on a cluster, verb by verb, as you would type it. Every line may be run again at any time:
# finished tiles are skipped, killed runs go on where they stopped.
#
#   jobs/full_study.sh my_study.yaml [--cluster mine --jobs 2:16 ...]
set -euo pipefail
study=${1:?usage: jobs/full_study.sh STUDY [options of every verb]}
shift
python=${PYTHON:-python}
run() {
    local verb=$1
    shift
    "$python" -m "hpc_recon.$verb" --study "$study" "$@"
}
has() { grep -q "^$1:" "$study"; } # whether the study has this section
converts=no
if has convert; then converts=before; fi
if has convert && grep -q "method: *content_loss" "$study"; then converts=after; fi # these learn from decoders

if has simulate; then run simulate --cluster local; else run ingest --cluster local; fi

run extract "$@"
if [[ $converts == before ]]; then run convert "$@"; fi
run fit --dry-run "$@"    # what it will cost: tiles, files, bytes, memory, time, and the job script
run fit "$@"
if [[ $converts == after ]]; then run convert "$@"; fi
run decode "$@"
if has train; then run train "$@"; fi
run reconstruct "$@"

run evaluate --cluster local
run report --cluster local
"$python" -m hpc_recon.status --study "$study"
