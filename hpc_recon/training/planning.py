"""The tiles of a network's training: parts of its steps, each of which begins at the checkpoint of the one before."""

from __future__ import annotations

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Shapes, Tile, ranges
from hpc_recon.training import Place, learner, pictures


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of all networks, part by part: parts with the same number are trained side by side.

    Raises
    ------
    MissingStore
        If there are no brain samples yet.
    StudyError
        If the weights of a frozen network are missing, or it does not have the layers.
    """
    tiles, parts = pictures.plan(study, shapes), dict[int, list[Tile]]()
    for name, options in study.train.items():
        own = learner(options.method)
        own.check(study, shapes, name)
        for split, roi in study.trained_sets(name):
            place = Place(name, split, roi)
            group = own.group(study, shapes, place)
            tiles += own.first_tiles(study, shapes, place)
            for number, (start, stop) in enumerate(ranges(options.steps, options.steps_per_tile)):
                need = own.need_of(study, shapes, place, n_steps=stop - start)
                parts.setdefault(number, []).append(Tile(group, f"part{number + 1:03d}", start, stop, need))
    return [*tiles, *(tile for number in sorted(parts) for tile in parts[number])]
