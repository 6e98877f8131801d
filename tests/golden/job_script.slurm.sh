#!/usr/bin/env bash

#SBATCH -J hpc_recon-tiny-NONCE
#SBATCH -p gpu
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH -t 04:00:00
#SBATCH --gres=gpu:1
#SBATCH --output=/data/runs/tiny/jobs/%x-%j.log
module load cuda
export HPC_RECON_THREADS=8
export OMP_WAIT_POLICY=PASSIVE
export HPC_RECON_XP=auto
export DASK_DISTRIBUTED__WORKER__DAEMON=False
export HPC_RECON_DEADLINE=$(( $(date +%s) + 14340 ))
/opt/env/bin/python -m distributed.cli.dask_worker tls://SCHEDULER:PORT --name WORKER --nthreads 8 --memory-limit 32.00GiB --nanny --death-timeout 60 --nthreads 1 --memory-limit 0 --dashboard-address 127.0.0.1:0 --interface ib0 --protocol tls:// --tls-ca-file /data/runs/tiny/jobs/tls-NONCE/certificate.pem --tls-cert /data/runs/tiny/jobs/tls-NONCE/certificate.pem --tls-key /data/runs/tiny/jobs/tls-NONCE/key.pem
