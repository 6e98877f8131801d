#!/usr/bin/env condor_submit

MY.DaskWorkerName = "htcondor--$F(MY.JobId)--"
batch_name = hpc_recon-tiny-NONCE
RequestCpus = MY.DaskWorkerCores
RequestMemory = floor(MY.DaskWorkerMemory / 1048576)
RequestDisk = floor(MY.DaskWorkerDisk / 1024)
MY.JobId = "$(ClusterId).$(ProcId)"
MY.DaskWorkerCores = 8
MY.DaskWorkerMemory = 34359738368
MY.DaskWorkerDisk = 10737418240
request_gpus = 1
Error = /data/runs/tiny/jobs/WORKER.err
Log = /data/runs/tiny/jobs/WORKER.events
transfer_executable = False

Arguments = "-c 'exec >>/data/runs/tiny/jobs/WORKER.log 2>&1 || exit 1; export HPC_RECON_JOB_ID=$(ClusterId).$(ProcId); echo hpc_recon: node $(DOLLAR){SLURMD_NODENAME:-$(DOLLAR)(hostname)}; module load cuda; export HPC_RECON_THREADS=8; export OMP_WAIT_POLICY=PASSIVE; export HPC_RECON_XP=auto; export DASK_DISTRIBUTED__WORKER__DAEMON=False; exec /opt/env/bin/python -m hpc_recon.run.worker tls://SCHEDULER:PORT --name WORKER --nthreads 8 --memory-limit 32.00GiB --death-timeout 60 --nthreads 1 --nworkers 1 --memory-limit 0 --nanny --dashboard-address 127.0.0.1:0 --gpus 0 --expect /data/runs/tiny/jobs/environment-NONCE.json --interface ib0 --protocol tls:// --tls-ca-file /data/runs/tiny/jobs/tls-NONCE/certificate.pem --tls-cert /data/runs/tiny/jobs/tls-NONCE/certificate.pem --tls-key /data/runs/tiny/jobs/tls-NONCE/key.pem'"
Executable = /bin/bash

Queue
