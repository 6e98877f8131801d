"""The verb `report` on a small workspace: one page, whole, self-contained, and the same each time."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from hpc_recon import evaluate, report
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import write_json
from hpc_recon.stores import layout

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
    assert "<script" not in html
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


def test_the_plan_reads_tables_and_images(reported):
    from hpc_recon.stores import shapes

    study, _ = reported(CONTENT, "plain")
    (tile,) = report.plan(study, shapes.read(study))
    assert tile.group.upstream == ("evaluate/tables", "reconstruct")
    assert tile.need.files_out == 1


@pytest.mark.slow
def test_a_browser_shows_the_page(reported, tmp_path):
    """A headless Chromium draws it: not blank, and no wider than a telephone."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on PATH: the page was not looked at")
    study, _ = reported(CONTENT, "plain")
    picture = tmp_path / "page.png"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}",
        f"--screenshot={picture}", "--window-size=1280,1600", (study.workspace / "report" / "index.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    drawn = np.asarray(Image.open(picture).convert("L"))
    assert drawn.shape == (1600, 1280)
    assert len(np.unique(drawn)) > 50


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
