#!/usr/bin/env bash
# The controller as a PBS job (OpenPBS, PBS Pro, Torque), for sites that end long processes on login nodes. It computes
# nothing itself: it submits the jobs of the study and watches them. qsub takes no arguments for a script, so:
#
#   qsub -v STUDY=my_study.yaml,OPTIONS='--cluster mine --jobs 2:16' jobs/controller.pbs.sh
#
# Options with commas do not survive -v. A job's Python: PYTHON=/path/to/python, in -v too.
#
#PBS -N recon-control
#PBS -l select=1:ncpus=1:mem=4gb
#PBS -l walltime=48:00:00
#PBS -j oe
set -euo pipefail
cd "${PBS_O_WORKDIR:-.}"
study=${STUDY:?usage: qsub -v STUDY=my_study.yaml,OPTIONS='--cluster mine' jobs/controller.pbs.sh}
read -r -a options <<<"${OPTIONS:-}"
python=${PYTHON:-python}
# Five minutes before the end the controller lets running tiles finish, cancels its jobs and goes; submit it again.
early=${EARLY:-300}

# PBS warns a job only seconds before it is killed, and says nowhere in the job how long it may live: ask.
walltime=$(qstat -f "${PBS_JOBID:?this script is for qsub}" | sed -n 's/^ *Resource_List.walltime = *//p')
IFS=: read -r hours minutes seconds <<<"${walltime:?qstat does not say the walltime of this job}"
left=$((10#$hours * 3600 + 10#$minutes * 60 + 10#$seconds - early))
((left > 0)) || { echo "the walltime $walltime leaves no time: ask for more than $early s" >&2; exit 2; }

# In the background, so that bash takes a signal (qdel) at once and hands it on; `timeout` sends the one before the end.
timeout --preserve-status --signal=TERM "$left" \
    "$python" -m hpc_recon.pipeline --study "$study" --cluster pbs "${options[@]}" &
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
