"""The table of a dry run."""

from pathlib import Path

from hpc_recon.core.cluster_file import load_cluster
from hpc_recon.core.tiles import Group, Need, Tile
from hpc_recon.run import dryrun
from hpc_recon.run.clusters import Place
from hpc_recon.run.options import Jobs


def test_totals_are_over_the_tiles_to_do_and_time_is_shared_by_workers():
    need = Need(host_bytes=2**30, device_bytes=2**31, bytes_in=2**20, bytes_out=2**21, files_out=2, seconds=30.0)
    tiles = [Tile(Group("fit", ("S1",)), "fit", i, i + 1, need) for i in range(10)]
    row = dict(zip(dryrun.COLUMNS, dryrun.stage_row("fit", tiles, tiles[4:], workers=2), strict=True))
    assert row["tiles"] == "10"
    assert row["done"] == "4"
    assert row["to do"] == "6"
    assert row["files"] == "12"
    assert row["read"] == "6.0 MiB"
    assert row["written"] == "12.0 MiB"
    assert row["memory of a worker"] == "1.3 GiB"
    assert row["GPU"] == "2.0 GiB"
    assert row["time"] == "1 min 30 s"


def test_a_stage_that_is_done_costs_nothing():
    tiles = [Tile(Group("fit", ("S1",)), "fit", 0, 1)]
    assert dryrun.stage_row("fit", tiles, [], workers=2)[1:4] == ("1", "1", "0")


def test_the_script_is_printed_for_a_scheduler(capsys):
    place = Place("slurm", load_cluster("slurm"), Jobs(2, 4), "auto", None)
    dryrun.print_place(place, workspace=Path("/data/ws"), job_name="hpc_recon-tiny-NONCE", nonce="NONCE")
    printed = capsys.readouterr().out
    assert "2 to 4 jobs" in printed
    assert "#SBATCH --output=/data/ws/jobs/%x-%j.log" in printed
