"""One entry under `reconstruct:` or `train:` that stands for several: `expand`, `ablations`, `seeds`, `display`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpc_recon.core.errors import StudyError
from hpc_recon.core.icnn_options import DEFAULT
from hpc_recon.core.options import EndToEndOptions, IcnnOptions
from hpc_recon.core.shape_options import ShapeSemanticOptions

if TYPE_CHECKING:
    from hpc_recon.core.config import Reconstruct, Study, Train

#: conv3_2 belongs to block 3.
_BLOCK = re.compile(r"conv(\d+)_\d+")
#: The ending of an entry that `seeds` made.
_SEED = re.compile(r"\.seed\d+$")


def layer_groups(layers: Sequence[str]) -> list[tuple[str, ...]]:
    """Return layers by group, in order of first appearance: `conv<block>_<n>` by block, others alone.

    >>> layer_groups(["conv1_1", "conv1_2", "conv2_1", "fc6"])
    [('conv1_1', 'conv1_2'), ('conv2_1',), ('fc6',)]
    """
    found: dict[str, list[str]] = {}
    for layer in layers:
        block = _BLOCK.fullmatch(layer)
        found.setdefault(f"conv{block.group(1)}" if block else layer, []).append(layer)
    return [tuple(group) for group in found.values()]


def sets_of_layers(kind: str, layers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the layers of each of the entries that one is expanded into, by the ending of its name.

    >>> list(sets_of_layers("cumulative", ["conv1_1", "conv2_1", "fc6"]))
    ['DNN1', 'DNN1-2', 'DNN1-3']
    """
    groups = layer_groups(layers)
    if kind == "layers":
        return {layer: (layer,) for layer in layers}
    if kind == "groups":
        return {f"DNN{i + 1}": group for i, group in enumerate(groups)}
    return {
        f"DNN1-{i + 1}" if i else "DNN1": tuple(layer for group in groups[: i + 1] for layer in group)
        for i in range(len(groups))
    }


def expanded(study: Study) -> Study:
    """Return the study with every entry that stands for several replaced by these: `icnn.DNN1`, `icnn.DNN1-2`, ...

    A part has the layers of its set, and of `layer_weights`, `loss` and `masks` what belongs to them; `expand` is gone,
    so that expanding again changes nothing. Entries whose network is unknown stay as they are: loading names them.

    Raises
    ------
    StudyError
        If a part has the name of another entry.
    """
    trained, origins = _trained(study)
    found: dict[str, Reconstruct] = {}
    for name, options in study.reconstruct.items():
        network = study.networks.get(options.network)
        members: dict[str, Reconstruct] = {name: options}
        if isinstance(options, EndToEndOptions):
            members = dict(_end_to_end_parts(name, options, origins))
        elif isinstance(options, ShapeSemanticOptions):
            members = dict(_shape_semantic_parts(name, options, origins))
        elif isinstance(options, IcnnOptions) and options.expand is not None and network is not None:
            sets = sets_of_layers(options.expand, options.layers or network.layers)
            members = {f"{name}.{ending}": _part(options, name, ending, layers) for ending, layers in sets.items()}
        for part, own in members.items():
            if part in found or (part != name and part in study.reconstruct):
                raise StudyError(
                    "reconstruct", [f"expand makes {part!r} of {name!r}, but there is such an entry; rename it"]
                )
            found[part] = own
    return study.model_copy(update={"reconstruct": found, "train": trained})


def _trained(study: Study) -> tuple[dict[str, Train], dict[str, list[str]]]:
    """Return the entries of `train` with all that one stands for, and the names that each became."""
    found: dict[str, Train] = {}
    origins: dict[str, list[str]] = {}
    for name, options in study.train.items():
        members = options.entries(name)
        taken = [part for part in members if part in found or (part != name and part in study.train)]
        if taken:
            raise StudyError("train", [f"{name!r} makes the entry {taken[0]!r}, but there is such an entry; rename it"])
        found |= members
        origins[name] = list(members)
    return found, origins


def _shape_semantic_parts(
    name: str, options: ShapeSemanticOptions, origins: dict[str, list[str]]
) -> dict[str, ShapeSemanticOptions]:
    """Return one entry for each network, if `expand` asks for it; with `average_seeds` one for all seeds of each."""
    trained = origins.get(options.model, [options.model])
    if not options.expand and options.model in trained:
        trained = [options.model]
    groups: dict[str, list[str]] = {}
    for own in trained:
        ending = own.removeprefix(options.model)
        groups.setdefault(_SEED.sub("", ending) if options.average_seeds else ending, []).append(own)
    if not options.expand:  # the entry itself: of several endings the first, its seeds if they are averaged
        ending, members = next(iter(groups.items()))
        groups = {"": members} if options.average_seeds else {"": [options.model]}
    return {
        f"{name}{ending}": options.model_copy(
            update={
                "model": members[0],
                "averaged_with": (*options.averaged_with, *members[1:]),
                "expand": False,
                "average_seeds": False,
                "title": ", ".join([options.title or name, ending.strip(".")]) if ending else options.title,
            }
        )
        for ending, members in groups.items()
    }


def _end_to_end_parts(name: str, options: EndToEndOptions, origins: dict[str, list[str]]) -> dict[str, EndToEndOptions]:
    """Return one entry for each network, if `expand` asks for it, and each way to show its images."""
    models: list[tuple[str, str | None]] = [("", options.model)]
    if options.expand and options.model in origins:
        models = [(own.removeprefix(options.model), own) for own in origins[options.model]]
    shown = ("raw", "stretched") if options.display == "both" else (options.display,)
    return {
        f"{name}{ending}{f'.{display}' if len(shown) > 1 else ''}": options.model_copy(
            update={
                "model": model,
                "expand": False,
                "display": display,
                "title": _title(options, name, ending, display),
            }
        )
        for ending, model in models
        for display in shown
    }


def _title(options: EndToEndOptions, name: str, ending: str, display: str) -> str | None:
    """Return a title that says which network and display an entry is; None if there is nothing to say."""
    more = [ending.strip(".")] if ending else []
    more += [display] if options.display == "both" else []
    return ", ".join([options.title or name, *more]) if more else options.title


def _part(options: IcnnOptions, name: str, ending: str, layers: tuple[str, ...]) -> IcnnOptions:
    kept = {*layers, DEFAULT}
    return options.model_copy(
        update={
            "expand": None,
            "layers": layers,
            "title": f"{options.title or name}, {ending}",
            "layer_weights": {key: value for key, value in options.layer_weights.items() if key in kept},
            "loss": {key: value for key, value in options.loss.items() if key in kept},
            "masks": {key: value for key, value in options.masks.items() if key in kept},
        }
    )
