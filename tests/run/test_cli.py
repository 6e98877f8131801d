"""The command line: quick help, exit codes, errors without tracebacks, nothing written on bad input."""

import os
import subprocess
import sys

import pytest

from hpc_recon.__main__ import main as list_verbs
from hpc_recon.run import cli
from hpc_recon.run.verbs import OTHERS, STEPS

HEAVY = {"torch", "torchvision", "dask", "distributed", "zarr", "pandas", "numpy", "h5py", "scipy", "matplotlib"}
WRITTEN = [verb.name for verb in (*STEPS, *OTHERS)]


@pytest.mark.parametrize("verb", WRITTEN)
def test_help_imports_nothing_heavy(verb):
    code = (
        "import sys, importlib.util\n"
        f"assert importlib.util.find_spec('hpc_recon.{verb}') is not None\n"
        f"sys.argv = ['x', '--help']\nfrom hpc_recon.{verb} import main\ncode = main()\n"
        "print('MODULES', *sys.modules)\nraise SystemExit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    text, _, modules = result.stdout.partition("MODULES")
    assert "--study" in text
    # core.sampling is a core module that draws numbers: numpy alone is allowed, and it is quick.
    assert HEAVY & set(modules.split()) <= {"numpy"}


def test_listing_names_every_verb_in_pipeline_order(capsys):
    assert list_verbs([]) == 0
    printed = capsys.readouterr().out
    places = [printed.index(f"\n  {name} ") for name in WRITTEN]
    assert places == sorted(places)
    assert list_verbs(["ftt"]) == 2
    assert "did you mean 'fit'?" in capsys.readouterr().err
    assert list_verbs(["status", "--help"]) == 0


def fails(argv, capfd, verb="fit"):
    code = cli.main(verb, argv)
    printed = capfd.readouterr().err
    assert code == 2
    assert "Traceback" not in printed
    return printed


def test_bad_input_is_explained_and_nothing_is_written(write_study, tmp_path, capfd, monkeypatch):
    study = str(write_study())
    before = sorted(tmp_path.rglob("*"))
    assert "cannot be read" in fails(["--study", str(tmp_path / "absent.yaml")], capfd)
    assert "did you mean 'slurm'?" in fails(["--study", study, "--cluster", "slrum"], capfd)
    assert "fit.alhpa" in fails(["--study", study, "--set", "fit.alhpa=3"], capfd)
    assert "No such option" in fails(["--study", study, "--jbos", "3"], capfd)
    printed = fails(["--study", study, "--jobs", "3:1", "--units", "many", "--memory", "4 bananas"], capfd)
    assert all(word in printed for word in ("--jobs", "--units", "--memory"))
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    printed = fails(["--study", study, "--cluster", "slurm"], capfd)
    assert "sbatch" in printed
    assert "--cluster local" in printed
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_upstream_names_its_command(write_study, capfd, tmp_path):
    printed = fails(["--study", str(write_study())], capfd)
    assert "python -m hpc_recon." in printed
    assert not (tmp_path / "ws").exists()


def test_study_comes_from_the_environment(write_study, capfd, monkeypatch):
    monkeypatch.setenv("HPC_RECON_STUDY", "/absent/by/environment.yaml")
    assert "/absent/by/environment.yaml" in fails([], capfd)


@pytest.mark.parametrize(("flag", "key"), [("--decode", "fit.decode=true"), ("--out-of-fold", "fit.out_of_fold=true")])
def test_flags_of_fit_are_settings_of_the_study(flag, key, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "run", lambda verbs, values: seen.append((verbs, values)) or 0)
    assert cli.main("fit", [flag, "--set", "fit.alpha=3"]) == 0
    assert seen[0][0] == ["fit"]
    assert seen[0][1]["assignments"] == ("fit.alpha=3", key)


def test_parquet_is_short_for_a_setting(write_study, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "run", lambda verbs, values: seen.append(cli.options_of(values)) or 0)
    assert cli.main("evaluate", ["--study", str(write_study()), "--parquet"]) == 0
    assert list(seen[0].assignments) == ["evaluate.parquet=true"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [([], []), (["--single-trial"], ["decode.average=false"]), (["--average", "4"], ["decode.average=4"])],
)
def test_flags_of_averaging_are_short_for_settings(argv, expected, write_study, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "run", lambda verbs, values: seen.append((verbs, cli.options_of(values))) or 0)
    for verb in ("fit", "decode", "reconstruct", "evaluate", "report"):
        assert cli.main(verb, ["--study", str(write_study()), *argv]) == 0
        verbs, options = seen.pop()
        assert verbs == [verb]
        assert list(options.assignments) == expected


def test_flags_of_averaging_exclude_each_other_and_are_not_for_every_verb(write_study, capfd):
    study = str(write_study())
    printed = fails(["--study", study, "--single-trial", "--average", "4"], capfd, "decode")
    assert "--single-trial and --average 4 exclude each other" in printed
    assert "--average" in fails(["--study", study, "--average", "1"], capfd, "decode")
    assert "No such option" in fails(["--study", study, "--single-trial"], capfd, "extract")
    assert "No such option" in fails(["--study", study, "--reference", "."], capfd, "fit")
