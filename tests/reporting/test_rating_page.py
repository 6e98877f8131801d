"""The raters' page: self-contained, and silent about the answers."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hpc_recon.reporting import rating_page
from hpc_recon.stores import rating_design

IMAGES = tuple(f"secret{i}" for i in range(4))
DESIGN = rating_design.Design(
    name="which", task="identify", study="tiny", subject="S1", roi="VC", dataset="letters", variants=("deep",),
    images=IMAGES, seed=3, per_image=None, trials=((0, 0, 1), (1, 2, 1)), pictures="f" * 64,
)  # fmt: skip
ROWS = [(4, 0, 1), (5, 2, 1)]


def _pictures():
    made = np.random.default_rng(0).integers(256, size=(8, 16, 16, 3), dtype=np.uint8)
    return rating_page.sheet(list(made[:4]), list(made[4:] / np.float32(255)))


def _render(**changes):
    pictures, _ = _pictures()
    words = {"title": "A <b> & c", "label": "", "version": "1"} | changes
    return rating_page.render(DESIGN, pictures, ROWS, **words), pictures


def _sheet(html):
    return json.loads(re.search(r'<script type="application/json" id="sheet">(.*?)</script>', html, re.DOTALL)[1])


def test_trials_show_the_right_pictures():
    html, pictures = _render()
    found = _sheet(html)
    uris = [uri for uri, _ in found["pictures"]]
    assert sorted(uris) == sorted(picture.uri for picture in pictures)
    assert [[uris[i] for i in trial] for trial in found["trials"]] == [
        [pictures[row].uri for row in trial] for trial in ROWS
    ]
    assert (found["set"], found["design"]) == ("which", DESIGN.digest)


def test_nothing_is_fetched_and_text_is_escaped():
    html, _ = _render(label="x</script><script>alert(1)")
    assert "A &lt;b&gt; &amp; c" in html
    assert "<script>alert" not in html
    assert not re.search(r"https?://|//[a-z]+\.|url\(|@import|<link", html)
    assert "default-src 'none'" in html


def test_the_page_does_not_give_answers_away():
    html, _ = _render()
    assert "secret" not in html
    assert "deep" not in html
    numbers = [i for trial in _sheet(html)["trials"] for i in trial]
    assert numbers != [row for trial in ROWS for row in trial]


def test_a_name_that_ends_a_script_does_no_harm():
    pictures, _ = _pictures()
    design = dataclasses.replace(DESIGN, name="</script>")
    html = rating_page.render(design, pictures, ROWS, title="t", label="", version="1")
    assert _sheet(html)["set"] == "</script>"


def test_the_digest_is_of_the_pictures():
    made = np.zeros((2, 8, 8, 3), np.uint8)
    other = made.copy()
    other[1, 0, 0, 0] = 1
    assert rating_page.sheet([made[0]], [made[1]])[1] != rating_page.sheet([made[0]], [other[1]])[1]


@pytest.mark.parametrize("task", rating_design.TASKS)
def test_every_task_has_words(task):
    pictures, _ = _pictures()
    html = rating_page.render(
        dataclasses.replace(DESIGN, task=task), pictures, ROWS, title="t", label="", version="1"
    )  # fmt: skip
    assert rating_page.WORDINGS[task].question in html
    assert "<dd>8.0 s</dd>" in html  # two trials


def _luminance(colour):
    """Relative luminance of WCAG 2.2."""
    colour = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    values = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "paper"), ("ink", "raised"), ("muted", "paper"), ("muted", "raised"), ("accent", "paper"),
        ("on", "accent"), ("amber", "amber-paper"), ("bad", "paper"),
    ],
)  # fmt: skip
def test_text_has_contrast(scheme, text, ground):
    """WCAG's level AA: 4.5 to 1."""
    style = (Path(rating_page.__file__).parent / "rating.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([a-z-]+): #([0-9a-f]+);", block))
    high, low = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5
