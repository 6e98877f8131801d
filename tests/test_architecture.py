"""The house's rules, enforced: layers, homes of heavy dependencies, sizes, verbs, and the README's tree."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hpc_recon"

STEPS = {"simulate", "ingest", "extract", "convert", "fit", "decode", "train", "reconstruct", "evaluate", "report"}
ANALYSES = {"screen", "power"}
VERBS = STEPS | ANALYSES | {"status", "pipeline", "export", "generator", "rate", "control"}
#: A library may import the libraries to its right and nothing else of the package.
LIBRARIES: dict[str, set[str]] = {
    "core": set(),
    "numerics": {"core"},
    "stores": {"core"},
    "formats": {"core"},
    "bold": {"core"},
    "nets": {"formats", "core"},
    "run": {"core"},
    "exchange": {"formats", "bold", "stores", "core"},
    "conversion": {"methods", "nets", "numerics", "stores", "core"},
    "decoding": {"numerics", "stores", "core"},
    "evaluation": {"nets", "numerics", "stores", "core"},
    "extraction": {"nets", "numerics", "stores", "formats", "core"},
    "methods": {"nets", "core"},
    "reconstruction": {"training", "methods", "nets", "numerics", "stores", "core"},
    "training": {"methods", "nets", "numerics", "stores", "core"},
    "simulation": {"nets", "core"},
    "reporting": {"stores", "core"},
}
#: The libraries that may import a heavy dependency.
HOMES: dict[str, set[str]] = {
    "zarr": {"stores"},
    "h5py": {"formats"},
    "nibabel": {"formats"},
    "obstore": {"core", "stores"},
    "dask": {"run"},
    "distributed": {"run"},
    "dask_jobqueue": {"run"},
    "cupy": {"numerics"},
    "ot": {"numerics"},
    "numba": {"numerics"},
    "llvmlite": {"numerics"},
    "torch": {"nets", "methods"},
    "torchvision": {"nets", "methods"},
    "pydantic": {"core"},
    "matplotlib": {"reporting"},
    "jinja2": {"reporting"},
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
MAX_FILE_EXEMPT: dict[str, str] = {}  # path: reason
MAX_FUNCTION_EXEMPT: dict[str, str] = {}  # path:function: reason

FILES = sorted(PACKAGE.rglob("*.py"))


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def home(path: Path) -> str:
    """Return the library of a file, or `verbs` for a command at the top of the package."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "verbs"


def imports(tree: ast.AST) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def ids(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_depth_is_two_and_every_folder_is_a_known_library() -> None:
    assert {p.relative_to(PACKAGE).parts[0] for p in FILES if len(p.relative_to(PACKAGE).parts) > 1} <= set(LIBRARIES)
    assert max(len(p.relative_to(PACKAGE).parts) for p in FILES) == 2


def test_every_top_level_file_is_a_verb() -> None:
    names = {p.stem for p in PACKAGE.glob("*.py")}
    assert names == VERBS | {"__init__", "__main__"}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_imports_respect_the_layers(path: Path) -> None:
    mine = home(path)
    wrong = []
    for name, line in imports(parse(path)):
        parts = name.split(".")
        if parts[0] != "hpc_recon" or len(parts) < 2:
            continue
        target = parts[1]
        if target == "__version__":
            continue
        if target not in LIBRARIES:
            wrong.append(f"line {line}: nobody imports the verb {name}")
        elif mine != "verbs" and target != mine and target not in LIBRARIES[mine]:
            wrong.append(f"line {line}: {mine} may not import {name}")
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_heavy_dependencies_stay_at_home(path: Path) -> None:
    wrong = [
        f"line {line}: {name} belongs in {HOMES[name.split('.')[0]]}"
        for name, line in imports(parse(path))
        if name.split(".")[0] in HOMES and home(path) not in HOMES[name.split(".")[0]]
    ]
    assert not wrong


def top_level(tree: ast.Module) -> list[ast.stmt]:
    """Return the statements that run at import, those under `if TYPE_CHECKING` left out."""
    return [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test))]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=ids)
def test_verbs_import_only_the_standard_library_and_core_at_the_top(path: Path) -> None:
    """So that `--help` is quick and a worker imports what its tile needs."""
    import sys

    wrong = []
    for statement in top_level(parse(path)):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for name, line in imports(statement):
                root = name.split(".")[0]
                allowed = name.startswith(("hpc_recon.core", "hpc_recon.run.cli")) or root in sys.stdlib_module_names
                if not allowed and root not in {"click", "numpy", "__future__"}:  # core needs numpy already
                    wrong.append(f"line {line}: import {name} inside the function that uses it")
    assert not wrong


TILE_VERBS = sorted(STEPS | ANALYSES)


@pytest.mark.parametrize("verb", TILE_VERBS)
def test_a_verb_is_four_functions(verb: str) -> None:
    tree = parse(PACKAGE / f"{verb}.py")
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {"plan", "prepare", "work", "main"} <= set(functions)
    assert {"main"} <= {n for n in functions if not n.startswith("_")} <= {"plan", "prepare", "work", "main"}, (
        "other functions of a verb are private"
    )
    assert [a.arg for a in functions["plan"].args.args] == ["study", "shapes"]
    assert [a.arg for a in functions["prepare"].args.args] == ["study"]
    assert [a.arg for a in functions["work"].args.args] == ["study", "tile"]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_FILE_LINES or ids(path) in MAX_FILE_EXEMPT


def every_function(tree: ast.AST) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_functions_are_short(path: Path) -> None:
    long = [
        f"{f.name}: {f.end_lineno - f.lineno + 1} lines"
        for f in every_function(parse(path))
        if f.end_lineno is not None
        and f.end_lineno - f.lineno + 1 > MAX_FUNCTION_LINES
        and f"{ids(path)}:{f.name}" not in MAX_FUNCTION_EXEMPT
    ]
    assert not long


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_documented_and_annotated(path: Path) -> None:
    tree = parse(path)
    assert ast.get_docstring(tree), "a module says what it is for"
    public = [f for f in every_function(tree) if not f.name.startswith("_")]
    nested = {g for f in every_function(tree) for g in every_function(f) if g is not f}
    missing = [f.name for f in public if f not in nested and not ast.get_docstring(f)]
    assert not missing


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_forbidden_habits(path: Path) -> None:
    tree = parse(path)
    bad = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and all(isinstance(s, ast.Pass) for s in node.body):
            bad.append(f"line {node.lineno}: except: pass")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            called = f"{node.value.id}.{node.attr}"
            if called in {"pickle.load", "pickle.loads", "yaml.unsafe_load", "yaml.full_load"}:
                bad.append(f"line {node.lineno}: {called}")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", None) is True:
            bad.append(f"line {node.value.lineno}: allow_pickle=True")
    assert not bad


def test_tests_mirror_the_package() -> None:
    tests = ROOT / "tests"
    missing = []
    for path in FILES:
        where = path.relative_to(PACKAGE)
        if path.stem in {"__init__", "__main__"}:
            continue
        if not (tests / where.parent / f"test_{path.stem}.py").exists():
            missing.append(where.as_posix())
    assert not missing, f"no test file for {missing}"


def tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listing.stdout.splitlines() if (ROOT / name).exists()]


def test_the_readme_tree_is_the_real_tree() -> None:
    """Every entry of the tree in README.md exists, and every top-level entry and module of the package is in it."""
    text = (ROOT / "README.md").read_text()
    match = re.search(r"<!-- tree -->\n```\n(.*?)```", text, re.DOTALL)
    assert match, "README.md has a fenced tree after <!-- tree -->"
    shown: set[str] = set()
    folder = ""
    for line in match.group(1).splitlines():
        if not line.strip():
            continue
        names = line.split("  #")[0]
        if not names.startswith(" "):
            folder = ""
            first, *rest = names.split()
            shown.add(first.rstrip("/"))
            folder = first if first.endswith("/") else ""
            shown.update((folder + name).rstrip("/") for name in rest)
        else:
            shown.update((folder + name).rstrip("/") for name in names.split())
    missing = [name for name in sorted(shown) if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()]
    assert not missing, f"in README's tree but not on disk: {missing}"
    real = set()
    for name in tracked():
        parts = Path(name).parts
        real.add(parts[0])
        if parts[0] == "hpc_recon" and len(parts) >= 2 and parts[1] not in {"__init__.py", "py.typed"}:
            real.add("/".join(parts[:2]).removesuffix(".py"))
    shown = {name.removesuffix(".py") for name in shown}
    real = {name.removesuffix(".py") for name in real}
    hidden = {".gitignore"}
    assert not sorted(real - shown - hidden), "on disk but not in README's tree"


def test_project_speaks_of_itself_alone() -> None:
    """No path of a developer's machine stands in the project."""
    for name in tracked():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".sh", ".j2", ".css"} or path.name in {"Makefile", "run"}:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"/(work|home|root|Users)/[a-z]", text), name


def test_the_picture_is_drawn_from_this_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "pictures"))
    drawn = importlib.import_module("architecture").draw()
    stored = (ROOT / "docs" / "pictures" / "architecture.svg").read_text(encoding="utf-8")
    assert stored == drawn, "imports changed; run python docs/pictures/architecture.py"
    for name in {*LIBRARIES, *VERBS}:
        assert f">{name}</text>" in drawn
