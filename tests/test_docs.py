"""What README and docs tell people to type: commands go through their real parsers, YAML through the study's models."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from hpc_recon import __main__
from hpc_recon.core.config import Network, Study
from hpc_recon.core.latent_options import LatentOptions

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = r"(?:python|hpc-recon|make|sbatch|qsub|pytest|jobs/\w+\.sh|benchmarks/|\.ci/run)"
#: Written from the code, and the history, which tells of commands as they were.
UNCHECKED = {"study_file.md", "changelog.md"}


def blocks(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield language, line and text of each fenced block."""
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^\1```", path.read_text(), re.DOTALL | re.MULTILINE)
    for match in found:
        yield match[2], path.read_text()[: match.start()].count("\n") + 1, match[3]


def commands() -> list[tuple[str, str]]:
    """Return every command line in a block or between backticks, with where it stands."""
    found = []
    for path in PAGES:
        if path.name in UNCHECKED:
            continue
        text = path.read_text()
        prose = re.sub(r"^( *)```(yaml|python)\n.*?^\1```", lambda m: "\n" * m[0].count("\n"), text, flags=re.S | re.M)
        for number, line in enumerate(prose.splitlines(), 1):
            whole = re.match(rf"\s*(?:eval \"\$\()?({PROGRAMS}[ \w./-].*?)(?:\)\".*)?$", line)
            given = [whole[1]] if whole and "`" not in line else re.findall(rf"`({PROGRAMS}[^`]*)`", line)
            found += [(f"{path.name}:{number}", each) for each in given]
    return found


@pytest.fixture
def parse_only(monkeypatch):
    """Commands end when their arguments are parsed."""
    monkeypatch.setattr(click.Command, "invoke", lambda self, context: 0)


def check_files(words: list[str]) -> None:
    """Files of the project that a command names are there; of a script's options its text knows."""
    for word in words:
        if re.match(r"(configs|jobs|benchmarks|tests|\.ci)/", word) and not word.startswith("benchmarks/results/"):
            assert (ROOT / word).exists(), f"{word} does not exist"
    script = next((ROOT / word for word in words if word.endswith((".py", ".sh"))), None)
    if script is not None and script.suffix == ".py":
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            assert option in script.read_text(), f"{script.name} has no {option}"


@pytest.mark.parametrize(("where", "line"), commands(), ids=lambda value: value)
def test_a_command_is_one_that_exists(where, line, parse_only, capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(line, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
        studies = [word.split("=")[1] for word in words if word.startswith("STUDY=") and "..." not in word]
        assert all((ROOT / "configs" / "studies" / f"{name}.yaml").exists() for name in studies)
    elif words[:2] == ["python", "-m"] or words[0] == "hpc-recon":
        rest = words[1:] if words[0] == "hpc-recon" else words[2:]
        module, *arguments = rest or ["--help"]
        verb = module.removeprefix("hpc_recon.")
        if module == "build" or module == "hpc_recon.core.schema":
            return
        # `...` stands for a value after an option, else for more of the same.
        before = ["", *arguments]
        arguments = [
            "x" if word == "..." else word
            for word, last in zip(arguments, before, strict=False)
            if word != "..." or last.startswith("--")
        ]
        check_files(arguments)
        if verb == "<command>":
            return
        wrong = __main__.main([verb, *arguments]) if verb != "hpc_recon" else __main__.main(arguments)
        assert wrong == 0, capsys.readouterr().err
    else:
        check_files(words)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (f"{path.name}:{line}", text)
        for path in PAGES
        if path.name not in UNCHECKED
        for language, line, text in blocks(path)
        if language == "yaml"
    ],
    ids=lambda value: value if value.count("\n") == 0 else "",
)
def test_a_piece_of_a_study_is_valid(where, text) -> None:
    content = yaml.safe_load(text.replace("<64 digits>", "f" * 64))
    assert isinstance(content, dict)
    # A piece is of a whole study, or of one network or entry.
    entries = [model for model in (Network, LatentOptions) if set(content) <= set(model.model_fields)]
    model = Study if set(content) & set(Study.model_fields) else next(iter(entries), None)
    assert model is not None, f"{where}: {sorted(content)} is nothing that a study has"
    for key, value in content.items():
        assert key in model.model_fields or model is Study, f"{where}: {key}"
        if key not in model.model_fields:
            continue
        try:
            TypeAdapter(model.model_fields[key].annotation).validate_python(value)
        except ValidationError as error:
            # What a page shows of an entry need not be all of it.
            wrong = [each for each in error.errors() if each["type"] != "missing"]
            assert not wrong, f"{where}: {key}: {wrong}"


def test_the_readmes_engine_does_what_it_says() -> None:
    """The block under "From Python" runs on arrays of the shapes that its comments name."""
    (code,) = [text for language, _, text in blocks(ROOT / "README.md") if language == "python"]
    rng = np.random.default_rng(0)
    names = {
        "X": rng.normal(size=(60, 520)).astype(np.float32),
        "Y": rng.normal(size=(30, 7)).astype(np.float32),
        "shown": np.repeat(np.arange(30), 2),
        "X_test": rng.normal(size=(4, 520)).astype(np.float32),
    }
    exec(compile(code, "README.md", "exec"), names)
    assert names["predicted"].shape == (4, 7)
    assert np.isfinite(names["predicted"]).all()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_in_a_page_is_python_and_its_links_lead_somewhere(path) -> None:
    for language, line, text in blocks(path):
        if language == "python":
            compile(text, f"{path.name}:{line}", "exec")
    for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text()):
        assert (path.parent / link).exists(), f"{path.name} links {link}"
