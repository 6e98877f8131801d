"""A Slurm that runs jobs here and now: `fake_slurm.py SPOOL sbatch|squeue|scancel|scontrol|sacct <options>`.

A job is a shell that runs its script; its number is the name of the file that holds its process id.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path


def alive(pid):
    """Return whether a process runs and is not merely waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def jobs(spool):
    """Return (number, process id, name) of the jobs in the queue."""
    found = [
        (path.stem, int(path.read_text()), (spool / f"{path.stem}.name").read_text()) for path in spool.glob("*.pid")
    ]
    return [job for job in found if alive(job[1])]


def main(spool, tool, *options):
    """Do what one of Slurm's commands would."""
    if tool == "sbatch":
        script = Path(options[-1])
        number = str(1001 + len(list(spool.glob("*.name"))))
        name = re.search(r"#SBATCH (?:-J|--job-name)[ =](\S+)", script.read_text())
        (spool / f"{number}.name").write_text(name.group(1) if name else "")
        with open(spool / f"{number}.log", "w") as log:
            job = subprocess.Popen(
                ["bash", str(script)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                umask=0,  # not every scheduler hands the controller's umask on
                env={**os.environ, "SLURM_JOB_ID": number},
            )  # fmt: skip
        (spool / f"{number}.pid").write_text(str(job.pid))
        print(f"Submitted batch job {number}")
    elif tool == "squeue":
        form = next((o.partition("=")[2] for o in options if o.startswith("--format=")), "%i|%T|%r")
        name = next((o.partition("=")[2] for o in options if o.startswith("--name=")), None)
        for number, _, own in jobs(spool):
            if name in (None, own):
                known = {"%i": number, "%A": number, "%T": "RUNNING", "%r": "None", "%j": own}
                line = form
                for field in re.findall(r"%\.?\d*[A-Za-z]", form):
                    line = line.replace(field, known.get(field, ""))
                print(line)
    elif tool == "scancel":
        name = next((o.partition("=")[2] for o in options if o.startswith("--name=")), None)
        for number, pid, own in jobs(spool):
            if name in (None, own) and (name is not None or number in options):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
