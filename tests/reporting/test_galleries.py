"""Which images the galleries of the report show, and which they must not."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hpc_recon import evaluate, report
from hpc_recon.core.errors import StudyError
from hpc_recon.core.files import read_json, write_json
from hpc_recon.core.retrieval_options import RetrievalOptions
from hpc_recon.reporting import galleries, study_figures
from hpc_recon.stores import images, layout

CONTENT = {
    "name": "tiny",
    "subjects": ["S1", "S2"],
    "rois": ["VC", "V1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16},
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
    "reconstruct": {"direct": {"method": "pixels", "network": "pixels"}},
    "evaluate": {"resamples": 100},
}
NAMES = [f"natural{i:03d}" for i in range(4)]


@pytest.fixture(autouse=True)
def _no_files(monkeypatch):
    """Figures as files take seconds a page, and are not looked at here."""
    monkeypatch.setattr(study_figures, "write", lambda folder, rows, more: [])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the one evaluated workspace of this module lies."""
    return tmp_path_factory.mktemp("kept") / "runs"


@pytest.fixture
def study(make_study, fill_workspace, run_verb, kept):
    """Return a function that gives the study with options of the report; its images have animations."""

    def make(**options):
        made = make_study(CONTENT, workspace=str(kept), report=options)
        if not kept.exists():
            fill_workspace(made)
            run_verb(evaluate, made)
            stimulus = np.zeros((16, 16, 3), np.uint8)
            for i, name in enumerate(NAMES):
                path = layout.image_file(made, "direct", "S1", "VC", "natural", name)
                noise = np.random.default_rng(i).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
                images.write_animation(path.parent / "snapshots" / f"{path.stem}.webp", stimulus, noise)
        return made

    return make


def test_images_of_every_entry_are_shown(make_study):
    only = {"method": "pixels", "network": "pixels", "rois": ["V2", "V3"]}
    direct = {"method": "pixels", "network": "pixels", "rois": ["VC", "V1"]}
    study = make_study(rois=["VC", "V1", "V2", "V3"], reconstruct={"direct": direct, "only": only})
    assert galleries.rois_of(study) == ["VC", "V2"]
    study = make_study(rois=["V1", "V2"], reconstruct={"only": {**only, "rois": ["V2"]}})
    assert galleries.rois_of(study) == ["V2"]


def embedded(text):
    """Return every picture of a page, decoded: (H, W, 3) uint8, each frame of an animation by itself."""
    found = []
    for body in re.findall(r"data:image/(?:png|webp);base64,([A-Za-z0-9+/=]+)", text):
        with Image.open(io.BytesIO(base64.b64decode(body))) as picture:
            for i in range(getattr(picture, "n_frames", 1)):
                picture.seek(i)
                found.append(np.asarray(picture.convert("RGB")))
    return found


def test_rows_name_subject_region_and_method(study):
    (found,) = galleries.collect(study(rois=["V1"])).galleries
    rows = found.bands[0].rows
    assert [(r.kind, r.subject, r.roi, r.method) for r in rows[:5]] == [
        ("stimulus", "", "", ""),
        *[("reconstruction", s, roi, "direct") for s in ("S1", "S2") for roi in ("VC", "V1")],
    ]
    assert [row.kind for row in rows[5:]] == ["baseline"] * 4
    assert found.bands[0].names == tuple(NAMES)


def test_an_image_holds_the_scores_of_the_table(study):
    made = study()
    frame = pd.read_csv(made.workspace / "scores" / "images.csv")
    mine = frame.query("subject == 'S2' and roi == 'VC' and variant == 'direct' and metric == 'pixel_correlation'")
    expected = dict(zip(mine["image"], mine["value"], strict=True))
    (found,) = galleries.collect(made).galleries
    (row,) = [r for r in found.bands[0].rows if r.subject == "S2" and r.kind == "reconstruction"]
    for name, picture in zip(found.bands[0].names, row.pictures, strict=True):
        assert picture.scores["pixel_correlation"] == pytest.approx(expected[name], abs=5e-5)


def test_animations_are_embedded_where_there_are_any(study):
    (found,) = galleries.collect(study()).galleries
    with_one = [p for p in found.pictures if p.animation]
    assert [p.alt for p in with_one] == [f"Reconstruction of {name}, S1 direct" for name in NAMES]


def test_pictures_shrink_until_they_fit_and_then_it_is_an_error(study, monkeypatch):
    made = study()
    monkeypatch.setattr(galleries, "SIDES", (16, 8, 4))
    whole, small = (sum(g.n_bytes for g in galleries._all(made, _show(side))) for side in (16, 8))
    assert small < whole
    bound = made.model_copy(update={"report": made.report.model_copy(update={"megabytes": (small + 1) / 1e6})})
    found = galleries.collect(bound)
    assert found.largest == 8
    assert found.n_bytes <= small + 1
    assert found.without_animations
    assert "Animations were left out" in galleries.note(bound, found)
    none = made.model_copy(update={"report": made.report.model_copy(update={"megabytes": 0.0001})})
    with pytest.raises(StudyError, match=r"(?s)report\.megabytes.*even at 4 pixels"):
        galleries.collect(none)


def _show(side):
    return galleries._Show(side, False, galleries.Publishable(), {})


def test_a_region_that_the_study_lacks_is_an_error(study):
    with pytest.raises(StudyError, match=r"(?s)report\.rois.*'V9' is no region"):
        galleries.collect(study(rois=["V9"]))


def test_nothing_of_a_withheld_stimulus_is_on_the_page(study, run_verb, tmp_path):
    """Every picture of the page, decoded, differs from every image that is withheld; without a list it does not."""
    table = images.read_table(study().workspace)
    nearest = read_json(
        study().workspace / "scores" / "parts" / "images" / "direct" / "S1" / "VC" / "natural" / "retrieved.json"
    )["nearest"]
    (tmp_path / "list.txt").write_text(f"{NAMES[1]}\n{nearest[0]}\n")
    stored = images.read_images(study().workspace, slice(0, len(table.labels)))
    secret = [image for label, image in zip(table.labels, stored, strict=True) if label not in (NAMES[1], nearest[0])]
    animations = []
    for name in NAMES:
        for subject in CONTENT["subjects"]:
            path = layout.image_file(study(), "direct", subject, "VC", "natural", name)
            if name != NAMES[1]:
                secret.append(np.asarray(Image.open(path)))
                moving = path.parent / "snapshots" / f"{path.stem}.webp"
                animations += [base64.b64encode(moving.read_bytes()).decode()] if moving.exists() else []
    pages = {}
    for options in ({}, {"publishable": "list.txt"}):
        made = study(**options)
        run_verb(report, made)
        pages[bool(options)] = (made.workspace / "report" / "index.html").read_text(encoding="utf-8")
    leaks = {
        listed: sum(any(np.array_equal(picture, image) for image in secret) for picture in embedded(text))
        for listed, text in pages.items()
    }
    assert leaks[False] >= 6  # the comparison finds what is there
    assert leaks[True] == 0
    assert len(animations) == 3
    assert not any(text in pages[True] for text in animations)
    assert any(np.array_equal(p, stored[table.labels.index(NAMES[1])]) for p in embedded(pages[True]))
    assert "withheld, with all that was made from it" in pages[True]
    assert f"Stimulus {NAMES[0]}: withheld" in pages[True]


def test_an_image_that_is_a_training_image_is_withheld_unless_both_are_listed(study, tmp_path):
    retrieval = {"direct": RetrievalOptions(method="retrieval", network="pixels")}
    training = images.read_table(study().workspace).labels[0]
    for subject in CONTENT["subjects"]:
        for name in NAMES:
            path = layout.image_file(study(), "direct", subject, "VC", "natural", name)
            write_json(path.with_suffix(".json"), {"retrieved": [training]})
    for listed, withheld in ((NAMES, 8), ([*NAMES, training], 0), ([*NAMES[1:], training], 2)):
        (tmp_path / "list.txt").write_text("\n".join(listed))
        made = study(publishable="list.txt").model_copy(update={"reconstruct": retrieval})
        (gallery,) = galleries.collect(made).galleries
        rows = [row for band in gallery.bands for row in band.rows if row.kind == "reconstruction"]
        alts = [picture.alt for row in rows for picture in row.pictures]
        assert (len(alts), sum("withheld" in alt for alt in alts)) == (8, withheld)


def test_nothing_of_a_dataset_that_is_not_publishable_is_on_the_page(study, run_verb):
    made = study()
    hidden = {name: own.model_copy(update={"publishable": False}) for name, own in made.datasets.items()}
    made = made.model_copy(update={"datasets": hidden})
    run_verb(report, made)
    text = (made.workspace / "report" / "index.html").read_text(encoding="utf-8")
    assert f"Stimulus {NAMES[0]}: withheld" in text
    assert "withheld, with all that was made from it" in text
    stored = images.read_images(made.workspace, slice(0, len(images.read_table(made.workspace).labels)))
    assert not any(np.array_equal(picture, image) for picture in embedded(text) for image in stored)
