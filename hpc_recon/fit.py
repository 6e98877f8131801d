"""Fit decoders: for each unit the voxels that correlate most, then ridge regression (or another estimator).

Stages. `statistics`: z-scoring, Gram matrix and sums per stimulus of each split and ROI, once for all networks. `folds`
(with grids or `fit.out_of_fold`): the same without the stimuli of each fold. `maps` (with `n_voxels: all`): what
decoders of all voxels share. `choose` (with grids): voxel number and penalty of each layer. `fit`: one tile a shard of
units; with `fit.decode: true` the test data are predicted there and then, and no decoders are stored. `choose_inside`,
`out_of_fold`: training stimuli predicted by decoders that never saw them. With `decode.files` nothing is fitted: only
the units' means and standard deviations are computed; with `fit.files` decoders are read from files (stages
`statistics`, `count`, `fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Shapes, Tile


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of all stages.

    Raises
    ------
    MissingStore
        If brain samples or features do not exist yet.
    """
    from hpc_recon.decoding import elsewhere, planning

    if study.fit.files:
        from hpc_recon.exchange import given_decoders

        return list(given_decoders.tiles(study, shapes))
    return list(elsewhere.tiles(study, shapes)) if study.decode.files else planning.tiles(study, shapes)


def prepare(study: Study) -> None:
    """Create the arrays of decoders and out-of-fold predictions; where a layer's width is chosen, the choice does.

    Raises
    ------
    DataError
        If `fit.samples` or `fit.statistics_by` names a column that is not there, `fit.samples` admits nothing, or
        there are too few training stimuli for the folds: before anything is created.
    """
    from hpc_recon.decoding import elsewhere, fitting, inputs, planning
    from hpc_recon.stores import shapes as store_shapes

    if study.fit.files:
        from hpc_recon.exchange import import_decoders

        import_decoders.require_alike(study)
        return
    if study.decode.files:
        elsewhere.create(study)
        return
    shapes, n_stimuli = store_shapes.read(study), {}
    if study.fit.samples or study.fit.statistics_by or study.fit.needs_folds:
        n_stimuli = {split: inputs.training_stimuli(study, split) for split in study.fitted_splits()}
    if study.fit.needs_folds:
        for split, n in n_stimuli.items():
            inputs.folds_of_stimuli(study, split, n)
    for group, _, _ in planning.layer_groups(study, shapes):
        if not study.fit.chooses_per_layer or study.fit.decode:
            fitting.create(study, group, k=study.fit.most_voxels(shapes.n_voxels(*group.path[:2])))
        if study.fit.out_of_fold:
            own = planning.out_of_fold_group(study, group)
            fitting.create_out_of_fold(study, own, n_stimuli=n_stimuli[own.path[0]])


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write one tile; return the files."""
    from hpc_recon.decoding import choosing, elsewhere, fitting, shared

    if study.fit.files:
        from hpc_recon.exchange import import_decoders

        return import_decoders.write(study, tile)
    if study.decode.files:
        return elsewhere.write(study, tile)
    if tile.stage not in ("statistics", "folds", "maps"):
        fitting.compile_kernels()
    if tile.stage == "choose":
        files, width = choosing.write_choice(study, tile)
        if not study.fit.decode:
            fitting.create(study, tile.group, k=width)
        return files
    stages = {
        "statistics": shared.write_statistics,
        "folds": shared.write_fold,
        "maps": shared.write_maps,
        "fit": fitting.write_fit,
        "choose_inside": choosing.write_choice_inside,
        "out_of_fold": fitting.write_out_of_fold,
    }
    return stages[tile.stage](study, tile)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("fit", argv)


if __name__ == "__main__":
    raise SystemExit(main())
