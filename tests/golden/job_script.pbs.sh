#!/usr/bin/env bash

#PBS -N r-NONCE
#PBS -q gpu
#PBS -l select=1:ncpus=8:ngpus=1:mem=32gb
#PBS -l walltime=04:00:00
#PBS -S /bin/bash
#PBS -j oe
#PBS -o /data/runs/tiny/jobs/WORKER.log
echo hpc_recon: node ${SLURMD_NODENAME:-$(hostname)}
module load cuda
export HPC_RECON_THREADS=8
export OMP_WAIT_POLICY=PASSIVE
export HPC_RECON_XP=auto
export DASK_DISTRIBUTED__WORKER__DAEMON=False
export HPC_RECON_DEADLINE=$(( $(date +%s) + 14340 ))
exec /opt/env/bin/python -m hpc_recon.run.worker tls://SCHEDULER:PORT --name WORKER --nthreads 8 --memory-limit 32.00GiB --death-timeout 60 --nthreads 1 --nworkers 1 --memory-limit 0 --nanny --dashboard-address 127.0.0.1:0 --gpus 0 --expect /data/runs/tiny/jobs/environment-NONCE.json --interface ib0 --protocol tls:// --tls-ca-file /data/runs/tiny/jobs/tls-NONCE/certificate.pem --tls-cert /data/runs/tiny/jobs/tls-NONCE/certificate.pem --tls-key /data/runs/tiny/jobs/tls-NONCE/key.pem
