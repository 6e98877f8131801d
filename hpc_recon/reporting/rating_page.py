"""The page on which raters judge images: one HTML file that works without a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from hpc_recon.core.array import Array
from hpc_recon.core.text import format_seconds
from hpc_recon.reporting.pictures import Picture, picture
from hpc_recon.stores.rating_design import Design

#: Seconds that a judgement takes, for the time that is announced.
SECONDS_A_TRIAL = 4


@dataclass(frozen=True)
class Wording:
    """What a task asks."""

    heading: str
    question: str
    instruction: str
    shown: str


WORDINGS: Mapping[str, Wording] = {
    "identify": Wording(
        "Which picture is it?",
        "Which of these two looks more like the image above?",
        "Each time you see an image that a computer drew from brain activity, and two pictures below it. One of them "
        "is what the person looked at. Choose the one that looks more like the image.",
        "Drawn image",
    ),
    "shape": Wording(
        "Which shape is it?",
        "Which of these two has a shape more like the image above?",
        "Each time you see an image that a computer drew from brain activity, and two pictures below it, of the same "
        "colour and different shapes. Choose the one whose shape is more like the image.",
        "Drawn image",
    ),
    "colour": Wording(
        "Which colour is it?",
        "Which of these two has a colour more like the image above?",
        "Each time you see an image that a computer drew from brain activity, and two pictures below it, of the same "
        "shape and different colours. Choose the one whose colour is more like the image.",
        "Drawn image",
    ),
    "compare": Wording(
        "Which image is closer?",
        "Which of these two looks more like the picture above?",
        "Each time you see a picture that a person looked at, and two images below it that a computer drew from brain "
        "activity. Choose the one that looks more like the picture.",
        "Picture",
    ),
}


def sheet(stimuli: Sequence[Array], reconstructions: Sequence[Array]) -> tuple[list[Picture], str]:
    """Embed pictures, the stimuli first, and return them with the sha256 of all.

    Parameters
    ----------
    stimuli, reconstructions
        (H, W, 3) uint8, or float in [0, 1].
    """
    made = [picture(np.asarray(image), "") for image in (*stimuli, *reconstructions)]
    value = hashlib.sha256("\n".join(one.uri for one in made).encode())
    return made, value.hexdigest()


def render(
    design: Design,
    pictures: Sequence[Picture],
    trials: Sequence[tuple[int, int, int]],
    *,
    title: str,
    label: str,
    version: str,
) -> str:
    """Return the page. Nothing is fetched from anywhere, and a rule in the page forbids it.

    Pictures are numbered in random order and the trials name numbers alone, so that neither the page nor its texts
    say which candidate is the right one.

    Parameters
    ----------
    pictures
        What `sheet` returned.
    trials
        Rows of `pictures`, in the order of the design's trials: what is shown, and the two candidates.
    title
        Of the study.
    label
        What a rater must know, for example that data are simulated; may be empty.
    """
    order = np.random.default_rng(design.seed).permutation(len(pictures))  # (new,) -> old
    number = np.argsort(order)
    content = {
        "set": design.name,
        "design": design.digest,
        "pictures": [[pictures[old].uri, int(pictures[old].is_pixelated)] for old in order],
        "trials": [[int(number[row]) for row in trial] for trial in trials],
    }
    folder = files("hpc_recon.reporting")
    environment = Environment(
        loader=BaseLoader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(folder.joinpath("rating.html.j2").read_text(encoding="utf-8"))
    # The three that are not escaped: two files of this package, and JSON in which no < is left.
    return template.render(
        title=title,
        label=label,
        version=version,
        words=WORDINGS[design.task],
        n_trials=f"{len(trials):,}",
        seconds=SECONDS_A_TRIAL,
        duration=format_seconds(SECONDS_A_TRIAL * len(trials)),
        style=Markup(folder.joinpath("rating.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup(folder.joinpath("rating.js").read_text(encoding="utf-8")),  # noqa: S704
        content=Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")),  # noqa: S704
    )
