"""The verb `report` on a small workspace: one page, whole, self-contained, and the same each time."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hpc_recon import evaluate, report
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import Group, Need, Tile
from hpc_recon.reporting import study_figures
from hpc_recon.stores import layout

sys.path.insert(0, str(Path(__file__).parent / "reporting"))

from chromium import Chromium, executable


@pytest.fixture(autouse=True)
def figures(request, monkeypatch):
    """Figures as files take seconds a page; they are drawn in the one test that looks at them."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(study_figures, "write", lambda folder, rows, more: [])


CONTENT = {
    "name": "tiny",
    "subjects": ["S1", "S2"],
    "rois": ["VC", "V1"],
    "datasets": {
        "training": {"role": "training"},
        "natural": {"role": "test", "title": "Photo<graphs>"},
        "letters": {"role": "test"},
    },
    "simulate": {"image_size": 16},
    "networks": {
        "pixels": {"architecture": "pixels", "layers": ["pixels"]},
        "vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]},
    },
    "reconstruct": {
        "direct": {"method": "pixels", "network": "pixels", "title": "Decoded pixels", "rois": ["VC"]},
        "deep": {"method": "icnn", "network": "vgg", "subjects": ["S1"], "datasets": ["natural"], "rois": ["VC"]},
    },
    "evaluate": {"resamples": 100},
    "report": {"title": "Tiny & small", "gallery": 3},
}
FOLDS = {
    "name": "folds",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "test": {"role": "test"}},
    "ingest": {
        "subjects": {"S1": {"datasets": {d: {"samples": {"file": "x.npy"}} for d in ("training", "test")}}},
        "stimuli": {d: {"array": {"file": "x.npy"}} for d in ("training", "test")},
        "cross_validation": {"folds": 4},
    },
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
    "reconstruct": {"direct": {"method": "pixels", "network": "pixels"}},
    "evaluate": {"resamples": 100},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the evaluated workspaces of this module lie."""
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture
def reported(make_study, fill_workspace, run_verb, kept):
    """Return a function that reports a study and gives the page; the scores are made once."""

    def run(content, name):
        study = make_study(content, workspace=str(kept / name))
        if not (study.workspace / "scores").exists():
            fill_workspace(study)
            run_verb(evaluate, study)
        run_verb(report, study)
        return study, (study.workspace / "report" / "index.html").read_text(encoding="utf-8")

    return run


def test_the_page_tells_what_was_done(reported):
    _, html = reported(CONTENT, "plain")
    assert "<title>Tiny &amp; small</title>" in html
    assert "Simulated data, preset easy" in html
    assert "of comparisons, a reconstruction resembles" in html
    for text in ("Photo&lt;graphs&gt;", "Decoded pixels", "nearest training image", "conv2_1", "identification", "V1"):
        assert text in html
    assert "name: tiny" in html


def test_the_page_needs_nothing_else(reported):
    study, html = reported(CONTENT, "plain")
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert "default-src 'none'" in html
    assert not re.search(r"<script[^>]* src", html)
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert str(study.workspace) not in html


def test_stimulus_and_reconstruction_are_the_ones_of_the_workspace(reported):
    from hpc_recon.stores import brain, images, layout

    study, html = reported(CONTENT, "plain")
    found = dict(re.findall(r'src="data:image/png;base64,([^"]+)" alt="([^"]+)"', html))
    shown = {alt: np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))) for uri, alt in found.items()}
    items = brain.read_items(study, "S1", "natural")
    name = items.names[0]
    np.testing.assert_array_equal(shown[f"Stimulus {name}"], images.read_images(study.workspace, items.rows[:1])[0])
    path = layout.image_file(study, "deep", "S1", "VC", "natural", name)
    np.testing.assert_array_equal(shown[f"Reconstruction of {name}, S1 deep"], np.asarray(Image.open(path)))


def test_the_gallery_is_limited_and_says_so(reported):
    _, html = reported(CONTENT, "plain")
    assert "3 of 4 images, evenly spaced" in html


def test_cross_validation_has_its_own_table_and_gallery(reported):
    _, html = reported(FOLDS, "folds")
    assert "<h2>Cross-validation</h2>" in html
    assert "16 images" in html
    assert "Cross-validation, first repeat" in html
    assert "Cross-validated over all 16 images" in html
    assert "Simulated data" not in html


def test_choices_are_shown_with_their_warnings(reported):
    study, _ = reported(CONTENT, "plain")
    path = study.workspace / "choices" / "S1" / "VC" / "vgg" / "conv1_1.json"
    path.parent.mkdir(parents=True)
    table = [{"n_voxels": 100, "alpha": 10.0, "explained_variance": 0.25, "correlation": 0.5}]
    content = {"n_voxels": 100, "alpha": 10.0, "warnings": ["alpha lies at the edge"], "table": table}
    path.write_text(json.dumps(content))
    _, html = reported(CONTENT, "plain")
    shutil.rmtree(study.workspace / "choices")
    assert "Chosen by cross-validation" in html
    assert "alpha lies at the edge" in html


def test_the_same_workspace_gives_the_same_page(reported):
    def without_run(html):
        return html[: html.index('<section id="run">')]

    assert without_run(reported(CONTENT, "plain")[1]) == without_run(reported(CONTENT, "plain")[1])


def test_without_scores_the_command_is_named(make_study, fill_workspace):
    from hpc_recon.stores import shapes

    study = make_study(CONTENT)
    fill_workspace(study)
    (tile,) = report.plan(study, shapes.read(study))
    with pytest.raises(MissingStore, match=r"hpc_recon\.evaluate"):
        report.work(study, tile)


def test_a_garbled_summary_is_named(reported):
    from hpc_recon.stores import shapes

    study, _ = reported(CONTENT, "plain")
    path = study.workspace / "scores" / "summary.json"
    whole = path.read_bytes()
    path.write_bytes(b"{")
    try:
        with pytest.raises(DamagedStore, match=r"summary\.json"):
            report.work(study, report.plan(study, shapes.read(study))[0])
    finally:
        path.write_bytes(whole)


@pytest.fixture
def drawn():
    """Asked for by a test that looks at the figures' files."""


def test_every_figure_is_a_file_too(drawn, reported):
    study, html = reported(CONTENT, "plain")
    found = sorted(path.name for path in (study.workspace / "report" / "figures").iterdir())
    assert {"layers-VC-S1-identification.png", "layers-V1-S2-profile-correlation.pdf"} <= set(found)
    assert {"figure-1-identification.png", "figure-2-pixel-correlation.pdf"} <= set(found)
    assert "figure-3-better-than-other-methods.png" in found
    assert len(found) == 2 * (3 * 2 * 2 + 3)
    assert html.count("<svg") > len(found) // 2


def test_the_plan_reads_tables_and_images(reported):
    from hpc_recon.stores import shapes

    study, _ = reported(CONTENT, "plain")
    (tile,) = report.plan(study, shapes.read(study))
    assert tile.group.upstream == ("evaluate/tables", "reconstruct")
    # The page; and twice three plots of each of two subjects and ROIs, and three that compare methods.
    assert tile.need.files_out == 1 + 2 * (3 * 2 * 2 + 3)


def test_the_page_rests_on_what_raters_chose_and_on_latents(make_study, fill_workspace, run_verb, tmp_path):
    from hpc_recon.stores import shapes

    study = make_study()
    fill_workspace(study)
    paths = (("human",), ("latents", "decoded"))
    tiles = [Tile(Group("evaluate", path, "{}"), path[0], 0, 1, Need()) for path in paths]
    run_verb(SimpleNamespace(plan=lambda *_: tiles, prepare=lambda _: None, work=lambda *_: []), study)
    (tile,) = report.plan(study, shapes.read(study))
    assert tile.group.upstream == ("evaluate/tables", "evaluate/latents")
    rated = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"ratings": (tmp_path,)})})
    (tile,) = report.plan(rated, shapes.read(study))
    assert tile.group.upstream == ("evaluate/tables", "evaluate/human", "evaluate/latents")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for the tests of this module."""
    if executable() is None:
        pytest.skip("no chromium on PATH: the page was not looked at")
    with Chromium(tmp_path_factory.mktemp("profile"), tmp_path_factory.mktemp("downloads")) as chromium:
        yield chromium


def _alts(browser, row):
    return browser.run(f"[...document.querySelectorAll({row!r} + ' img')].map((image) => image.alt)")


@pytest.mark.slow
def test_a_browser_shows_the_page(reported, browser, tmp_path):
    """It is drawn without an error: not blank, no wider than a telephone, all images load."""
    study, _ = reported(CONTENT, "plain")
    for width in (1280, 390):
        browser.window(width, 1600)
        browser.open(study.workspace / "report" / "index.html")
        browser.screenshot(tmp_path / "page.png")
        assert len(np.unique(np.asarray(Image.open(tmp_path / "page.png").convert("L")))) > 50
        assert browser.run("document.documentElement.scrollWidth") <= width
        shown = "[...document.querySelectorAll('.band .row img')].filter((image) => image.offsetParent)"
        assert browser.run(f"Math.min(...{shown}.map((image) => image.offsetWidth))") > 90
    broken = "[...document.querySelectorAll('.row img')].map((i) => (i.loading = 'eager', i.decode()))"
    browser.run(f"Promise.all({broken})")
    assert browser.run("[...document.querySelectorAll('.row img')].every((image) => image.naturalWidth > 0)")
    assert browser.console == []


@pytest.mark.slow
def test_images_are_chosen_and_sorted(reported, browser):
    study, _ = reported(CONTENT, "plain")
    browser.window(1280, 1600)
    browser.open(study.workspace / "report" / "index.html")
    pick = (
        "((field, value) => {{ const s = document.querySelector(field); s.value = value; "
        "s.dispatchEvent(new Event('change', {{bubbles: true}})); }})({!r}, {!r})"
    )
    visible = (
        "[...document.querySelectorAll('.row')].filter((row) => row.offsetParent)"
        ".map((row) => [row.dataset.subject, row.dataset.method])"
    )
    browser.run(pick.format("[data-field=subject]", "S2"))
    assert {subject for subject, _ in browser.run(visible)} == {"", "S2"}
    browser.run(pick.format("[data-field=subject]", ""))
    browser.run(pick.format("[data-field=method]", "deep"))
    assert {method for _, method in browser.run(visible)} == {"", "deep"}
    browser.run(pick.format("[data-field=dataset]", "letters"))
    assert browser.run("document.querySelectorAll('.gallery:not([hidden])').length") == 1
    browser.run(pick.format("[data-field=dataset]", "Photo<graphs>"))
    values = {
        alt: json.loads(text)["pixel_correlation"]
        for alt, text in browser.run(
            "[...document.querySelectorAll('.gallery img[data-scores]')].map((i) => [i.alt, i.dataset.scores])"
        )
    }
    browser.run(pick.format("#sort", "pixel_correlation"))
    shown = _alts(browser, ".gallery:not([hidden]) .row[data-method=deep]")
    assert shown == sorted(shown, key=lambda alt: -values[alt])
    stimuli = _alts(browser, ".gallery:not([hidden]) .row.stimulus")
    assert [alt.split()[-1] for alt in stimuli] == [alt.split()[2].rstrip(",") for alt in shown]
    browser.run("document.getElementById('direction').click()")
    assert _alts(browser, ".gallery:not([hidden]) .row[data-method=deep]") == shown[::-1]
    assert "sorted by Pixel correlation, smallest first" in browser.run("document.getElementById('chosen').textContent")
    assert browser.console == []


@pytest.mark.slow
def test_the_keyboard_opens_an_image(reported, browser):
    study, _ = reported(CONTENT, "plain")
    browser.window(1280, 1600)
    browser.open(study.workspace / "report" / "index.html")
    title = "document.getElementById('viewer-title').textContent"
    stimuli, made = _alts(browser, ".row.stimulus"), _alts(browser, ".row.reconstruction")
    browser.run("document.querySelector('.row img[tabindex=\"0\"]').focus()")
    browser.press("Enter")
    browser.wait("document.getElementById('viewer').open")
    assert browser.run(title) == stimuli[0]
    browser.press("ArrowRight")
    assert browser.run(title) == stimuli[1]
    browser.press("ArrowLeft")
    browser.press("ArrowDown")
    assert browser.run(title) == made[0]
    assert browser.run("document.getElementById('viewer-scores').children.length") >= 3
    browser.press("Escape")
    browser.wait("!document.getElementById('viewer').open")
    browser.wait(f"document.activeElement.alt == {json.dumps(made[0])}")
    assert browser.console == []


def test_the_page_says_what_true_features_would_give(reported, make_study, run_verb):
    study, html = reported(CONTENT, "plain")
    assert "From true features" not in html
    for i, value in enumerate((0.981, 0.9149)):
        path = layout.recovery_file(study, "deep", f"natural00{i}").with_suffix(".json")
        write_json(path, {"pixel_correlation": value})
    run_verb(report, study)
    html = (study.workspace / "report" / "index.html").read_text(encoding="utf-8")
    shutil.rmtree(path.parent)  # the workspace is shared
    assert "From true features, deep" in html
    assert "0.98, 0.91 (pixel correlation of 2 images)" in html


def test_the_card_says_what_the_images_are_evidence_of(reported):
    study, html = reported(CONTENT, "plain")
    found = json.loads((study.workspace / "scores" / "validity.json").read_text())
    (verdict,) = [e["verdict"] for e in found["verdicts"] if (e["variant"], e["roi"]) == ("direct", "VC")]
    assert f"What the images are evidence of: <b>{verdict}</b>" in html
    assert html.index('class="card"') < html.index('id="images"')
    assert "fewer than 30 test images: Photo&lt;graphs&gt; 4 and letters 4." in html


def test_scores_without_a_card_name_the_command(reported, run_verb):
    study, _ = reported(CONTENT, "plain")
    path = study.workspace / "scores" / "validity.json"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(MissingStore, match=r"validity\.json does not exist; make it with .*evaluate"):
        run_verb(report, study)
    path.write_bytes(content)
