"""Convert one subject's brain activity into another's (Ho et al. 2022): a converter a pair, and what it converts.

Stages. `spaces` (hyperalignment by way of all subjects): a common space. `converters`: one tile a pair and block of
voxels, fitted to the training stimuli that both have seen, or read from files (`convert.files`), or (`method:
content_loss`, after `fit`) one tile a pair, trained against the target's decoders. `apply`:
the source's test samples in the target's voxels, a split `<target>.from-<source>` that is decoded with the target's
decoders. `pool`: the target's training samples with the converted ones of others, a split `<target>.with-<n>` that has
decoders of its own. `ceilings` and `scores`: conversion accuracy, and which areas the weights join.
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
    StudyError
        If the study has no section `convert`.
    MissingStore
        If brain samples do not exist yet.
    """
    from hpc_recon.conversion import planning
    from hpc_recon.exchange import given_converters

    given = given_converters.identities(study) if study.convert is not None else {}
    return planning.tiles(study, shapes, given)


def prepare(study: Study) -> None:
    """Check samples, masks and files of every pair before anything is fitted; each array belongs to the tile that
    writes it.

    Raises
    ------
    DataError
        If samples cannot be paired, no penalty was published for their number, blocks do not cover what is decoded, or
        files are of other numbers of voxels.
    StudyError
        If a package that the method needs is not installed.
    """
    from hpc_recon.conversion import blocks, checking

    if blocks.options_of(study).files:
        from hpc_recon.exchange import given_converters

        given_converters.require_fits(study)
    checking.require(study)


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write one tile; return the files."""
    from hpc_recon.conversion import accuracy, applying, blocks, fitting, spaces

    options = blocks.options_of(study)
    if tile.stage == "converters" and options.files:
        from hpc_recon.conversion import given
        from hpc_recon.exchange import given_converters

        split = tile.group.path[-1]
        files = given.write_block(study, tile, given_converters.read(study, split))
        return [*files, given_converters.record(study, split, name=tile.name)]
    if tile.stage == "converters" and options.after_fit:
        from hpc_recon.conversion import content

        return content.write(study, tile)
    stages = {
        "spaces": spaces.write_space,
        "converters": fitting.write_block,
        "apply": applying.write_converted,
        "pool": applying.write_pooled,
        "ceilings": accuracy.write_ceilings,
        "scores": accuracy.write_scores,
    }
    return stages[tile.stage](study, tile)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("convert", argv)


if __name__ == "__main__":
    raise SystemExit(main())
