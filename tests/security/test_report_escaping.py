"""The report shows every string as text: hostile ones change nothing of the page's elements and attributes."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hpc_recon import evaluate, report
from hpc_recon.reporting import study_figures

HOSTILE = [
    "<script>alert(1)</script>",
    '" onload=a() x="',  # as short as a line of a title in a plot, like the plain text
    "' onerror='a()",
    '"><img src=x onerror=alert(1)>',
    "</pre></style></title><iframe src='javascript:alert(1)'></iframe>",
    "<a href='javascript:alert(1)'>here</a>",
    "{{ 7 * 7 }}{% raw %}",
    "--></svg><svg onload=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "$\\frac{x",
    "\u202e\x00\x1b]0;title\x07",
]


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, its links, and its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(name for name, _ in attrs)))
        self.sources += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]

    def handle_endtag(self, tag):
        self.found.append((f"/{tag}", ()))

    def handle_data(self, data):
        self.text.append(data)


def elements_of(page: Path) -> Elements:
    parser = Elements()
    parser.feed(page.read_text(encoding="utf-8"))
    parser.close()
    return parser


def content(text: str):
    return {
        "name": "tiny",
        "simulate": {"image_size": 16},
        "subjects": ["S1", "S2"],
        "datasets": {
            "training": {"role": "training"},
            "natural": {"role": "test", "title": f"n{text}"},
            "shapes": {"role": "test", "title": f"s{text}"},
        },
        "networks": {
            "pixels": {"architecture": "pixels", "layers": ["pixels"]},
            "vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]},
        },
        "reconstruct": {
            "direct": {"method": "pixels", "network": "pixels", "title": f"d{text}"},
            "deep": {"method": "icnn", "network": "vgg", "title": f"e{text}"},
        },
        "evaluate": {"resamples": 100},
        "report": {"title": f"t{text}", "description": f"x{text}"},
    }


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """Return a function that makes the report of a study all of whose free texts, and receipts, hold one text.

    No score depends on a text, so the study is evaluated once. Figures as files are not looked at here.
    """
    evaluated = tmp_path_factory.mktemp("evaluated") / "ws"

    def make(text: str, make_study, fill_workspace, run_verb) -> Path:
        if not evaluated.exists():
            first = make_study(content("plain"), workspace=str(evaluated))
            fill_workspace(first)
            run_verb(evaluate, first)
        workspace = tmp_path_factory.mktemp("page") / "ws"
        shutil.copytree(evaluated, workspace)
        study = make_study(content(text), workspace=str(workspace))
        # What workers wrote, as a stranger with access to the workspace might have changed it.
        for path in (workspace / "receipts" / "fit").rglob("*.json"):
            found = json.loads(path.read_text())
            if "run" in found:
                found["run"] = {
                    "seconds": 1.0, "peak_bytes": 1, "host": f"h{text}", "warnings": [f"w{text}"],
                    "versions": {f"v{text}": f"1{text}"},
                }  # fmt: skip
                path.write_text(json.dumps(found))
        choice = workspace / "choices" / "S1" / "VC" / "vgg" / "conv1_1.json"
        choice.parent.mkdir(parents=True, exist_ok=True)
        choice.write_text(json.dumps({"n_voxels": 5, "alpha": 1.0, "table": [], "warnings": [f"c{text}"]}))
        run_verb(report, study)
        return workspace / "report" / "index.html"

    return make


@pytest.fixture(autouse=True)
def _no_files(monkeypatch):
    """Figures as files take seconds a page."""
    monkeypatch.setattr(study_figures, "write", lambda folder, rows, more: [])


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.mark.parametrize(
    "text", [" ".join(HOSTILE), *HOSTILE[1:3], HOSTILE[9]], ids=["all", "double", "single", "mathtext"]
)
def test_hostile_text_is_only_text(page_of, kept, make_study, fill_workspace, run_verb, text: str) -> None:
    # Titles in plots are elements of one to three lines, so they are compared with others of as many.
    harmless = "plain" if len(text) < 18 else "plain " * len(text)
    if harmless not in kept:
        kept[harmless] = elements_of(page_of(harmless, make_study, fill_workspace, run_verb))
    plain, hostile = kept[harmless], elements_of(page_of(text, make_study, fill_workspace, run_verb))
    assert hostile.found == plain.found, "an element or an attribute came from a text"
    # The page's own: choosing images, the names of scores, the gallery's script.
    active = ("script", "iframe", "object", "embed", "link", "form", "a", "base")
    assert [tag for tag, _ in hostile.found if tag in active] == ["form", "script", "script"]
    assert not [name for _, names in hostile.found for name in names if name.startswith("on")]
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in hostile.sources)
    shown = "".join(hostile.text)
    if "\x00" not in text:
        missing = [f"{mark}{text}" for mark in "tndexwvc1" if f"{mark}{text}" not in shown]
        assert not missing, "texts of this test do not reach the page"


def test_the_comparison_notices_an_element(tmp_path: Path) -> None:
    for name, text in (("a", "plain"), ("b", "<b onclick=x>plain</b>")):
        (tmp_path / name).write_text(f"<p>{text}</p>")
    assert elements_of(tmp_path / "a").found != elements_of(tmp_path / "b").found
