"""What is printed of a run that never happened, and of all units after some were decoded."""

import io
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from hpc_recon.core import expected
from hpc_recon.core.expected import Expected
from hpc_recon.core.loading import load_study
from hpc_recon.run import cli, outlook
from hpc_recon.run.options import Options
from hpc_recon.run.verbs import step

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 8, "n_natural": 4, "n_voxels": 50},
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 10},
}
ENTRIES = [
    Expected("S1", "VC", "natural", "vgg", "vgg@100", "conv1_1", 0.2504, 0.0101, 100, 65_536),
    Expected("S1", "VC", "shapes", "vgg", "vgg@100", "conv1_1", 0.5, None, 100, 65_536),
    Expected("S1", "VC", "natural", "vgg", "vgg@100", "fc", None, None, 1, 30),
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, "workspace": str(tmp_path / "ws")}))
    return path


def test_a_dry_run_of_all_verbs_touches_nothing(study, tmp_path, capsys):
    names = ["simulate", "extract", "fit", "decode", "evaluate", "report"]
    before = sorted(tmp_path.rglob("*"))
    assert outlook.dry_run([step(name) for name in names], Options(study=study)) == 0
    printed = capsys.readouterr().out
    assert "tiny: 11 of 11 tiles in 10 groups" in printed
    assert "Sizes that the workspace does not hold yet are those of the study file" in printed
    assert "All units instead of" not in printed
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_with_some_units_shows_all_units_too(study, capsys):
    options = Options(study=study, assignments=("units=10",))
    assert outlook.dry_run([step("fit")], options) == 0
    printed = capsys.readouterr().out
    assert "All units instead of a random sample of 10 units of each layer: what fit would take" in printed
    some, every = (float(line.split()[3]) for line in printed.splitlines() if line.startswith("  fit "))
    assert every > some


def test_a_worker_too_small_is_refused_after_the_plan_was_shown(study, capfd):
    assert cli.main("fit", ["--study", str(study), "--dry-run", "--memory", "1MiB"]) == 2
    printed = capfd.readouterr()
    assert "elapsed" in printed.out
    assert "but a worker has 1.0 MiB" in printed.err


def test_a_run_with_some_units_ends_with_what_all_of_them_would_take(study, capfd, in_threads):
    """From the command line to the blocks: measured seconds, and the accuracy of the sampled units."""
    assert cli.run(["simulate", "extract", "fit", "decode", "evaluate"], _values(study, units="every:16")) == 0
    printed = capfd.readouterr().out
    block = " ".join(printed[printed.index("All units instead of every 16th unit of each layer: what fit,") :].split())
    assert "finished tile" in block
    assert "Expected accuracy of all units, S1, VC" in block
    assert "48 of 768" in block
    assert "It takes every n-th unit for a random sample." in block
    assert cli.run(["extract"], _values(study, units="every:16")) == 0
    assert "All units" not in capfd.readouterr().out


def _values(study: Path, **changes):
    names = ("cluster_file", "jobs", "max_jobs", "only", "limit", "units", "memory")
    flags = ("retry_failed", "redo", "verify", "strict_device", "dry_run")
    base = {**dict.fromkeys(names), **dict.fromkeys(flags, False), "cluster": "local", "xp": "auto"}
    return {**base, "study": str(study), "assignments": (), **changes}


def test_the_table_of_expected_accuracies():
    out = Console(file=io.StringIO(), width=80)
    out.print(outlook.expected_table(ENTRIES))
    lines = out.file.getvalue().splitlines()
    assert lines[0].split() == ["layer", "decoded", "units", "natural", "shapes"]
    assert lines[2].split() == ["conv1_1", "100", "of", "65,536", "0.250", "±", "0.010", "0.500"]
    assert lines[3].split() == ["fc", "1", "of", "30", "-", "-"]


def test_only_the_units_of_the_study_are_shown(tmp_path, capsys):
    networks = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, "networks": networks, "workspace": str(tmp_path)}))
    expected.write(expected.path_of(tmp_path), ENTRIES)
    outlook.print_expected(load_study(path, ["units=99"]), tmp_path)
    outlook.print_expected(load_study(path), tmp_path)
    assert capsys.readouterr().out == ""
    outlook.print_expected(load_study(path, ["units=100"]), tmp_path)
    assert "0.250 ± 0.010" in capsys.readouterr().out
