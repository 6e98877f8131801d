#!/usr/bin/env bash
# The controller as a batch job, for sites that end long processes on login nodes. It computes nothing itself:
# it submits the jobs of the study and watches them.
#
#   sbatch jobs/controller.slurm.sh my_study.yaml --cluster mine --jobs 2:16
#
#SBATCH --job-name=hpc_recon-controller
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=2-00:00:00
#SBATCH --output=hpc_recon-controller-%j.log
# Five minutes before the end: the controller lets running tiles finish, cancels its jobs and goes; submit it again.
#SBATCH --signal=B:TERM@300
set -euo pipefail
study=${1:?usage: sbatch jobs/controller.slurm.sh STUDY [options]}
shift
python=${PYTHON:-python}

# Variables of this small job must not reach the jobs that it submits (they would count as options of sbatch).
for name in "${!SLURM_@}" "${!SBATCH_@}"; do
    [[ $name == SLURM_CONF ]] || unset "$name"
done

# In the background, so that bash takes the signal at once and hands it on.
"$python" -m hpc_recon.pipeline --study "$study" --cluster slurm "$@" &
controller=$!
trap 'kill -TERM "$controller"' TERM
code=0
wait "$controller" || code=$?
# A trapped signal ends `wait` early: wait for the controller itself.
while kill -0 "$controller" 2>/dev/null; do
    code=0
    wait "$controller" || code=$?
done
exit "$code"
