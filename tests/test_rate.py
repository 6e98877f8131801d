"""The verb `rate`: pages of trials, what is refused, and sittings in a real browser whose answers `evaluate` scores."""

from __future__ import annotations

import json
import re
import sys
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from hpc_recon import rate
from hpc_recon.stores import rating_design

sys.path.insert(0, str(Path(__file__).parent / "reporting"))

from chromium import Chromium, executable

CONTENT = {
    "name": "tiny",
    "subjects": ["S1", "S2"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}, "letters": {"role": "test"}},
    "simulate": {"image_size": 16},
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
    "reconstruct": {
        "direct": {"method": "pixels", "network": "pixels"},
        "again": {"method": "pixels", "network": "pixels"},
        "part": {"method": "pixels", "network": "pixels", "datasets": ["natural"]},
    },
    "evaluate": {"resamples": 100},
}
PLACE = ("--subject", "S1", "--dataset", "letters")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the one workspace of this module lies: making it takes seconds."""
    return tmp_path_factory.mktemp("kept") / "runs"


@pytest.fixture
def study(make_study, fill_workspace, kept):
    """A study of two subjects with four images a dataset; its workspace is shared by the tests of this module."""
    made = make_study(CONTENT, workspace=str(kept))
    if not kept.exists():
        fill_workspace(made)
    return made


@pytest.fixture
def run(study, tmp_path, capsys):
    """Return a function that runs the command line and gives exit code, output and errors."""

    def call(*arguments):
        code = rate.main([*arguments, "--study", str(tmp_path / "study.yaml")])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def _design(study, name):
    return rating_design.read(study.workspace, name)


def test_only_publishable_images_are_rated(study, run, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("letters001\nletters003\n")
    option = ("--set", f"report.publishable={listed}")
    code, printed, error = run("identify", *PLACE, "--variant", "direct", "--name", "listed", *option)
    assert code == 0, error
    assert "2 of 4 images are withheld" in printed
    assert _design(study, "listed").images == ("letters001", "letters003")
    listed.write_text("letters001\n")
    code, _, error = run("identify", *PLACE, "--variant", "direct", "--name", "few", *option)
    assert code == 2
    assert "allows 1 of 4 in letters" in error


def test_the_page_and_its_design_are_written(study, run):
    code, printed, _ = run("identify", *PLACE, "--variant", "direct")
    assert code == 0
    assert "identify-S1-VC-letters-direct: 12 trials (all pairs), 48 s" in printed
    design = _design(study, "identify-S1-VC-letters-direct")
    assert {(image, frozenset(pair)) for image, *pair in design.trials} == {
        (a, frozenset((a, b))) for a, b in permutations(range(4), 2)
    }
    assert sum(first == image for image, first, _ in design.trials) == 6
    assert (study.workspace / "rating" / design.name / "index.html").stat().st_size > 10_000


def test_the_same_command_makes_the_same_page(study, run, tmp_path):
    pages = []
    for page in ("one.html", "two.html"):
        assert run("identify", *PLACE, "--variant", "direct", "--name", "same", "--to", str(tmp_path / page))[0] == 0
        pages.append((tmp_path / page).read_bytes())
    assert pages[0] == pages[1]


def test_no_other_file_is_replaced_by_a_page(study, run, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    place = (*PLACE, "--variant", "direct", "--name", "same", "--to")
    code, _, error = run("identify", *place, str(mine))
    assert (code, mine.read_text()) == (2, "precious")
    assert "mine.txt is there already and is no page of the set same; give another file, or --overwrite it" in error
    code, _, error = run("identify", *place, str(tmp_path))
    assert code == 2
    assert f"{tmp_path} is a folder; give {tmp_path / 'same.html'}" in error
    for _ in range(2):  # its own page it replaces
        assert run("identify", *place, str(tmp_path / "page.html"))[0] == 0
    assert run("identify", *place, str(mine), "--overwrite")[0] == 0
    assert mine.read_text().startswith("<!doctype html>")


def test_the_page_shows_each_trial_with_its_own_pictures(study, run):
    """Against pictures embedded here from the stored images."""
    from hpc_recon.reporting.pictures import picture
    from hpc_recon.stores import images, layout
    from hpc_recon.stores.items import read_shown

    code, _, error = run("compare", *PLACE, "--variant", "direct", "--variant", "again", "--name", "closer")
    assert code == 0, error
    design = _design(study, "closer")
    rows = read_shown(study, "S1", "letters").rows
    stimuli = [picture(image, "").uri for image in images.read_images(study.workspace, rows)]
    made = {}
    for variant in ("direct", "again"):
        for i, name in enumerate(design.images):
            path = layout.image_file(study, variant, "S1", "VC", "letters", name).with_suffix(".npy")
            made[design.variants.index(variant), i] = picture(np.load(path), "").uri
    html = (study.workspace / "rating" / "closer" / "index.html").read_text()
    sheet = json.loads(re.search(r'id="sheet">(.*?)</script>', html, re.DOTALL)[1])
    shown = [[sheet["pictures"][i][0] for i in trial] for trial in sheet["trials"]]
    assert shown == [[stimuli[i], made[a, i], made[b, i]] for i, a, b in design.trials]
    assert len(shown) == 4


@pytest.mark.parametrize(("task", "same"), [("shape", 1), ("colour", 0)])
def test_shape_and_colour_are_judged_apart(study, run, tmp_path, task, same):
    table = {f"letters{i:03d}": (shape, colour) for i, (shape, colour) in enumerate(["xr", "yr", "xg", "yg"])}
    path = tmp_path / "attributes.csv"
    path.write_text("label,shape,colour\n" + "".join(f"{label},{s},{c}\n" for label, (s, c) in table.items()))
    code, printed, _ = run(task, *PLACE, "--variant", "direct", "--attributes", str(path))
    assert code == 0
    assert "4 trials" in printed
    design = _design(study, f"{task}-S1-VC-letters-direct")
    for _, *pair in design.trials:
        one, other = (table[design.images[i]] for i in pair)
        assert one[same] == other[same]
        assert one != other


def test_labels_of_simulated_shapes_tell_shape_and_colour():
    from hpc_recon.stores.images import StimulusTable

    labels, shapes = ("red_ring", "light_blue_big_ring", "odd"), ("ring", "big_ring", "odd")
    table = StimulusTable(labels, ("t",) * 3, shapes, labels, 8, 8)
    assert rate._split_labels(rate._Shown(labels, labels, np.arange(3), table)) == {
        "red_ring": ("ring", "red"),
        "light_blue_big_ring": ("big_ring", "light_blue"),
    }


def test_a_dry_run_counts_and_writes_nothing(study, run):
    code, printed, _ = run("identify", *PLACE, "--variant", "direct", "--name", "dry", "--per-image", "2", "--dry-run")
    assert code == 0
    assert "dry: 8 trials (a balanced part of 12)" in printed
    assert not (study.workspace / "rating" / "dry").exists()


def test_a_set_is_not_replaced_unasked(study, run):
    arguments = ("identify", *PLACE, "--variant", "direct", "--name", "once")
    assert run(*arguments)[0] == 0
    code, _, error = run(*arguments, "--seed", "7")
    assert code == 2
    assert "--overwrite" in error
    assert run(*arguments, "--seed", "7", "--overwrite")[0] == 0
    assert _design(study, "once").seed == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("identify",), "--subject is needed: the study has S1, S2"),
        (("identify", "--subject", "S9"), "--subject 'S9': the study has S1, S2"),
        (("identify", *PLACE), "--variant is needed: the study has direct, again, part"),
        (("identify", *PLACE, "--variant", "direct", "--variant", "again"), "one --variant a page"),
        (("compare", *PLACE, "--variant", "direct"), "two or more different --variant"),
        (("compare", *PLACE, "--variant", "direct", "--variant", "direct"), "two or more different"),
        (("identify", *PLACE, "--variant", "part"), "makes no such images of S1, VC, letters"),
        (("identify", *PLACE, "--variant", "direct", "--per-image", "4"), "here 3, got 4"),
        (("identify", *PLACE, "--variant", "direct", "--name", "../x"), "--name"),
        (("identify", *PLACE, "--variant", "direct", "--attributes", "x.csv"), "--attributes goes with"),
        (("shape", *PLACE, "--variant", "direct"), "give --attributes FILE"),
        (("shape", *PLACE, "--variant", "direct", "--attributes", "absent.csv"), "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(study, run, arguments, message):
    before = sorted((study.workspace / "rating").rglob("*"))
    code, _, error = run(*arguments)
    assert code == 2
    assert message in error
    assert sorted((study.workspace / "rating").rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,shape\nletters000,x\n", "must have the columns"),
        ("label,shape,colour\nletters000,x,\n", "those of 4 of 4"),
        ("label,shape,colour\nletters000,x,r\nletters000,x,g\n", "are there twice"),
        ("label,shape,colour\nletters000,x,r\n", "those of 3 of 4"),
        ("label,shape,colour\n" + "".join(f"letters00{i},x,r\n" for i in range(4)), "occurs 4 times"),
        ("\x00\xff", "must have the columns"),
        ("", "must have the columns"),
    ],
)
def test_a_table_of_attributes_that_does_not_fit_is_refused(run, tmp_path, text, message):
    path = tmp_path / "attributes.csv"
    path.write_bytes(text.encode("utf-8"))
    code, _, error = run("colour", *PLACE, "--variant", "direct", "--attributes", str(path))
    assert code == 2
    assert message in error


# ---- in a browser ---------------------------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(executable() is None, reason="no chromium on PATH: nobody used the page")
LOOK = """(() => {
  const source = (id) => document.querySelector(id).src;
  return {
    shown: source("#shown"), left: source("#left img"), right: source("#right img"),
    count: document.querySelector("#count").textContent,
    alts: [...document.querySelectorAll("#trial img")].map((image) => image.alt),
  };
})()"""
READY = "!document.querySelector('#trial').hidden && document.querySelector('#count').textContent.startsWith('{} of')"


class Rater:
    """One who uses a page as a person does, knowing the answers if the test says so."""

    def __init__(self, browser, page, name):
        self.browser, self.page, self.name = browser, page, name
        html = page.read_text()
        sheet = json.loads(re.search(r'id="sheet">(.*?)</script>', html, re.DOTALL)[1])
        uris = [uri for uri, _ in sheet["pictures"]]
        self.trials = [tuple(uris[i] for i in trial) for trial in sheet["trials"]]
        self.seen = []  # (trial, candidate on the left)

    def start(self, *, before="null"):
        """Open the page, run a script in it, and begin; return the button's word.

        What another page has kept may reach this one's process later than a test looks.
        """
        self.browser.open(self.page)
        self.browser.run(before)
        self.browser.run("document.querySelector('#rater').focus()")
        self.browser.send("Input.insertText", text=self.name)
        self.browser.wait(f"document.querySelector('#rater').value === {json.dumps(self.name)}")
        label = self.browser.run("document.querySelector('#go').textContent")
        self.browser.press("Enter")
        return label

    def look(self, number):
        """Wait for a trial, and return which one it is."""
        self.browser.wait(READY.format(number))
        self.view = self.browser.run(LOOK)
        pair = {self.view["left"], self.view["right"]}
        (trial,) = (i for i, (s, a, b) in enumerate(self.trials) if s == self.view["shown"] and {a, b} == pair)
        self.seen.append((trial, self.trials[trial].index(self.view["left"], 1) - 1))
        return trial

    def choose(self, candidate):
        """Press the key of a candidate, 0 or 1 of the trial's."""
        is_left = candidate == self.seen[-1][1]
        keys = ("ArrowLeft", "1") if is_left else ("ArrowRight", "2")
        self.insist(lambda: self.browser.press(keys[len(self.seen) % 2]))

    def insist(self, act):
        """Do something until the page takes it: it is deaf until 0.2 s after the pictures of a trial are drawn."""
        count = "document.querySelector('#count').textContent"
        before, deadline = json.dumps(self.browser.run(count)), time.monotonic() + 120
        act()
        while not self.browser.run(f"!!document.querySelector('.chosen') || {count} !== {before}"):
            assert time.monotonic() < deadline, "the page stays deaf"
            time.sleep(0.05)
            act()


@pytest.fixture
def browse(tmp_path):
    def make():
        return Chromium(tmp_path / "profile", tmp_path / "downloads")

    return make


def _saved(browser, folder, name):
    browser.wait("!document.querySelector('#done').hidden")
    text = browser.run("document.querySelector('#text').value")
    browser.run("document.querySelector('#save').click()")
    path, deadline = folder / name, time.monotonic() + 120
    while not (path.exists() and path.read_text().endswith("}\n")):  # it is created, then written
        assert time.monotonic() < deadline, f"no download: {sorted(folder.iterdir())}"
        time.sleep(0.05)
    saved, copied = json.loads(path.read_text()), json.loads(text)
    saved.pop("saved"), copied.pop("saved")  # the time
    assert saved == copied
    return path


@needs_browser
def test_a_sitting_is_interrupted_resumed_and_saved(study, run, browse, tmp_path):
    """Keys, taking back, a pause, the browser closed in between; what is saved is what was chosen."""
    from hpc_recon.stores import ratings

    assert run("identify", *PLACE, "--variant", "direct", "--name", "sitting")[0] == 0
    page, downloads = study.workspace / "rating" / "sitting" / "index.html", tmp_path / "downloads"
    design, chosen = _design(study, "sitting"), {}
    with browse() as browser:
        browser.window(1280, 800)
        rater = Rater(browser, page, "Zo\u00eb")
        assert rater.start() == "Start"
        for number in range(1, 6):
            trial = rater.look(number)
            chosen[trial] = number % 2
            rater.choose(chosen[trial])
        rater.look(6)
        rater.insist(lambda: browser.press("u"))
        rater.look(5)
        assert rater.seen[-1] == rater.seen[-3]
        chosen[rater.seen[-1][0]] = 0
        rater.choose(0)
        assert set(rater.view["alts"]) == {"Drawn image to judge", "Left candidate", "Right candidate"}
        rater.look(6)
        nodes = [node for node in browser.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        told = {(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes}
        assert {("button", "Left candidate"), ("button", "Right candidate"), ("image", "Drawn image to judge")} <= told
        browser.run("document.querySelector('#pause').click()")
        assert browser.run("document.activeElement.textContent") == "Paused"
        partial = _saved(browser, downloads, "ratings-sitting-Zo_.json")
        assert not browser.console
    with pytest.raises(ratings.DataError, match="5 judgements so far"):
        ratings.read(partial)
    partial.unlink()
    with browse() as browser:
        browser.window(390, 844, touch=True)
        rater = Rater(browser, page, "Zo\u00eb")
        assert rater.start() == "Go on at 6"
        for number in range(6, 13):
            trial = rater.look(number)
            chosen[trial] = number % 2
            side = "left" if chosen[trial] == rater.seen[-1][1] else "right"
            box = browser.run(f"document.querySelector('#{side}').getBoundingClientRect().toJSON()")
            assert box["bottom"] < 844
            point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
            rater.insist(lambda point=point: browser.tap(point))
        found = ratings.read(_saved(browser, downloads, "ratings-sitting-Zo_.json"))
        assert browser.run("document.documentElement.scrollWidth") <= 390
        assert not browser.console
    assert (found.rater, found.design) == ("Zo\u00eb", design.digest)
    assert dict(enumerate(found.choices.tolist())) == chosen
    assert abs(2 * int(found.left.sum()) - 12) <= 1
    assert (found.seconds >= 0.2).all(), "the page was not deaf"


@needs_browser
def test_order_and_sides_are_those_of_the_rater(study, run, browse):
    assert run("identify", *PLACE, "--variant", "direct", "--name", "order", "--per-image", "2")[0] == 0
    page, orders = study.workspace / "rating" / "order" / "index.html", []
    with browse() as browser:
        browser.window(1280, 800)
        for name in ("A", "B", "A"):
            browser.open(page)
            browser.run("localStorage.clear()")
            rater = Rater(browser, page, name)
            rater.start()
            for number in range(1, 5):
                rater.look(number)
                rater.choose(0)
            orders.append(rater.seen)
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]


@needs_browser
def test_a_browser_that_keeps_nothing_says_so(study, run, browse):
    assert run("identify", *PLACE, "--variant", "direct", "--name", "forgets")[0] == 0
    page = study.workspace / "rating" / "forgets" / "index.html"
    with browse() as browser:
        script = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })"
        browser.send("Page.addScriptToEvaluateOnNewDocument", source=script)
        rater = Rater(browser, page, "A")
        rater.start()
        assert "keeps nothing" in browser.run("document.querySelector('#storage').textContent")
        rater.look(1)
        rater.choose(0)
        rater.look(2)


@needs_browser
def test_a_name_is_asked_for_and_damaged_memory_starts_anew(study, run, browse):
    assert run("identify", *PLACE, "--variant", "direct", "--name", "damaged")[0] == 0
    page, digest = study.workspace / "rating" / "damaged" / "index.html", _design(study, "damaged").digest
    with browse() as browser:
        assert Rater(browser, page, "").start() == "Start"
        assert "give a name" in browser.run("document.querySelector('#rater-error').textContent")
        for text in ("{", "null", '{"started": "x", "answers": [[0, 5, 0, 1]]}', '{"started": "x", "answers": 3}'):
            rater = Rater(browser, page, "A")
            kept = f"localStorage.setItem('hpc_recon.rate/{digest}/A', {json.dumps(text)})"
            assert rater.start(before=kept) == "Start", text
            assert "damaged" in browser.run("document.querySelector('#storage').textContent"), text
            rater.look(1)


# ---- scores ---------------------------------------------------------------------------------------------------------


@needs_browser
def test_ratings_from_a_browser_become_scores(study, run, browse, tmp_path, run_verb, capsys):
    """One who knows, in a browser, one who answers the same, and one who errs on the first image."""
    import pandas as pd

    from hpc_recon import evaluate
    from hpc_recon.core.loading import load_study

    assert run("identify", *PLACE, "--variant", "direct", "--name", "scored", "--per-image", "2")[0] == 0
    design, page = _design(study, "scored"), study.workspace / "rating" / "scored" / "index.html"
    with browse() as browser:
        browser.window(1280, 800)
        rater = Rater(browser, page, "A")
        rater.start()
        for number in range(1, 9):
            image, first, _ = design.trials[rater.look(number)]
            rater.choose(0 if first == image else 1)
        made = json.loads(_saved(browser, tmp_path / "downloads", "ratings-scored-A.json").read_text())
        browser.run("document.querySelector('#on').click()")  # one more look at the last, without another choice
        assert rater.look(8) == rater.seen[-2][0]
    for name, wrong in (("B", None), ("C", 0)):
        answers = [
            [trial, 1 - choice if design.trials[trial][0] == wrong else choice, *more]
            for trial, choice, *more in made["answers"]
        ]
        path = tmp_path / "downloads" / f"{name}.json"
        path.write_text(json.dumps({**made, "rater": name, "answers": answers}))
    loaded = load_study(tmp_path / "study.yaml", [f"evaluate.ratings=[{tmp_path / 'downloads'}]"])
    run_verb(evaluate, loaded)
    frame = pd.read_csv(study.workspace / "scores" / "human.csv")
    assert frame["value"].tolist() == pytest.approx([2 / 3, 1, 1, 1])
    assert set(frame["n"]) == {6}
    assert list(frame["image"]) == list(design.images)
    (entry,) = json.loads((study.workspace / "scores" / "human.json").read_text())["sets"]
    assert [(one["rater"], one["accuracy"]) for one in entry["raters"]] == [("A", 1), ("B", 1), ("C", 0.75)]
    assert entry["results"][0]["mean"] == pytest.approx(11 / 12)
    summary = json.loads((study.workspace / "scores" / "summary.json").read_text())
    assert "ratings" not in summary


def _fake(design, rater):
    answers = [[trial, 0, trial % 2, 900] for trial in range(len(design.trials))]
    content = {"format": 1, "kind": "hpc_recon ratings", "set": design.name, "design": design.digest, "rater": rater}
    return {**content, "started": "", "saved": "", "complete": True, "answers": answers}


def test_too_few_raters_are_refused_before_anything_is_written(study, run, tmp_path, capsys):
    from hpc_recon import evaluate

    assert run("identify", *PLACE, "--variant", "direct", "--name", "few")[0] == 0
    folder = tmp_path / "ratings"
    folder.mkdir()
    for rater in "AB":
        (folder / f"{rater}.json").write_text(json.dumps(_fake(_design(study, "few"), rater)))
    code = evaluate.main(["--study", str(tmp_path / "study.yaml"), "--ratings", str(folder), "--only", "human*"])
    assert code == 2
    assert "at least 3 raters, but few has 2" in capsys.readouterr().err


def test_paths_in_a_study_start_at_its_folder_and_on_the_command_line_here(make_study, tmp_path):
    from hpc_recon.run.options import ratings_assignment

    study = make_study(CONTENT, evaluate={"ratings": ["rated"]})
    assert study.evaluate.ratings == (tmp_path / "rated",)
    study = make_study(CONTENT, set_=[ratings_assignment(["rated", "more"])])
    assert study.evaluate.ratings == (Path.cwd() / "rated", Path.cwd() / "more")


def test_new_ratings_are_another_result(study, run, tmp_path):
    """The fingerprint of the scores depends on what was judged and not on where the files lie."""
    from hpc_recon.core.loading import load_study
    from hpc_recon.evaluation import human

    assert run("identify", *PLACE, "--variant", "direct", "--name", "mark")[0] == 0
    marks = []
    for folder, changed in (("one", None), ("two", None), ("three", 1)):
        (tmp_path / folder).mkdir()
        for rater in "ABC":
            content = _fake(_design(study, "mark"), rater)
            if changed is not None:
                content["answers"][3][1] = changed
            (tmp_path / folder / f"{rater}.json").write_text(json.dumps(content))
        loaded = load_study(tmp_path / "study.yaml", [f"evaluate.ratings=[{tmp_path / folder}]"])
        marks.append(human.tile(loaded, study.workspace).group.settings)
    assert marks[0] == marks[1] != marks[2]
