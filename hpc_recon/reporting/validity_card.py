"""The validity card at the top of the report: what the images are evidence of, and what that rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import in_words
from hpc_recon.reporting import control_lines
from hpc_recon.reporting.words import dataset_title, join_words, number, percent

Found = Mapping[str, Any]

#: What each verdict means, in a sentence for a reader who knows none of the terms.
MEANINGS = {
    "reconstruction": "The images show more than the category of what was seen, and more than a lookup among the "
    "training images would.",
    "retrieval": "The images are not shown to be closer to what was seen than the nearest training image: a lookup "
    "may explain them.",
    "category only": "Within a category, the images are not shown to tell what was seen: its kind may explain them.",
    "not above chance": "The images are not shown to tell what was seen better than labels dealt at random would.",
}
#: What is said of sets that cannot answer a criterion.
UNTESTED = {
    "category": "that only the category is shown is not excluded (too few test images share a known category, and "
    "there is no mean image of the class)",
    "retrieval": "that a lookup explains the images is not excluded (too few test images, or no nearest training "
    "image)",
}
#: What such a criterion would exclude, in the table of sets.
EXPLAINS = {"category": "category", "retrieval": "lookup"}
#: Titles of warnings, by kind.
WARNED = {
    "preprocessing": "Training and test differ",
    "norms": "Norms of training images",
    "choice": "Edge of a grid",
    "below_zero": "Units at or below zero",
}
#: Marks of a check, so that colour is never the only sign.
MARKS = {"good": "\N{CHECK MARK}", "doubt": "!", "open": "\N{EN DASH}"}


@dataclass(frozen=True)
class Check:
    """One line of the card; `tone` is a key of `MARKS`."""

    tone: str
    name: str
    text: str

    @property
    def mark(self) -> str:
        """The sign before the line."""
        return MARKS[self.tone]


@dataclass(frozen=True)
class Row:
    """One set of images: its name, verdict, what could not be excluded, and three figures."""

    name: str
    verdict: str
    remark: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """The card; `verdict` is empty where nothing was reconstructed and identified."""

    verdict: str
    meaning: str
    checks: tuple[Check, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def card(found: Found, study: Study, *, roi: str, controls: Found | None = None, warned: Sequence[Found] = ()) -> Card:
    """Return the card of the first method of a study in one ROI.

    Parameters
    ----------
    found
        The content of `scores/validity.json`.
    controls
        The content of `scores/controls.json`; None where no control was run. A leak is the verdict, whatever else is.
    warned
        The entries of `summary.json`, `warnings`; that of few images has its own line already.
    """
    variant = next(iter(study.reconstruct), None)
    mine = [e for e in found["verdicts"] if (e["variant"], e["roi"]) == (variant, roi)]
    sets = [e for e in found["sets"] if (e["variant"], e["roi"]) == (variant, roi)]
    verdict = mine[0]["verdict"] if mine else ""
    untested = [_untested(study, name, sets) for name in (mine[0]["untested"] if mine else ())]
    meaning = MEANINGS[verdict] if mine else "No image was reconstructed and identified, so there is no verdict."
    if untested:
        meaning = f"As far as it could be tested: {meaning[0].lower()}{meaning[1:]}"
    if len(sets) > 1:
        reached = sum(e["verdict"] == verdict for e in sets)
        of_those = " of those that could be tested" if untested else ""
        meaning += (
            f" All {reached} sets of images have this verdict."
            if reached == len(sets)
            else f" {reached} of {len(sets)} sets of images have this verdict; more than half{of_those} reach it or a "
            "better one."
        )
    ran = controls or {}
    if mine and control_lines.is_leak(ran, variant=variant, roi=roi):
        verdict, meaning = control_lines.LEAK, control_lines.MEANING
    checks = [
        *[Check(*line) for line in control_lines.lines(ran, study, variant=variant if mine else None, roi=roi)],
        *([_clusters(found, sets)] if sets else []),
        *[Check("open", "Not tested", text) for text in untested],
        *_recovery(found, variant),
        _overlap(found, study),
        *_few(found, study),
        *_negative(found),
        *[Check("doubt", WARNED[e["kind"]], f"{e['text']}.") for e in warned if e["kind"] in WARNED],
    ]
    columns = ("Among all", "Within category", "Above nearest training image")
    converted = [e for e in found.get("converted", ()) if (e["variant"], e["roi"]) == (variant, roi)]
    if converted:
        checks.append(_converted(converted))
    return Card(verdict, meaning, tuple(checks), columns, tuple(_row(study, e) for e in (*sets, *converted)))


def _untested(study: Study, name: str, sets: Sequence[Found]) -> str:
    where = dict.fromkeys(dataset_title(study, e["dataset"]) for e in sets if name in e["untested"])
    return f"{join_words(list(where))}: {UNTESTED[name]}."


def _row(study: Study, entry: Found) -> Row:
    exemplar = [
        f"{number(e['mean'], signed=True)} {e['metric'].replace('_', ' ')} (p {_p(e['p_one'])})"
        for e in entry["nearest_training_image"]
    ]
    cells = (_share(entry["identification"]), _share(entry["within_category"]), ", ".join(exemplar) or "no comparison")
    how = f", {in_words(entry['split'])}" if "split" in entry else ""
    others = [EXPLAINS[name] for name in entry["untested"]]
    remark = f"({join_words(others)} not excluded)" if others else ""
    return Row(f"{dataset_title(study, entry['dataset'])}, {entry['subject']}{how}", entry["verdict"], remark, cells)


def _converted(sets: Sequence[Found]) -> Check:
    """Say which verdicts images have that were made from converted activity, or by decoders of pooled samples."""
    counts = Counter(entry["verdict"] for entry in sets)
    told = join_words([f"{name} {counts[name]} of {len(sets)}" for name in MEANINGS if name in counts])
    text = f"sets from converted activity or pooled decoders are judged alike and count in no verdict: {told}."
    return Check("open", "Converted activity", text)


def _share(found: Found) -> str:
    if found["mean"] is None:
        return "no two images"
    p = found["p"]
    return f"{percent(found['mean'])} ({'too few to test' if p is None else f'p {_p(p)}'})"


def _p(value: float | None) -> str:
    """Write a probability.

    >>> _p(0.0001), _p(0.0412), _p(None)
    ('< 0.001', '= 0.041', 'undefined')
    """
    if value is None:
        return "undefined"
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _clusters(found: Found, sets: Sequence[Found]) -> Check:
    """Hold the measured identification against that of a decoder that knows one of k equal clusters."""
    measured = sum(e["identification"]["mean"] for e in sets) / len(sets)
    least = min(e["identification"] for e in found["expected"])
    told = [f"{percent(e['identification'])} (k = {e['clusters']})" for e in found["expected"]]
    text = (
        f"{percent(measured)} of comparisons won, mean over sets. Who knows nothing but one of k equal kinds of images "
        f"would win {join_words(told)}"
    )
    return Check("good" if measured > least else "open", "Identification is no proof", f"{text}.")


def _recovery(found: Found, variant: str | None) -> list[Check]:
    limit = found["thresholds"]["poor_recovery"]
    return [
        Check(
            "doubt" if e["poor"] else "good",
            "Recovery",
            f"images from true features correlate {number(e['mean'])} with their stimuli ({e['n']} made)"
            + (f": below {number(limit)}, so the method itself loses the image." if e["poor"] else "."),
        )
        for e in found["recovery"]
        if e["variant"] == variant
    ]


def _overlap(found: Found, study: Study) -> Check:
    if not found["overlap"]:
        return Check("good", "No overlap", "no test image is a training image, by label or byte for byte.")
    told = [
        f"{dataset_title(study, e['dataset'])}, {e['subject']}: {e['n_same']} trained, {e['n_equal']} equal to trained "
        f"ones ({', '.join(e['examples'])})"
        for e in found["overlap"]
    ]
    return Check("doubt", "Overlap", f"test images were trained on: {'; '.join(told)}.")


def _few(found: Found, study: Study) -> list[Check]:
    if not found["few_images"]:
        return []
    told = [f"{dataset_title(study, e['dataset'])} {e['n_images']}" for e in found["few_images"]]
    limit = found["thresholds"]["few_images"]
    return [Check("doubt", "Few images", f"fewer than {limit} test images: {join_words(told)}.")]


def _negative(found: Found) -> list[Check]:
    if not found["negative_layers"]:
        return []
    told = [
        f"{e['layer']} of {e['network']} ({e['subject']}, {e['roi']}, {e['dataset']})" for e in found["negative_layers"]
    ]
    shown = ", ".join(told[:5]) + (f" and {len(told) - 5} more" if len(told) > 5 else "")
    return [
        Check("doubt", "Layers at or below zero", f"most images have a pattern correlation of 0 or less in {shown}.")
    ]
