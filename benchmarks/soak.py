"""Is anything lost, changed or left behind when jobs, workers, nodes and controllers go away at random, for long?

A study of 3,474 small tiles (`fit` and `decode` of three subjects, 6 ROIs, 8 networks of 8 layers) is computed once
undisturbed on this machine, then on a real Slurm with two nodes (tests/slurm/cluster.py), where every few seconds
something is done to it, drawn at random from `DISTURBANCES`. A controller that ended is started again, as its user
would, until nothing is left; then the next round begins with an empty workspace, until the minutes are over. Each round
ends by comparing:

- every tile has its receipt, every file its checksum, and all bytes are those of the undisturbed run;
- no job is in the queue, no process names the workspace, and no lease, certificate, torn or temporary file is left
  (what a killed worker leaves is removed by the next one, so one more is started before looking);
- the open file descriptors of controllers, sampled twice a second, do not grow in their lives.

    benchmarks/soak.sh 30 --output benchmarks/results/soak.json      starts Slurm, and this

Exit code 1 if anything differs or is left. `--seed` draws other disturbances; their times are the machine's.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml
from give import give
from machine import machine

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "slurm"))

LAYERS = ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2"]
ROIS = ["V1", "V2", "V3", "V4", "HVC", "VC"]
SIZE = {"subjects": 3, "networks": 8, "layers": 8, "rois": 6}
TOY = {"subjects": 1, "networks": 1, "layers": 3, "rois": 2}
#: Seconds from one disturbance to the next.
PAUSE = (2.0, 9.0)
#: A round without an end after the minutes are over has hung.
PATIENCE = 1800.0
#: Descriptors that a controller may have more in the last third of its life than in the first: jobs come and go.
MORE_DESCRIPTORS = 10
#: A controller has at least so many descriptors open once its scheduler listens; 3 to 7 while it plans.
LISTENING = 12
#: Names under which results lie; receipts, logs and job scripts hold times and differ.
RESULTS = ("brain.zarr", "brain_statistics", "features.zarr", "decoders.zarr", "decoded.zarr", "norms.zarr", "choices")
#: What dask and torch keep in a user's temporary folder for good: two empty files that are locked, an empty folder.
KEPT = {"global.lock", "purge.lock", "torchinductor_root"}


def write_study(folder, name, size):
    """Write the study of one workspace; return its file."""
    content = {
        "name": "soak",
        "workspace": str(folder / name),
        "subjects": [f"S{i + 1}" for i in range(size["subjects"])],
        "rois": ROIS[-size["rois"] :],
        "datasets": {
            "training": {"role": "training"},
            **{dataset: {"role": "test"} for dataset in ("natural", "shapes", "letters")},
        },
        "simulate": {
            "image_size": 16,
            "n_training": 32,
            "n_natural": 3,
            "n_shapes": 3,
            "n_letters": 3,
            "n_voxels": 60,
            "training_repeats": 1,
        },
        "networks": {
            f"net{i}": {"architecture": "vgg11_quarter", "weights": f"random:{i}", "layers": LAYERS[: size["layers"]]}
            for i in range(size["networks"])
        },
        "units": 64,
        "fit": {"n_voxels": 5},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def command(study, *options):
    return [sys.executable, "-m", "hpc_recon.pipeline", "--study", str(study), *map(str, options)]


def run(environment, study, *options):
    done = subprocess.run(command(study, *options), env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command(study, *options))} ended with {done.returncode}:\n{done.stderr}")


def contents(workspace):
    """Return the digest of every file of the results, by name."""
    return {
        path.relative_to(workspace).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in RESULTS
        for path in sorted((workspace / name).rglob("*"))
        if path.is_file()
    }


def ask(environment, *words):
    """Return what a command of Slurm prints; nothing if it fails (its daemon may just be ending)."""
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout


def jobs(environment, *states):
    chosen = [f"--states={','.join(states)}"] if states else []
    return ask(environment, "squeue", "--noheader", "--format=%i", *chosen).split()


def processes_of(*texts):
    """Return the processes (but this one) whose command line, folder or environment names one of some paths."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            seen = [*process.cmdline(), process.cwd(), *process.environ().values()]
            if any(text in each for text in texts for each in seen):
                found.append(process)
    return found


def workers(workspace):
    """Return the processes of workers of a workspace's jobs."""
    found = []
    for process in processes_of(str(workspace)):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SLURM_JOB_ID") and "distributed.cli.dask_worker" in process.cmdline():
                found.append(process)
    return found


class Soak:
    """One workspace that is computed while things go away."""

    def __init__(self, study, *, environment, cluster, slurm, rng):
        self.study, self.environment, self.slurm, self.rng = study, environment, slurm, rng
        self.workspace = study.with_suffix("")
        self.cluster = cluster
        self.controller = None
        self.controllers = 0
        self.log = study.with_suffix(".log")
        self.counted = Counter()
        self.codes = Counter()
        self.descriptors = []
        self.drained = {}
        self.paused = {}

    def start(self):
        self._follow(self._begin())

    def _begin(self):
        """Start a controller and return its process."""
        options = ("--from", "fit", "--through", "decode", "--cluster", "slurm", "--cluster-file", self.cluster)
        with open(self.log, "ab") as stream:
            return subprocess.Popen(
                command(self.study, *options, "--jobs", "2"), env=self.environment, stdout=stream, stderr=stream
            )

    def _follow(self, controller):
        """Disturb this controller from now on."""
        self.controller = controller
        self.controllers += 1
        self.descriptors.append([])

    # Each disturbance returns whether there was something to disturb.

    def kill_worker(self):
        """kill -9 of a worker in whatever it does."""
        found = workers(self.workspace)
        return self._signal(self.rng.choice(found).pid, signal.SIGKILL) if found else False

    def pause_worker(self):
        """A worker that stands still for a few seconds, as one whose node swaps."""
        found = [process for process in workers(self.workspace) if process.pid not in self.paused]
        if not found:
            return False
        pid = self.rng.choice(found).pid
        self.paused[pid] = time.monotonic() + self.rng.uniform(1, 5)
        return self._signal(pid, signal.SIGSTOP)

    def cancel_job(self):
        found = jobs(self.environment)
        if found:
            ask(self.environment, "scancel", self.rng.choice(found))
        return bool(found)

    def kill_job(self):
        found = jobs(self.environment, "RUNNING")
        if found:
            ask(self.environment, "scancel", "--signal=KILL", self.rng.choice(found))
        return bool(found)

    def cancel_all(self):
        found = jobs(self.environment)
        if found:
            ask(self.environment, "scancel", *found)
        return bool(found)

    def requeue_job(self):
        """Pre-empted: Slurm ends the job and puts it back into its queue."""
        found = jobs(self.environment, "RUNNING")
        if found:
            ask(self.environment, "scontrol", "requeue", self.rng.choice(found))
        return bool(found)

    def drain_node(self):
        """A node that takes no new job for a while; at times its jobs are ended too."""
        import cluster

        node = self.rng.choice(cluster.NODES)
        if node in self.drained:
            return False
        state = self.rng.choice(["drain", "down"])
        ask(self.environment, "scontrol", "update", f"nodename={node}", f"state={state}", "reason=soak")
        self.drained[node] = time.monotonic() + self.rng.uniform(3, 10)
        return True

    def crash_node(self):
        """kill -9 of a node's daemon, of its jobs' and of their processes; it is started anew at once."""
        import cluster

        node = self.rng.choice(cluster.NODES)
        if node in self.drained:
            return False
        pids = [int((self.slurm / f"slurmd-{node}.pid").read_text())]
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                on_node = process.environ().get("SLURMD_NODENAME") == node and process.environ().get("SLURM_JOB_ID")
                if on_node and process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    pids.append(process.pid)
        for pid in pids:
            self._signal(pid, signal.SIGKILL)
        ask(self.environment, "scontrol", "update", f"nodename={node}", "state=down", "reason=crashed")
        daemon = cluster.start_node(self.slurm, node)
        with open(self.slurm / "pids", "a") as stream:
            stream.write(f"\n{daemon.pid}")
        self.drained[node] = time.monotonic() + 3
        return True

    def kill_controller(self):
        """kill -9; its jobs live on until the next one cancels them."""
        return self._signal(self.controller.pid, signal.SIGKILL)

    def drain_controller(self):
        """SIGTERM: running tiles are finished."""
        return self._signal(self.controller.pid, signal.SIGTERM)

    def interrupt_controller(self):
        """Ctrl-C twice: it leaves at once."""
        self._signal(self.controller.pid, signal.SIGINT)
        time.sleep(self.rng.uniform(0.05, 1))
        return self._signal(self.controller.pid, signal.SIGINT)

    def second_controller(self):
        """A second controller; it must refuse while the first lives, and is followed if it outlives it."""
        second = self._begin()
        while second.poll() is None:
            if self.controller.poll() is not None:
                self.codes[str(self.controller.returncode)] += 1
                self._follow(second)
                return True
            time.sleep(0.2)
        if self.controller.poll() is None and second.returncode != 2:
            raise SystemExit(f"error: a second controller ended with {second.returncode}, not 2; see {self.log}")
        return True

    def _signal(self, pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def recover(self, *, all_now=False):
        """Undo what lasts only for a while: nodes that are drained, workers that stand still."""
        now = float("inf") if all_now else time.monotonic()
        for node in [node for node, until in self.drained.items() if until <= now]:
            ask(self.environment, "scontrol", "update", f"nodename={node}", "state=resume")
            del self.drained[node]
        for pid in [pid for pid, until in self.paused.items() if until <= now]:
            self._signal(pid, signal.SIGCONT)
            del self.paused[pid]

    def sample(self):
        """Count the open descriptors of the controller."""
        with contextlib.suppress(psutil.Error):
            self.descriptors[-1].append(psutil.Process(self.controller.pid).num_fds())

    def complete(self, until):
        """Disturb until everything is computed, at most until a time; then let it end."""
        self.start()
        next_one = time.monotonic() + self.rng.uniform(*PAUSE)
        while True:
            time.sleep(0.5)
            self.recover()
            self.sample()
            code = self.controller.poll()
            if code is not None:
                self.codes[str(code)] += 1
                if code == 0:
                    break
                if time.monotonic() > until + PATIENCE:
                    raise SystemExit(f"error: not done {PATIENCE:.0f} s after the last disturbance; see {self.log}")
                if code == 2:
                    self.recover(all_now=True)  # the run stopped by itself: its reason stands in the log
                self.start()
            elif time.monotonic() > until + PATIENCE:
                self.controller.kill()
                raise SystemExit(f"error: not done {PATIENCE:.0f} s after the last disturbance; see {self.log}")
            elif next_one < time.monotonic() < until:
                name = self.rng.choices(list(DISTURBANCES), weights=list(DISTURBANCES.values()))[0]
                happened = getattr(self, name)()
                self.counted[name] += happened
                # Where there was nothing to disturb (no worker yet, say), another is drawn soon.
                next_one = time.monotonic() + (self.rng.uniform(*PAUSE) if happened else 0.5)
            elif time.monotonic() >= until:
                self.recover(all_now=True)
        self.recover(all_now=True)


#: Disturbances, by how often they are drawn against each other. A controller that starts anew takes half a minute on a
#: busy machine, in which nothing else is disturbed: these are rare.
DISTURBANCES = {
    "kill_worker": 6,
    "pause_worker": 3,
    "cancel_job": 4,
    "kill_job": 3,
    "cancel_all": 1,
    "requeue_job": 3,
    "drain_node": 1,
    "crash_node": 1,
    "kill_controller": 1,
    "drain_controller": 1,
    "interrupt_controller": 1,
    "second_controller": 1,
}


def growth(samples):
    """Return the median descriptors of the first and last third of a controller's running; None if that was short.

    What it has open while it plans, before its scheduler listens (fewer than `LISTENING`), is left out.

    >>> growth([4] * 50 + [20] * 30 + [21] * 30)
    (20, 21)
    """
    settled = [n for n in samples if n >= LISTENING]
    if len(settled) < 30:
        return None
    third = len(settled) // 3
    return sorted(settled[:third])[third // 2], sorted(settled[-third:])[third // 2]


def start_a_worker(soak):
    """Compute one tile of a fresh workspace on this machine, undisturbed.

    A worker that is killed can remove nothing: the next one that starts on its node removes what it left.
    """
    folder = soak.workspace.parent
    shutil.copytree(folder / "prepared", folder / "after")
    study = folder / "after.yaml"
    study.write_text(soak.study.read_text().replace(str(soak.workspace), str(folder / "after")))
    run(soak.environment, study, "--from", "fit", "--through", "fit", "--jobs", 1, "--limit", 1)
    shutil.rmtree(folder / "after")


def left_behind(soak, temporary):
    """Return what is left of a finished run that should not be, by kind."""
    from hpc_recon.core.paths import private_folder

    deadline = time.monotonic() + 60  # Slurm's own processes of a job take some seconds to go
    while True:
        processes = [(p.pid, " ".join(p.cmdline())[:200]) for p in processes_of(str(soak.workspace))]
        queued = jobs(soak.environment)
        if not (processes or queued) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    workspace = soak.workspace
    names = [path.relative_to(workspace).as_posix() for path in workspace.rglob("*")]
    return {
        "jobs": queued,
        "processes": processes,
        "certificates and notes": [
            path.name
            for kind in ("tls-*", "environment-*", "devices-*", "broken-*")
            for path in (workspace / "jobs").glob(kind)
        ],
        "leases": [path.name for path in (workspace / "receipts").glob("*controller*")]
        + [path.name for path in (workspace / "receipts").glob(".*controller*")],
        "torn files": [name for name in names if name.endswith(".partial")],
        "temporary files": [
            path.relative_to(temporary).as_posix()
            for path in sorted(temporary.rglob("*"))
            if path.name not in (*KEPT, "dask-scratch-space", private_folder(temporary).name)
        ],
    }


def compare(expected, found):
    """Return the names of files that are missing, more than expected, and different."""
    return {
        "missing": sorted(set(expected) - set(found))[:20],
        "unexpected": sorted(set(found) - set(expected))[:20],
        "different": sorted(name for name in set(expected) & set(found) if expected[name] != found[name])[:20],
    }


def tiles(workspace):
    """Return how many tiles of each verb are done, and how many files of theirs are damaged."""
    from hpc_recon import status

    _, damaged, _ = status.verify(workspace, checksums=True)
    return {row.verb: row.done for row in status.survey(workspace) if row.done}, damaged


def one_round(soak, *, until, expected, temporary):
    """Compute one workspace while it is disturbed; return what was done to it and what was found."""
    begin = time.monotonic()
    soak.complete(until)
    seconds = time.monotonic() - begin
    done, damaged = tiles(soak.workspace)
    grown = [pair for pair in map(growth, soak.descriptors) if pair]
    after_kills = [path.name for path in temporary.rglob("*.dirlock")]
    start_a_worker(soak)
    left = left_behind(soak, temporary)
    differences = compare(expected["contents"], contents(soak.workspace))
    wrong = [f"{kind} left: {found[:5]}" for kind, found in left.items() if found]
    wrong += [f"files {kind}: {found}" for kind, found in differences.items() if found]
    wrong += [f"descriptors grew from {a} to {b}" for a, b in grown if b > a + MORE_DESCRIPTORS]
    if done != expected["tiles"]:
        wrong.append(f"tiles done: {done}, not {expected['tiles']}")
    if damaged:
        wrong.append(f"{damaged} files do not have the checksum of their receipt")
    return {
        "seconds": seconds,
        "tiles": done,
        "disturbances": dict(soak.counted),
        "controllers": soak.controllers,
        "controllers_ended_with": dict(soak.codes),
        "jobs_submitted": len(list((soak.workspace / "jobs").glob("worker-*.sh"))),
        "most_descriptors": max((max(samples) for samples in soak.descriptors if samples), default=0),
        "descriptors_first_and_last_third": grown,
        "descriptors": [samples[::10] for samples in soak.descriptors],
        "temporary_files_until_the_next_worker": len(after_kills),
        "wrong": wrong,
    }


def prepare(folder, environment, size):
    """Simulate and extract once, compute everything undisturbed; return what is expected and the prepared workspace."""
    study = write_study(folder, "prepared", size)
    run(environment, study, "--through", "extract")
    shutil.copytree(folder / "prepared", folder / "undisturbed")
    reference = write_study(folder, "undisturbed", size)
    begin = time.monotonic()
    run(environment, reference, "--from", "fit", "--through", "decode", "--jobs", 2)
    seconds = time.monotonic() - begin
    done, damaged = tiles(folder / "undisturbed")
    assert not damaged, damaged
    expected = {"contents": contents(folder / "undisturbed"), "tiles": done}
    return expected, {"seconds": seconds, "tiles": done, "files": len(expected["contents"])}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="how long disturbances go on")
    parser.add_argument("--slurm", type=Path, required=True, help="folder that tests/slurm/cluster.py started Slurm in")
    parser.add_argument("--folder", type=Path, required=True, help="absent or empty; everything is kept here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--toy", action="store_true", help="a study of a few tiles, to try the script")
    parser.add_argument("--networks", type=int, default=SIZE["networks"], help="fewer: fewer tiles (8: 3,474)")
    parser.add_argument("--logs", type=Path, help="copy what controllers printed here")
    parser.add_argument("--output", type=Path, help="write the summary here")
    options = parser.parse_args(argv)
    import running

    folder, size = options.folder.absolute(), TOY if options.toy else {**SIZE, "networks": options.networks}
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    environment = {**os.environ, "SLURM_CONF": str(options.slurm / "slurm.conf"), "TMPDIR": str(temporary)}
    summary = {"machine": machine(), "size": size, "minutes": options.minutes, "seed": options.seed}
    expected, summary["undisturbed"] = prepare(folder, environment, size)
    cluster = running.write_cluster(folder, poll_seconds=1, walltime="01:00:00", directive="--requeue")
    rng = random.Random(options.seed)
    until, rounds = time.monotonic() + 60 * options.minutes, []
    while not rounds or time.monotonic() < until:
        name = f"round{len(rounds) + 1}"
        shutil.copytree(folder / "prepared", folder / name)
        study = write_study(folder, name, size)
        soak = Soak(study, environment=environment, cluster=cluster, slurm=options.slurm, rng=rng)
        try:
            rounds.append(one_round(soak, until=until, expected=expected, temporary=temporary))
        finally:
            if soak.controller is not None and soak.controller.poll() is None:
                soak.controller.kill()
                soak.controller.wait()
            if options.logs:
                options.logs.mkdir(parents=True, exist_ok=True)
                shutil.copy(soak.log, options.logs)
        if not rounds[-1]["wrong"]:
            shutil.rmtree(folder / name)
    summary["rounds"] = rounds
    summary["disturbances"] = dict(sum((Counter(each["disturbances"]) for each in rounds), Counter()))
    summary["wrong"] = [f"round {i}: {text}" for i, each in enumerate(rounds, 1) for text in each["wrong"]]
    give(summary, options.output)
    return 1 if summary["wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
