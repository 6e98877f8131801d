"""What is installed: the wheel's content, its entry point, its version, and the lowest versions that are tested."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import hpc_recon
from hpc_recon import __main__
from hpc_recon.core import cluster_file

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Build the wheel with the setuptools that is here, from a copy: setuptools leaves folders where it builds."""
    pytest.importorskip("setuptools", minversion="77", reason="building the wheel needs setuptools 77 (PEP 639)")
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "hpc_recon", folder / "hpc_recon", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", folder / "configs")
    build = "import setuptools.build_meta as b; print(b.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / done.stdout.splitlines()[-1]) as archive:
        yield archive


def test_the_wheel_holds_all_that_commands_read(wheel) -> None:
    names = set(wheel.namelist())
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "hpc_recon").rglob("*")
        if path.is_file() and path.suffix in {".py", ".typed", ".j2", ".css", ".js", ".cu"}
    }
    assert not ours - names
    assert "hpc_recon/py.typed" in names
    shared = f"hpc_recon-{PROJECT['version']}.data/data/share/hpc_recon"
    for kind in ("clusters", "studies"):
        for path in (ROOT / "configs" / kind).glob("*.yaml"):
            assert f"{shared}/{kind}/{path.name}" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_the_wheel_says_its_version_and_its_command(wheel) -> None:
    folder = f"hpc_recon-{PROJECT['version']}.dist-info"
    assert "hpc-recon = hpc_recon.__main__:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert f"Version: {PROJECT['version']}\n" in metadata
    assert "License-Expression: BSD-3-Clause" in metadata


def test_one_version() -> None:
    assert hpc_recon.__version__ == PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]


def test_the_citation_file_has_what_its_format_wants() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert content["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(content)
    assert content["license"] == PROJECT["license"]


def test_the_command_prints_its_version_and_runs_verbs(capsys) -> None:
    assert __main__.main(["--version"]) == 0
    assert capsys.readouterr().out == f"hpc-recon {PROJECT['version']}\n"
    assert __main__.main(["fit", "--help"]) == 0
    assert "--study" in capsys.readouterr().out


def test_the_lowest_versions_are_those_of_pyproject() -> None:
    named = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["ot"]]
    lowest = dict(re.match(r"([\w-]+)>=([\d.]+)", dependency).groups() for dependency in named)
    lines = [line for line in (ROOT / "tests" / "minimum.txt").read_text().splitlines() if not line.startswith("#")]
    assert dict(line.split("==") for line in lines) == lowest


def test_an_installed_package_finds_its_cluster_files(monkeypatch, tmp_path) -> None:
    """Outside a checkout they lie where the wheel put them."""
    monkeypatch.setattr(cluster_file, "__file__", str(tmp_path / "site-packages" / "hpc_recon" / "core" / "c.py"))
    monkeypatch.setattr(cluster_file.sysconfig, "get_path", {"data": str(tmp_path)}.get)
    assert cluster_file.folders()[-1] == tmp_path / "share" / "hpc_recon" / "clusters"
