"""Convert one subject's brain activity into another's (Ho et al. 2022): a converter a pair, and what it converts.

Stages. `converters`: one tile a pair and block of voxels, fitted to the training stimuli that both have seen. `apply`:
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

    return planning.tiles(study, shapes)


def prepare(study: Study) -> None:
    """Check samples and masks of every pair before anything is fitted; each array belongs to the tile that writes it.

    Raises
    ------
    DataError
        If samples cannot be paired, no penalty was published for their number, or blocks do not cover what is decoded.
    """
    from hpc_recon.conversion import blocks, fitting

    for split in blocks.options_of(study).converted(study.subjects):
        paired = fitting.pairs(study, split)
        fitting.penalties(study, len(paired.source))
        blocks.require_covered(study, split)


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write one tile; return the files."""
    from hpc_recon.conversion import accuracy, applying, fitting

    stages = {
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
