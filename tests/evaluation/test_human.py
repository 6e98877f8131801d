"""Tables of human judgements, from designs and answers made up here."""

from __future__ import annotations

import dataclasses
import json
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.evaluation import human
from hpc_recon.numerics import judgements, scores
from hpc_recon.stores import rating_design, ratings

IMAGES = ("a", "b", "c", "d")
IDENTIFY = rating_design.Design(
    name="which", task="identify", study="tiny", subject="S1", roi="VC", dataset="letters", variants=("deep",),
    images=IMAGES, seed=3, per_image=None, pictures="f" * 64,
    trials=tuple((t, t, d) if (t + d) % 2 else (t, d, t) for t, d in permutations(range(4), 2)),
)  # fmt: skip
COMPARE = dataclasses.replace(
    IDENTIFY, name="closer", task="compare", variants=("deep", "direct", "third"),
    trials=tuple((i, a, b) for i in range(4) for a, b in combinations(range(3), 2)),
)  # fmt: skip


def _ratings(design, rater, choices):
    n = len(design.trials)
    left = np.arange(n) % 2
    path = Path(f"{rater}.json")
    return design, ratings.Ratings(path, design.name, design.digest, rater, np.array(choices), left, np.full(n, 2.0))


def _interval(values, names):
    return scores.bootstrap_interval(values, confidence=0.95, resamples=200, seed=len(names))


def _summarise(*found):
    return human.summarise(human.gather(found), interval=_interval)


def _right(design):
    return [0 if first == image else 1 for image, first, _ in design.trials]


def test_accuracy_by_image_is_the_mean_over_raters_and_distractors():
    right = np.array(_right(IDENTIFY))
    wrong_on_a = np.where([image == 0 for image, _, _ in IDENTIFY.trials], 1 - right, right)
    rows, summary = _summarise(
        _ratings(IDENTIFY, "x", right), _ratings(IDENTIFY, "y", right), _ratings(IDENTIFY, "z", wrong_on_a)
    )
    assert {row["image"]: row["value"] for row in rows} == pytest.approx({"a": 2 / 3, "b": 1, "c": 1, "d": 1})
    assert {row["n"] for row in rows} == {9}  # 3 raters, 3 distractors
    assert set(rows[0]) == set(human.COLUMNS)
    (entry,) = summary["sets"]
    assert entry["n_raters"] == 3
    (result,) = entry["results"]
    assert result["mean"] == pytest.approx(11 / 12)
    assert result["wilcoxon"] == {"alternative": "greater", "statistic": 10.0, "p": 0.0625, "n": 4}
    assert [one["accuracy"] for one in entry["raters"]] == [1, 1, 0.75]
    assert entry["fleiss_kappa"] == pytest.approx(judgements.fleiss_kappa(np.stack([right, right, wrong_on_a])))
    json.dumps(summary, allow_nan=False)


def test_winning_percentages():
    """The first variant wins always; the others tie."""
    choices = [0 if a == 0 else i % 2 for i, (_, a, _) in enumerate(COMPARE.trials)]
    flipped = [0 if a == 0 else 1 - i % 2 for i, (_, a, _) in enumerate(COMPARE.trials)]
    rows, summary = _summarise(*(_ratings(COMPARE, name, c) for name, c in zip("wxyz", [choices, flipped] * 2)))  # noqa: B905
    results = {one["variant"]: one for one in summary["sets"][0]["results"]}
    assert {name: one["mean"] for name, one in results.items()} == {"deep": 1.0, "direct": 0.25, "third": 0.25}
    assert results["deep"]["wilcoxon"]["alternative"] == "two-sided"
    assert len(rows) == 12
    assert {row["n"] for row in rows} == {8}


def test_all_at_chance_is_no_number():
    """Four raters, two against two in every trial: nothing to test."""
    right = np.array(_right(IDENTIFY))
    _, summary = _summarise(*(_ratings(IDENTIFY, name, right if name in "wx" else 1 - right) for name in "wxyz"))
    assert summary["sets"][0]["results"][0]["wilcoxon"] == {
        "alternative": "greater", "statistic": None, "p": None, "n": 0,
    }  # fmt: skip


def test_fewer_than_three_raters_are_refused():
    right = _right(IDENTIFY)
    with pytest.raises(DataError, match=r"at least 3 raters, but which has 2; have the page rated by more"):
        human.gather([_ratings(IDENTIFY, "x", right), _ratings(IDENTIFY, "y", right)])


def test_a_rater_counts_once():
    right = _right(IDENTIFY)
    with pytest.raises(DataError, match="counts once"):
        human.gather([_ratings(IDENTIFY, name, right) for name in "xyx"])


def test_ratings_of_other_images_are_refused():
    _, made = _ratings(IDENTIFY, "x", _right(IDENTIFY))
    anew = dataclasses.replace(IDENTIFY, pictures="0" * 64)
    with pytest.raises(DataError, match=r"x\.json.*was made anew"):
        human.gather([(anew, made)])
