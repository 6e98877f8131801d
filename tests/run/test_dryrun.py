"""The table of a dry run."""

import socket
import subprocess
from pathlib import Path

import pytest
import rich.console

from hpc_recon.core.cluster_file import ClusterFile, load_cluster
from hpc_recon.core.tiles import Group, Need, Tile
from hpc_recon.run import dryrun
from hpc_recon.run.clusters import Place
from hpc_recon.run.dryrun import Forecast
from hpc_recon.run.options import Jobs
from hpc_recon.run.rates import Rate

NEED = Need(host_bytes=2**30, device_bytes=2**31, bytes_in=2**20, bytes_out=2**21, files_out=2, seconds=30.0)
TILES = [Tile(Group("fit", ("S1",)), "fit", i, i + 1, NEED) for i in range(10)]
LOCAL = Place("local", load_cluster("local"), Jobs(2, 2), "auto", None)


def test_totals_are_over_the_tiles_to_do_and_time_is_shared_by_workers():
    row = dryrun.cells("fit", dryrun.cost(TILES[4:], workers=2))
    assert row["to do"] == "6"
    assert row["files"] == "12"
    assert row["read"] == "6.0 MiB"
    assert row["written"] == "12.0 MiB"
    assert row["memory"] == "1.2 GiB"
    assert row["GPU"] == "2.0 GiB"
    assert (row["work"], row["elapsed"]) == ("3.0 min", "1.5 min")


def test_more_workers_do_not_shorten_the_longest_tile():
    assert dryrun.cost(TILES[:2], workers=50).wall_seconds == 30.0
    assert dryrun.cost(TILES[:2], workers=50, factor=2.0).wall_seconds == 60.0


def test_what_is_done_costs_nothing_and_what_was_measured_counts():
    rate = Rate((15.0,), (30.0,), (1,))
    found = dryrun.costs(Forecast("fit", TILES, TILES[:4], {"fit": rate}), workers=1)
    assert found["fit"].seconds == 4 * 15.0
    assert dryrun.cells("fit", dryrun.cost([], workers=2))["to do"] == "0"


def test_stages_follow_one_another_in_the_sum():
    forecasts = [Forecast("fit", TILES, TILES), Forecast("decode", TILES[:1], TILES[:1])]
    _, total = dryrun.table(forecasts, workers=2, gpu=False)
    assert total.n_tiles == 11
    assert total.wall_seconds == 150.0 + 30.0
    assert total.host_bytes == dryrun.cost(TILES, workers=2).host_bytes


@pytest.mark.parametrize("width", [80, 120])
def test_the_output_fits_the_terminal(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(rich.console.Console, "is_terminal", True)
    large = Need(host_bytes=900 * 2**30, bytes_in=999 * 2**30, bytes_out=999 * 2**30, files_out=9_999, seconds=9e6)
    tiles = [Tile(Group("fit", ("S1",)), stage, 0, 1, large) for stage in ("statistics", "fit")]
    rate = Rate((9e6, 9e5), (9e6, 9e6), (1, 1), frozenset({8}), frozenset({"node1"}))
    dryrun.print_forecasts([Forecast("fit", tiles, tiles, {"fit": rate})], title="fit", place=LOCAL, n_threads=8)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if line.startswith("  statistics")]
    assert " ".join(rows[0].split()) == "statistics 1 9,999 999 GiB 999 GiB 900 GiB 2,500 h 2,500 h"
    text = " ".join(" ".join(lines).split())
    assert "fit: x 0.55, the median of measured / projected over 2 finished tiles (0.10 to 1.00); 8 threads" in text
    assert "no tile finished yet, so as projected: fit statistics" in text
    assert "elapsed with 2 workers; 2.0 TiB written in 19,998 files; 900 GiB of memory a worker" in text


#: The first line of a directive of each scheduler.
DIRECTIVES = {
    "slurm": "#SBATCH -J",
    "pbs": "#PBS -N",
    "sge": "#$ -N",
    "lsf": "#BSUB -J",
    "htcondor": "batch_name =",
    "oar": "#OAR -n",
    "moab": "#PBS -N",
}


@pytest.mark.parametrize("kind", DIRECTIVES)
def test_the_script_of_every_scheduler_is_printed_without_its_commands_or_a_port(kind, capsys, monkeypatch):
    def refuse(*_):
        raise AssertionError("a dry run opened a port or started a program")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    place = Place(kind, load_cluster(kind), Jobs(2, 4), "auto", None)
    dryrun.print_place(place, workspace=Path("/data/ws"), job_name="job", nonce="NONCE")
    printed = capsys.readouterr().out
    assert "2 to 4 jobs" in printed
    assert f"{DIRECTIVES[kind]} job" in printed
    assert "/data/ws/jobs/WORKER.log" in printed
    assert "-m hpc_recon.run.worker tls://SCHEDULER:PORT" in printed


def test_several_gpus_of_a_job_are_said_and_share_its_cores(capsys):
    content = {"cluster": {"gpus": 2}, "jobqueue": {"slurm": {"cores": 8, "memory": "64GiB"}}}
    place = Place("mine", ClusterFile.model_validate(content), Jobs(1, 3), "auto", None)
    dryrun.print_place(place, workspace=Path("/data/ws"), job_name="job", nonce="NONCE")
    printed = " ".join(capsys.readouterr().out.split())
    assert "cluster: slurm, 1 to 3 jobs of 2 GPUs; memory of a worker: at most 32.0 GiB" in printed
    assert "export HPC_RECON_THREADS=4" in printed
    assert "--gpus 2" in printed
    assert place.worker_threads == 4
