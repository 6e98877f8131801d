#!/usr/bin/env bash
# Starts a real Slurm on this machine, disturbs a study of thousands of tiles on it for MINUTES (30), and says whether
# anything was lost, differs or was left behind: benchmarks/soak.py. The options after the minutes are those of soak.py.
#
#     benchmarks/soak.sh                                        half an hour
#     benchmarks/soak.sh 8 --output benchmarks/results/soak.json
#
# Needs root, slurmctld, slurmd, slurm-client and munge (docs/on_a_cluster.md). PYTHON names the interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python}
minutes=${1:-30}
[ $# -eq 0 ] || shift
case $minutes in
    '' | *[!0-9.]*) echo "error: MINUTES is a number, for example 30; got '$minutes'" >&2; exit 2 ;;
esac
folder=$(mktemp -d)
chmod 755 "$folder" # munged runs as its own user
stop() {
    [ ! -e "$folder/slurm/pids" ] || "$python" "$here/../tests/slurm/cluster.py" stop "$folder/slurm"
    rm -rf "$folder"
}
trap stop EXIT
exports=$("$python" "$here/../tests/slurm/cluster.py" start "$folder/slurm")
eval "$exports"
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
export OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
nice -n 5 "$python" "$here/soak.py" --minutes "$minutes" --slurm "$folder/slurm" --folder "$folder/soak" "$@"
