"""A real Grid Engine on this one machine: a qmaster, an execd, one queue with eight slots, all in one folder.

    python tests/sge/cluster.py start /tmp/sge     prints `export SGE_ROOT=...` and three more
    python tests/sge/cluster.py stop /tmp/sge

Needs the Debian packages gridengine-master, gridengine-exec and gridengine-client, and root (Grid Engine starts jobs as
users). The machine's own Grid Engine, if it has one, is not touched: own cell, own ports.

What many sites have is had here too: jobs do not get the environment of the daemons or of who submits, and the first
line of a script is ignored: the queue's shell (csh, Grid Engine's old default) runs it unless `-S` names another.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "run"))

import daemons

PROGRAMS = ("sge_qmaster", "sge_execd", "spoolinit", "spooldefaults", "qconf")
COMMANDS = ("qsub", "qstat", "qdel", "qacct")
#: Where Debian has the programs that are not commands, the defaults of a new cell, and a tree to be SGE_ROOT.
LIBRARY = Path("/usr/lib/gridengine")
DEFAULTS = Path("/usr/share/gridengine")
TREE = Path("/var/lib/gridengine")
CELL = "default"
QUEUE = "main.q"
SLOTS = 8
#: Changes to the defaults of a cell: nothing runs in the jobs' names but jobs, no mail, ended jobs are known at once.
CONFIGURATION = {
    "mailer": "/bin/true",
    "administrator_mail": "none",
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:05",
    "execd_params": "INHERIT_ENV=false",
    "reporting_params": "accounting=true reporting=false flush_time=00:00:15 accounting_flush_time=00:00:00 "
    "joblog=false sharelog=00:00:00",
}
#: The queue; what it does not say is the default.
JOBS = {"qname": QUEUE, "slots": str(SLOTS), "pe_list": "smp", "shell": "/bin/csh", "load_thresholds": "NONE"}
#: Jobs start at once, however loaded the machine is.
SCHEDULING = {
    "schedule_interval": "0:0:1",
    "flush_submit_sec": "1",
    "flush_finish_sec": "1",
    "job_load_adjustments": "NONE",
    "load_adjustment_decay_time": "0:0:0",
}


def absent() -> str | None:
    """Return why no Grid Engine can be started here, None if one can."""
    missing = [name for name in PROGRAMS if not (LIBRARY / name).exists()]
    missing += [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        packages = "gridengine-master gridengine-exec gridengine-client"
        return f"not installed: {', '.join(missing)} (apt-get install {packages})"
    if os.geteuid() != 0:
        return "needs root, to start jobs"
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        return f"this machine's name {socket.gethostname()} has no address (add it to /etc/hosts)"
    return None


def variables(folder: Path) -> dict[str, str]:
    """Return the variables by which Grid Engine's commands find the cell of `start(folder)`."""
    lines = (folder / "variables").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def changed(text: str, values: dict[str, str]) -> str:
    """Return a configuration (`name value` lines) with other values; names that it lacks are added.

    >>> changed("slots 1\\nshell /bin/csh", {"slots": "8", "rerun": "FALSE"})
    'slots 8\\nshell /bin/csh\\nrerun FALSE\\n'
    """
    text = text.replace("\\\n", " ")
    kept = [f"{name} {values.get(name, value.strip())}" for name, value in re.findall(r"^(\w+)[ \t]+(.*)$", text, re.M)]
    names = {line.split()[0] for line in kept}
    return "\n".join([*kept, *(f"{name} {value}" for name, value in values.items() if name not in names)]) + "\n"


def _run(command: list[str], environment: dict[str, str]) -> str:
    """Return what a command prints; raise RuntimeError with its own words where it fails."""
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def write_cell(folder: Path, environment: dict[str, str]) -> None:
    """Write a new cell with classic (plain text) spooling, whose manager is root."""
    common, spool = folder / CELL / "common", folder / "qmaster"
    for path in (common, spool, folder / "execd"):
        path.mkdir(parents=True)
    for name in ("bin", "lib", "util", "utilbin"):
        (folder / name).symlink_to(TREE / name)
    host = socket.gethostname()
    spooling = f"{common};{spool}"
    (common / "bootstrap").write_text(
        f"""admin_user root
default_domain none
ignore_fqdn true
spooling_method classic
spooling_lib libspoolc
spooling_params {spooling}
binary_path {LIBRARY}
qmaster_spool_dir {spool}
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""
    )
    (common / "act_qmaster").write_text(f"{host}\n")
    # In containers the address of the machine's name is often 127.0.0.1, whose name is localhost: the same host here.
    (common / "host_aliases").write_text(" ".join(dict.fromkeys([host, "localhost"])) + "\n")
    configuration = changed(
        (DEFAULTS / "default-configuration").read_text(), {**CONFIGURATION, "execd_spool_dir": str(folder / "execd")}
    )
    _run([str(LIBRARY / "spoolinit"), "classic", "libspoolc", spooling, "init"], environment)
    resources = DEFAULTS / "util" / "resources"
    for what, value in {
        "configuration": _write(folder / "configuration", configuration),
        "complexes": str(resources / "centry"),
        "usersets": str(resources / "usersets"),
        "pes": str(resources / "pe"),
        "managers": "root",
    }.items():
        _run([str(LIBRARY / "spooldefaults"), what, value], environment)


def _answers(command: list[str], environment: dict[str, str], pattern: str) -> bool:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return result.returncode == 0 and re.search(pattern, result.stdout, re.M) is not None


def start(folder: Path) -> tuple[dict[str, str], list[subprocess.Popen]]:
    """Start everything in `folder` (absolute, absent or empty); return the variables of the cell and the processes.

    The ids of the processes are kept in `folder/pids`, for `stop`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    qmaster_port, execd_port = daemons.free_ports(2)
    cell = {
        "SGE_ROOT": str(folder),
        "SGE_CELL": CELL,
        "SGE_QMASTER_PORT": str(qmaster_port),
        "SGE_EXECD_PORT": str(execd_port),
    }
    (folder / "variables").write_text("".join(f"{name}={value}\n" for name, value in cell.items()))
    environment = {**os.environ, **cell}
    write_cell(folder, environment)
    # SGE_ND: not a daemon, so that the process started is the one to end.
    bare = {"PATH": os.defpath, **cell, "SGE_ND": "true"}
    host = re.escape(socket.gethostname().partition(".")[0])
    started = []

    def begin(program: str, asked: list[str], pattern: str, log: Path) -> None:
        started.append(daemons.start([str(LIBRARY / program)], folder / f"{program}.out", env=bare))
        (folder / "pids").write_text("\n".join(str(process.pid) for process in started))
        daemons.wait(lambda: _answers(asked, environment, pattern), 300, f"{program} does not answer", log)

    try:
        begin("sge_qmaster", ["qconf", "-sh"], host, folder / "qmaster" / "messages")
        schedule = changed(_run(["qconf", "-ssconf"], environment), SCHEDULING)
        _run(["qconf", "-Msconf", _write(folder / "scheduling", schedule)], environment)
        begin("sge_execd", ["qconf", "-sel"], host, folder / "sge_execd.out")
        _run(["qconf", "-as", socket.gethostname()], environment)
        wanted = {
            "qname": QUEUE,
            "hostlist": socket.gethostname(),
            "slots": str(SLOTS),
            "pe_list": "smp",
            "shell": "/bin/csh",
        }
        queue = changed(_run(["qconf", "-sq"], environment), {**wanted, "load_thresholds": "NONE"})
        _run(["qconf", "-Aq", _write(folder / "queue", queue)], environment)
        # The state of the queue, in the last column, is nothing: no alarm, no unknown load.
        usable = rf"^{re.escape(QUEUE)}@\S+\s+\S+\s+0/0/{SLOTS}\s+[\d.]+\s+\S+\s*$"
        asked = ["qstat", "-f"]
        daemons.wait(
            lambda: _answers(asked, environment, usable),
            300,
            "the queue is not usable",
            folder / "qmaster" / "messages",
        )
    except BaseException:
        daemons.end([process.pid for process in started])
        raise
    return cell, started


def stop(folder: Path) -> None:
    """Delete all jobs, wait until they are gone, and end the daemons of `start`.

    Raises
    ------
    RuntimeError
        If jobs were still there after 120 s; the daemons are ended all the same.
    """
    environment = {**os.environ, **variables(folder)}

    def jobs() -> str:
        return subprocess.run(["qstat", "-u", "*"], env=environment, capture_output=True, text=True, timeout=120).stdout

    subprocess.run(["qdel", "-u", "*"], env=environment, check=False, capture_output=True, timeout=120)
    limit = time.monotonic() + 120
    while (left := jobs().strip()) and time.monotonic() < limit:
        time.sleep(0.2)
    qmaster, execd = (int(pid) for pid in (folder / "pids").read_text().split())
    daemons.end([execd])
    daemons.end([qmaster], patience=0)  # an orderly end takes it 10 s, for files that nobody needs
    if left:
        raise RuntimeError(f"these jobs were not gone 20 s after qdel:\n{left}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit(__doc__)
    place = Path(sys.argv[2]).absolute()
    if sys.argv[1] == "stop":
        stop(place)
    elif reason := absent():
        sys.exit(f"no Grid Engine can be started here: {reason}")
    else:
        for name, value in start(place)[0].items():
            print(f"export {name}={value}")
        sys.stdout.flush()
        os._exit(0)  # the daemons stay: no destructor of theirs shall complain
