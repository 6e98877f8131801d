"""What `fit` chose for each layer (voxel number, penalty) and noted of the choice: `choices/`, written by its tiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import read_json
from hpc_recon.stores import layout

#: Split, ROI, decoded name, layer.
Place = tuple[str, str, str, str]


def path_of(study: Study, place: tuple[str, ...]) -> Path:
    """Return where the choice of a layer lies; `place` is the path of its group."""
    return layout.workspace_of(study).joinpath("choices", *place[:-1], f"{place[-1]}.json")


def read(study: Study) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield the choice of every layer of the study that has one, in the order of the study.

    What lies there of layers, ROIs and subjects that the study has no more is left out.

    Raises
    ------
    DamagedStore
        If a file is damaged.
    """
    for split, roi, network, layer in study.layer_sets():
        place = (split, roi, study.decoded_name(network), layer)
        path = path_of(study, place)
        if not path.exists():
            continue
        try:
            content = dict(read_json(path))
            content["warnings"] = list(content["warnings"])
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedStore(
                f"{path} says what fit chose, but it cannot be read ({error!r}); make it anew with "
                f"`python -m hpc_recon.fit --redo --only '{'/'.join(place)}/*'`"
            ) from error
        yield place, content
