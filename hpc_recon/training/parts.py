"""One tile of `train`: a part of the steps of one network."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Tile
from hpc_recon.methods import trainers
from hpc_recon.nets import devices
from hpc_recon.training import Place, learner, loop, models
from hpc_recon.training.models import Model

log = logging.getLogger(__name__)
#: Examples in the picture at the end of a part.
EXAMPLES = 8
#: Names of the rows of the table of losses, and of the steps with pictures, among a checkpoint's arrays.
ROWS, SHOWN = "rows", "shown"


def work(study: Study, tile: Tile) -> list[Path]:
    """Train from the checkpoint at the tile's start to its end; return checkpoint, table of losses and pictures.

    A part that was interrupted goes on from its own last checkpoint, to the very bits that it would have reached.

    Raises
    ------
    DataError
        If a loss is not finite any more.
    Unfinished
        If the job is about to end.
    """
    name, split, roi = tile.group.path
    options, model = study.train[name], Model(study, name, split, roi)
    begun, own = _begun(model, tile), learner(options.method)
    stream = own.stream(study, Place(name, split, roi), begun)
    device, arrays, made_by = devices.choose(), stream.arrays, model.made_by
    seed = seed_of(study.seed, "train", options.seed, split, roi)
    progress = loop.Progress(tile.start)
    flops = own.flops(options, stream.n_inputs)
    with devices.settings(options.batch * flops // 100), trainers.own_randomness(device):
        trainer = trainers.make(options, n_voxels=stream.n_inputs, seed=seed, device=device)
        if begun is not None:
            trainer.load(begun.trainer)
            if begun.step > tile.start:
                progress = loop.Progress(begun.step, begun.arrays[ROWS].tolist(), begun.arrays[SHOWN].tolist())

        where = f"{model.key}, steps {tile.start} to {tile.stop}"

        def keep(done: loop.Progress) -> None:
            _require_finite(done, trainer, where=where)  # here already: the rest of the part would be for nothing
            extra = {ROWS: _table(done, trainer), SHOWN: np.array(done.shown, np.int64)}
            state = trainers.Checkpoint(done.step, made_by, trainer.state(), {**arrays, **extra})
            trainers.save(model.running(tile.start), state)

        examples = stream.examples(EXAMPLES)

        def show(step: int) -> Path:
            return models.write_grid(model.grid(step), trainer.pictures(examples))

        pace = loop.Pace(options.log_every, options.checkpoint_every, options.loading_threads, options.pictures_every)
        loop.run(trainer, stream.batch, progress, stop=tile.stop, pace=pace, keep=keep, show=show)
        _require_finite(progress, trainer, where=where)
        state = trainers.Checkpoint(tile.stop, made_by, trainer.state(), arrays)
        files = [
            trainers.save(model.checkpoint(tile.stop), state),
            models.write_losses(model.losses(tile.start), progress.rows, columns=trainer.columns),
            *map(model.grid, progress.shown),
            show(tile.stop),
        ]
    model.running(tile.start).unlink(missing_ok=True)
    return files


def _table(progress: loop.Progress, trainer: trainers.Trainer) -> Array:
    return np.array(progress.rows, np.float64).reshape(-1, 1 + len(trainer.columns))


def _begun(model: Model, tile: Tile) -> trainers.Checkpoint | None:
    """Return the last checkpoint of an interrupted part, else that at the end of the part before; None at the start."""
    path, remedy = model.running(tile.start), "it is left out"
    if path.is_file():
        try:
            found = trainers.read(path, remedy=remedy)
        except DamagedStore as error:  # what it saved is computed again; it is no result
            log.warning("%s", error)
        else:
            if found.made_by == model.made_by and tile.start < found.step < tile.stop:
                return found
    if tile.start == 0:
        return None
    try:
        return model.read(tile.start)
    except MissingStore as error:
        raise MissingStore(
            f"steps {tile.start} to {tile.stop} of {model.key} go on from step {tile.start}, which was not reached; "
            "run train without --only or --limit"
        ) from error


def _require_finite(progress: loop.Progress, trainer: trainers.Trainer, *, where: str) -> None:
    """Raise unless the last row of losses, if there is one, is finite: a network that has diverged is no result."""
    if not progress.rows:
        return
    last = dict(zip(trainer.columns, progress.rows[-1][1:], strict=True))
    infinite = [name for name, value in last.items() if np.isinf(value)]
    first = trainer.columns[0]
    if infinite or np.isnan(last[first]):
        raise DataError(
            f"{where}: the training has diverged: {', '.join(infinite) or first} is not finite any more; lower the "
            "learning rate (adam.learning_rate, learning_rate) or the weights of the losses"
        )
