#!/usr/bin/env bash

#BSUB -J hpc_recon-tiny-NONCE
#BSUB -q gpu
#BSUB -n 8
#BSUB -R "span[hosts=1]"
#BSUB -M 34360
#BSUB -W 04:00
#BSUB -R "rusage[mem=32GB]"
#BSUB -gpu "num=1"
#BSUB -o /data/runs/tiny/jobs/WORKER.log
echo hpc_recon: node ${SLURMD_NODENAME:-$(hostname)}
module load cuda
export HPC_RECON_THREADS=8
export OMP_WAIT_POLICY=PASSIVE
export HPC_RECON_XP=auto
export DASK_DISTRIBUTED__WORKER__DAEMON=False
export HPC_RECON_DEADLINE=$(( $(date +%s) + 14340 ))
exec /opt/env/bin/python -m hpc_recon.run.worker tls://SCHEDULER:PORT --name WORKER --nthreads 8 --memory-limit 32.00GiB --death-timeout 60 --nthreads 1 --nworkers 1 --memory-limit 0 --nanny --dashboard-address 127.0.0.1:0 --gpus 0 --expect /data/runs/tiny/jobs/environment-NONCE.json --interface ib0 --protocol tls:// --tls-ca-file /data/runs/tiny/jobs/tls-NONCE/certificate.pem --tls-cert /data/runs/tiny/jobs/tls-NONCE/certificate.pem --tls-key /data/runs/tiny/jobs/tls-NONCE/key.pem
