"""The verbs in the order of the pipeline, as a table of strings: nothing is imported until it is run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from hpc_recon.core.errors import StudyError
from hpc_recon.core.text import closest

if TYPE_CHECKING:
    from pathlib import Path

    from hpc_recon.core.config import Study
    from hpc_recon.core.tiles import Shapes, Tile

#: The one late binding between the strangers of layer 1: the reader of sizes, resolved when a verb is planned.
SHAPES = "hpc_recon.stores.shapes:read"


class VerbModule(Protocol):
    """The functions of a verb's module that the run layer calls."""

    def plan(self, study: Study, shapes: Shapes) -> list[Tile]:
        """Return the tiles; pure."""
        ...

    def prepare(self, study: Study) -> None:
        """Create the arrays; idempotent."""
        ...

    def work(self, study: Study, tile: Tile) -> list[Path]:
        """Compute and write one tile; return the files."""
        ...


@dataclass(frozen=True)
class Verb:
    """A command: its name, the module that holds its four functions, and one line of help."""

    name: str
    module: str
    summary: str

    def load(self) -> VerbModule:
        """Import the module."""
        return cast(VerbModule, importlib.import_module(self.module))


def _verb(name: str, summary: str) -> Verb:
    return Verb(name, f"hpc_recon.{name}", summary)


#: Verbs that compute, in pipeline order. `simulate` and `ingest` are alternatives; the study says which.
STEPS = (
    _verb("simulate", "make a synthetic study with known truth: stimuli, brains, ROIs"),
    _verb("ingest", "read a lab's brain samples and stimuli into the workspace"),
    _verb("extract", "compute the features of all stimuli with a network"),
    _verb("convert", "convert one subject's brain activity into another's"),
    _verb("fit", "fit one decoder per unit: voxel selection, then ridge regression"),
    _verb("decode", "predict the features of the test datasets from brain activity"),
    _verb("train", "train networks that make images straight from brain activity"),
    _verb("reconstruct", "make images from decoded features, or with a trained network"),
    _verb("evaluate", "score decoded features and images against truth and baselines"),
    _verb("report", "write one self-contained HTML page"),
)
#: Verbs that compute by tiles as the steps do, but stand outside the pipeline.
ANALYSES = (
    _verb("screen", "rank networks and layers by decodability, from some units and training data alone"),
    _verb("power", "show how accuracy grows with images, repeats, trials and voxels, and what more would bring"),
)
#: Commands that are not steps of their own.
OTHERS = (
    _verb("pipeline", "run the chain of all verbs on one cluster"),
    _verb("status", "show what is done, failed and left"),
    _verb("export", "write features, decoders, samples or maps as files of other programs"),
    _verb("generator", "make a generator from a study's images, or render latents"),
    _verb("rate", "make a page on which people judge images"),
    _verb(
        "control", "fit again on shuffled labels, on noise, and without clusters of stimuli: what do scores rest on?"
    ),
)


def step(name: str, *, where: str = "--from/--through") -> Verb:
    """Return a step by name.

    Raises
    ------
    StudyError
        If there is none; names the closest.
    """
    for verb in STEPS:
        if verb.name == name:
            return verb
    raise StudyError(where, [f"unknown verb {name!r}{closest(name, [verb.name for verb in STEPS])}"])


def computing(name: str) -> Verb:
    """Return a step or an analysis by name; errors as `step`."""
    return next((verb for verb in ANALYSES if verb.name == name), None) or step(name)


def bound(name: str) -> Callable[..., Any]:
    """Return the function that a late binding (`module:function`) names."""
    module, _, function = name.partition(":")
    return cast("Callable[..., Any]", getattr(importlib.import_module(module), function))


def read_shapes(study: Study) -> Shapes:
    """Return the sizes of what the study holds, by the function that `SHAPES` names."""
    return cast("Shapes", bound(SHAPES)(study))
