"""Stage `converters` of `convert` with `method: content_loss`: all blocks of a pair learn from the target's decoders.

Only the source's training samples, the features of their stimuli and the target's decoders are read; of the target's
samples the mean and the scale of each voxel, which its decoders z-score with. Some stimuli are held out, with all their
repeats: the weights that decode these best are kept. A step draws its samples and units from its own number, so a
training that was stopped goes on from its checkpoint to the same bits.
"""

from __future__ import annotations

import csv
import io
import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_recon.conversion import blocks, pairing, planning, reading
from hpc_recon.core import deadline, sampling
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner, seen_by
from hpc_recon.core.errors import DamagedStore, DataError, Unfinished
from hpc_recon.core.files import write_atomic, write_json
from hpc_recon.core.receipts import group_digests
from hpc_recon.core.tiles import Tile, digest
from hpc_recon.methods import trainers
from hpc_recon.methods.content_converter import ContentConverter, Judge
from hpc_recon.nets import devices
from hpc_recon.numerics.converter import Block
from hpc_recon.numerics.stats import mean_and_scale, standardise
from hpc_recon.stores import arrays, brain, items, layout, statistics

log = logging.getLogger(__name__)
#: Columns of the table of losses.
COLUMNS = ("step", "training", "held_out")
#: Before a job ends, so many times the seconds of the longest checkpoint so far are kept, and these beside them.
MARGIN, MARGIN_SECONDS = 3.0, 20.0
#: Samples whose held-out loss is computed at a time.
_AT_ONCE = 2048


@dataclass(frozen=True)
class Examples:
    """What a converter learns from."""

    #: (n, n_source) float32, z-scored.
    Z: Array
    x_mean: Array
    x_scale: Array
    #: (n,) int64 rows of the stimulus table: whose features each sample should give.
    row: Array
    #: (n,) bool: never learned from; all samples of a stimulus are alike in this.
    held_out: Array


def write(study: Study, tile: Tile) -> list[Path]:
    """Train the converter of a pair, and write its blocks and its losses.

    Raises
    ------
    DataError
        If there are fewer than three stimuli, or the loss is not finite any more.
    Unfinished
        If the job is about to end; a checkpoint has been kept.
    """
    split, options = tile.group.path[-1], blocks.options_of(study).content
    found, every = examples(study, split), blocks.voxels(study, split)
    shown, number = np.unique(found.row, return_inverse=True)
    known = judges(study, split, shown)
    n_target = brain.n_voxels_of(layout.workspace_of(study), owner(split))
    work = sum(len(where.source) * len(where.target) for where in every) * min(len(found.Z), options.batch)
    with devices.settings(work // 100):
        trainer = ContentConverter(
            [(where.source, where.target) for where in every],
            n_target,
            known,
            options=options,
            device=devices.choose(),
        )
        rows = _train(study, tile, trainer, found, number)
    step, loss = min(((row[0], row[2]) for row in rows[1:]), key=lambda pair: pair[1])
    if loss >= rows[0][2] and not blocks.options_of(study).shuffle:
        warnings.warn(
            f"the converter of {split} decodes held-out stimuli no better ({loss:.3g}) than the target's mean "
            f"({rows[0][2]:.3g}); lower convert.content.learning_rate, or look at the decoders of {owner(split)}",
            stacklevel=2,
        )
    note = {
        "pair": split,
        "method": "content_loss",
        "n_pairs": len(found.Z),
        "held_out_stimuli": len(set(found.row[found.held_out].tolist())),
        "steps": int(rows[-1][0]),
        "best_step": int(step),
        "held_out_loss": loss,
        "held_out_loss_of_the_mean": rows[0][2],
    }
    files = [_write_losses(layout.conversion_file(study, split, name="content.csv"), rows)]
    for where, (W, b) in zip(every, trainer.best(), strict=True):
        voxel = np.arange(len(where.source), dtype=np.int32)[None]
        x = found.x_mean[where.source], found.x_scale[where.source]
        block = Block(*x, voxel, np.ascontiguousarray(W.T), b, *_target_scaling(study, split, where.target))
        files += blocks.write(study, split, where, block, made_by=tile.group.key)
        path = layout.conversion_file(study, split, name=f"chosen-{where.name}.json")
        files.append(write_json(path, {**note, "block": where.name}))
    _running(study, split).unlink(missing_ok=True)
    return files


def _target_scaling(study: Study, split: str, voxels: Array) -> tuple[Array, Array]:
    """Return mean and scale of target voxels: those that its decoders z-score with, of others those of its samples.

    Decoders that were trained elsewhere may have been trained on other samples.
    """
    workspace, (target, roi) = layout.workspace_of(study), planning.judges(study, split)
    mean, scale = mean_and_scale(reading.samples(study, target, None, voxels))
    in_roi = np.flatnonzero(brain.read_roi(workspace, target, roi))
    known = np.isin(voxels, in_roi)
    place = np.searchsorted(in_roi, voxels[known])
    for values, name in ((mean, "mean"), (scale, "scale")):
        values[known] = statistics.read(workspace, target, roi, name)[place]
    return mean, scale


def examples(study: Study, split: str) -> Examples:
    """Return the source's training samples, z-scored, and which of them are held out.

    Raises
    ------
    DataError
        If there are fewer than three stimuli.
    """
    options, source = blocks.options_of(study), reading.presented(study, seen_by(split))
    paired = pairing.pair(source, source, **reading.rules(study, split))
    X = reading.samples(study, seen_by(split), paired.source, None)
    row = brain.stimulus_rows(layout.workspace_of(study), [source.labels[i] for i in paired.target])
    if options.average:
        _, first = np.unique(paired.stimulus, return_index=True)
        X, row = pairing.averaged(X, paired.stimulus), row[first]
    mean, scale = mean_and_scale(X)
    shown = np.unique(row)
    n_held_out = max(1, round(options.content.held_out * len(shown)))
    if len(shown) - n_held_out < 2:
        raise DataError(
            f"a converter learns from two stimuli or more and holds out {n_held_out}, but {seen_by(split)} has "
            f"{len(shown)} training stimuli; give more, or lower convert.content.held_out"
        )
    rng = np.random.default_rng(sampling.seed_of(study.seed, "convert-held-out", split))
    held_out = np.isin(row, rng.choice(shown, n_held_out, replace=False))
    return Examples(standardise(X, mean=mean, scale=scale, dtype=np.float32), mean, scale, row, held_out)


def judges(study: Study, split: str, rows: Array) -> list[Judge]:
    """Return some decoders of each layer of the target, and what they should decode of stimuli (rows of the table)."""
    workspace, options = layout.workspace_of(study), blocks.options_of(study).content
    target, roi = planning.judges(study, split)
    voxels, found = np.flatnonzero(brain.read_roi(workspace, target, roi)), []
    for network, declared in study.networks.items():
        name = study.decoded_name(network)
        for layer in declared.layers:
            refs = [layout.decoder(target, roi, name, layer, part) for part in ("voxel", "weight", "stats")]
            n_units = arrays.describe(workspace, refs[2]).shape[0]
            rng = np.random.default_rng(sampling.seed_of(study.seed, "convert-units", network, layer))
            chosen = np.sort(rng.choice(n_units, min(options.units, n_units), replace=False))
            voxel, weight, table = (arrays.read(workspace, ref, chosen) for ref in refs)
            bias, mean, scale = table.astype(np.float64).T
            sample = sampling.unit_sample(
                study, network, layer, arrays.describe(workspace, layout.features(network, layer)).shape[1]
            )
            units = chosen if sample is None else sample[chosen]
            true = items.true_features(study, network, layer, rows, units)
            varies = scale > 0
            wanted = (true[:, varies] - mean[varies]) / scale[varies]
            used = voxel != np.iinfo(voxel.dtype).max
            place = voxels[np.where(used, voxel, 0)]
            weight = np.where(used, weight, 0)
            found.append(
                Judge(
                    place[varies],
                    weight[varies].astype(np.float32),
                    bias[varies].astype(np.float32),
                    wanted.astype(np.float32),
                )
            )
    return found


def _train(study: Study, tile: Tile, trainer: ContentConverter, found: Examples, number: Array) -> list[list[float]]:
    """Train until it helps no more; return the table of losses, whose first row is the target's mean."""
    split, options = tile.group.path[-1], blocks.options_of(study).content
    made_by = digest({"settings": tile.group.settings, **_upstream(study, tile)})
    rows, longest = _begun(study, split, trainer, made_by), 0.0
    learned, judged = np.flatnonzero(~found.held_out), np.flatnonzero(found.held_out)
    if not rows:
        rows = [[0.0, float("nan"), _held_out(trainer, found, number, judged)]]
    step, since, total = int(rows[-1][0]), _since(rows), 0.0
    while step < options.steps and since < options.patience:
        rng = np.random.default_rng([sampling.seed_of(study.seed, "convert-steps", split), step])
        batch = learned
        if len(learned) > options.batch:
            batch = np.sort(rng.choice(learned, options.batch, replace=False))
        total += trainer.step(found.Z[batch], number[batch], rng)
        step += 1
        if step % options.check_every and step < options.steps:
            continue
        loss = _held_out(trainer, found, number, judged)
        n = step - int(rows[-1][0])
        if not np.isfinite([total, loss]).all():
            raise DataError(
                f"the converter of {split} has diverged after {step} steps: its loss is not finite any more; lower "
                "convert.content.learning_rate"
            )
        if loss < min((row[2] for row in rows[1:]), default=np.inf):
            trainer.keep()
        rows.append([float(step), total / n, loss])
        since, total = _since(rows), 0.0
        left = deadline.seconds_left()
        is_late = left is not None and left < MARGIN * longest + MARGIN_SECONDS
        if is_late or step // options.checkpoint_every > int(rows[-2][0]) // options.checkpoint_every:
            started = time.monotonic()
            state = trainers.Checkpoint(step, made_by, trainer.state(), {"rows": np.array(rows)})
            trainers.save(_running(study, split), state)
            longest = max(longest, time.monotonic() - started)
        if is_late and step < options.steps and since < options.patience:
            raise Unfinished(
                f"the converter of {split} has done {step} steps, but the job ends in {left:.0f} s; a checkpoint is "
                "kept, and the next job goes on from it"
            )
    return rows


def _held_out(trainer: ContentConverter, found: Examples, number: Array, judged: Array) -> float:
    """Return the loss of held-out samples, some of them at a time."""
    parts = [judged[start : start + _AT_ONCE] for start in range(0, len(judged), _AT_ONCE)]
    return float(sum(trainer.loss(found.Z[part], number[part]) * len(part) for part in parts) / len(judged))


def _since(rows: list[list[float]]) -> int:
    """Return how many looks ago the held-out loss was least; the first row, before the first step, does not count."""
    losses = [row[2] for row in rows[1:]]
    return len(losses) - 1 - int(np.argmin(losses)) if losses else 0


def _upstream(study: Study, tile: Tile) -> dict[str, object]:
    return {key: group_digests(layout.workspace_of(study), key) for key in tile.group.upstream}


def _running(study: Study, split: str) -> Path:
    return layout.conversion_file(study, split, name="content.running.pt")


def _begun(study: Study, split: str, trainer: ContentConverter, made_by: str) -> list[list[float]]:
    """Load the checkpoint of a training that was stopped; return its table of losses, empty if there is none."""
    path = _running(study, split)
    if not path.is_file():
        return []
    try:
        found = trainers.read(path, remedy="training begins anew")
    except DamagedStore as error:  # what it saved is computed again; it is no result
        log.warning("%s", error)
        return []
    if found.made_by != made_by:
        return []
    trainer.load(found.trainer)
    rows: list[list[float]] = found.arrays["rows"].tolist()
    return rows


def _write_losses(path: Path, rows: list[list[float]]) -> Path:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([int(row[0]), *("" if np.isnan(x) else x for x in row[1:])] for row in rows)
    return write_atomic(path, stream.getvalue().encode())
