"""Turn decoded features into images: one tile a few items of one test dataset.

Each entry under `reconstruct:` in the study (a *variant*) names a method and its options; `hpc_recon.reconstruction`
says which module plans and makes the images of which method. An item becomes
`images/<variant>/<split>/<roi>/<dataset>/<item>` with three endings: `.png`, `.npy` (float32 in [0, 1]) and `.json`
(its loss after each iteration, and what it was made with). Stage `recovery`: a few items of each variant are also made
from true features, in `images/<variant>/_recovery/`: what the method can do when decoding is perfect.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Shapes, Tile


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of each variant's images, then those of the recovery checks.

    Raises
    ------
    MissingStore
        If brain data or features do not exist yet.
    StudyError
        If something that a method's options name is unknown or missing.
    """
    from hpc_recon.reconstruction import maker

    tiles = [
        tile
        for variant, options in study.reconstruct.items()
        for tile in maker(options.method).plan(study, shapes, variant)
    ]
    return sorted(tiles, key=lambda tile: tile.stage == "recovery")


def prepare(study: Study) -> None:
    """Check what the methods are given, and write what their tiles share.

    Raises
    ------
    ChangedStudy
        If what images are made from was made by another network than the study's, or from an earlier version of it.
    DataError
        If something that the options name does not fit.
    """
    from hpc_recon.reconstruction import MAKERS, maker

    for name in dict.fromkeys(MAKERS[options.method] for options in study.reconstruct.values()):
        variants = [v for v, options in study.reconstruct.items() if MAKERS[options.method] == name]
        maker(study.reconstruct[variants[0]].method).prepare(study, variants)


def work(study: Study, tile: Tile) -> list[Path]:
    """Make and write the images of one tile; return the files."""
    from hpc_recon.reconstruction import maker

    return maker(study.reconstruct[tile.group.path[0]].method).work(study, tile)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("reconstruct", argv)


if __name__ == "__main__":
    raise SystemExit(main())
