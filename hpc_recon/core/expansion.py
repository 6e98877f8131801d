"""One entry under `reconstruct:` that stands for several: `expand: cumulative`, `groups` or `layers`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpc_recon.core.errors import StudyError
from hpc_recon.core.icnn_options import DEFAULT
from hpc_recon.core.options import IcnnOptions

if TYPE_CHECKING:
    from hpc_recon.core.config import Reconstruct, Study

#: conv3_2 belongs to block 3.
_BLOCK = re.compile(r"conv(\d+)_\d+")


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
    """Return the study with every entry that has `expand` replaced by its parts: `icnn.DNN1`, `icnn.DNN1-2`, ...

    A part has the layers of its set, and of `layer_weights`, `loss` and `masks` what belongs to them; `expand` is gone,
    so that expanding again changes nothing. Entries whose network is unknown stay as they are: loading names them.

    Raises
    ------
    StudyError
        If a part has the name of another entry.
    """
    found: dict[str, Reconstruct] = {}
    for name, options in study.reconstruct.items():
        network = study.networks.get(options.network)
        if not isinstance(options, IcnnOptions) or options.expand is None or network is None:
            parts: dict[str, Reconstruct] = {name: options}
        else:
            sets = sets_of_layers(options.expand, options.layers or network.layers)
            parts = {f"{name}.{ending}": _part(options, name, ending, layers) for ending, layers in sets.items()}
        for part, own in parts.items():
            if part in found or (part != name and part in study.reconstruct):
                raise StudyError(
                    "reconstruct", [f"expand makes {part!r} of {name!r}, but there is such an entry; rename it"]
                )
            found[part] = own
    return study.model_copy(update={"reconstruct": found})


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
