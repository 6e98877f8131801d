"""A real Slurm on this one machine: munged, slurmctld and two slurmd with two pretended GPUs each, in one folder.

    python tests/slurm/cluster.py start /tmp/slurm     prints `export SLURM_CONF=...`
    python tests/slurm/cluster.py stop /tmp/slurm

Needs the Debian packages slurmctld, slurmd, slurm-client and munge, and root (Slurm starts jobs as users).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "run"))

import daemons

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
#: What each node says that it has; nothing enforces it.
N_GPUS = 2
PRETENDED = f"CPUs=8 RealMemory=64000 Gres=gpu:{N_GPUS}"
Process = subprocess.Popen
NODES = ("n1", "n2")


def absent() -> str | None:
    """Return why no Slurm can be started here, None if one can."""
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"not installed: {', '.join(programs)} (apt-get install slurmctld slurmd slurm-client munge)"
    return None if os.geteuid() == 0 else "needs root, to start jobs"


def write_configuration(folder: Path) -> Path:
    """Write slurm.conf and gres.conf; return the former."""
    control, *node_ports = daemons.free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} {PRETENDED}"
        for name, port in zip(NODES, node_ports, strict=True)
    )
    configuration = folder / "slurm.conf"
    configuration.write_text(
        f"""ClusterName=onehost
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.socket,cred_expire=5
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
GresTypes=gpu
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=300
KillWait=1
InactiveLimit=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""
    )
    lines = []
    for name in NODES:
        for number in range(N_GPUS):
            device = folder / f"{name}-gpu{number}"
            # Slurm insists on a device; this one is /dev/null's and /dev/zero's kind, so nothing can break.
            os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, (3, 5)[number]))
            lines.append(f"NodeName={name} Name=gpu File={device}")
    (folder / "gres.conf").write_text("\n".join(lines) + "\n")
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    return configuration


def _demote_to_munge() -> dict[str, object]:
    """Run munged as its own user where there is one; it refuses root without --force."""
    import pwd

    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam("munge")
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return {}


def _start_munged(folder: Path) -> Process:
    home = folder / "munge"
    home.mkdir(mode=0o755)
    key = home / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    identity = _demote_to_munge()
    if identity:
        for path in (home, key):
            os.chown(path, identity["user"], identity["group"])
    command = [
        shutil.which("munged"),
        *("--foreground", "--force", f"--socket={home}/munge.socket", f"--key-file={key}"),
        *(f"--pid-file={home}/munged.pid", f"--seed-file={home}/munged.seed", f"--log-file={home}/munged.log"),
    ]
    process = daemons.start(command, folder / "munged.out", **identity)
    daemons.wait(lambda: (home / "munge.socket").exists(), 120, "munged does not listen", folder / "munged.out")
    return process


def _idle(environment: dict[str, str]) -> bool:
    result = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%N %T"], env=environment, capture_output=True, text=True
    )
    return [line.split() for line in result.stdout.splitlines()] == [[name, "idle"] for name in NODES]


def start_node(folder: Path, node: str) -> Process:
    """Start the slurmd of one node."""
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    command = [shutil.which("slurmd"), "-D", "-N", node]
    return daemons.start(command, folder / f"slurmd-{node}.out", env=environment)


def start(folder: Path) -> tuple[Path, list[Process]]:
    """Start everything in `folder` (absolute, absent or empty); return the path of slurm.conf and the processes.

    The ids of the processes are kept in `folder/pids`, for `stop`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    configuration = write_configuration(folder)
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    started = []
    try:
        started.append(_start_munged(folder))
        started.append(daemons.start([shutil.which("slurmctld"), "-D"], folder / "slurmctld.out", env=environment))
        started += [start_node(folder, node) for node in NODES]
        (folder / "pids").write_text("\n".join(str(process.pid) for process in started))
        daemons.wait(lambda: _idle(environment), 300, "the nodes are not idle", folder / "slurmctld.log")
    except BaseException:
        daemons.end([process.pid for process in started])
        raise
    return configuration, started


def stop(folder: Path) -> None:
    """Cancel all jobs, wait until they are gone, and end the daemons of `start`."""
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def jobs() -> str:
        return subprocess.run(["squeue", "--noheader"], env=environment, capture_output=True, text=True).stdout

    subprocess.run(["scancel", "--user=root"], env=environment, check=False)
    limit = time.monotonic() + 120
    while jobs().strip() and time.monotonic() < limit:
        time.sleep(0.2)
    daemons.end([int(pid) for pid in (folder / "pids").read_text().split()])


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit(__doc__)
    place = Path(sys.argv[2]).absolute()
    if sys.argv[1] == "stop":
        stop(place)
    elif reason := absent():
        sys.exit(f"no Slurm can be started here: {reason}")
    else:
        print(f"export SLURM_CONF={start(place)[0]}")
        sys.stdout.flush()
        os._exit(0)  # the daemons stay: no destructor of theirs shall complain
