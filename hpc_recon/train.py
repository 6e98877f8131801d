"""Train networks from brain activity to images or latents: one network a subject, ROI and entry of `train:`.

Stage `images`: stimuli are resized once, where an entry asks for another size. Stage `inputs` (method
`shape_semantic`): what a generator learns from is decoded without each image itself. Then the steps of each network, in
parts of `steps_per_tile`: a part begins at the checkpoint of the one before, and networks are trained side by side. A
part that is killed goes on from its own last checkpoint. Every part leaves `models/<entry>/<split>/<roi>/step-<n>.pt`,
the table of its losses and a picture of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Shapes, Tile


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles that resize stimuli, those that make inputs, then the parts of every network's training.

    Raises
    ------
    MissingStore
        If stimuli or brain samples do not exist yet.
    StudyError
        If a comparator's weights are missing, or it does not have the layers.
    """
    if not study.train:
        return []
    from hpc_recon.training import planning

    return planning.plan(study, shapes)


def prepare(study: Study) -> None:
    """Create the arrays of resized stimuli, and look whether there are as many samples as an entry asks for.

    Raises
    ------
    DataError
        If there are not.
    """
    from hpc_recon.stores import shapes as store_shapes
    from hpc_recon.training import Place, learner, pictures

    pictures.prepare(study, store_shapes.read(study))
    for name, options in study.train.items():
        for place in study.trained_sets(name):
            learner(options.method).prepare(study, Place(name, *place))


def work(study: Study, tile: Tile) -> list[Path]:
    """Resize stimuli, make inputs, or train one part; return the files."""
    from hpc_recon.training import parts, pictures, shape_inputs

    stages = {"images": pictures.write, "inputs": shape_inputs.work}
    return stages.get(tile.stage, parts.work)(study, tile)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("train", argv)


if __name__ == "__main__":
    raise SystemExit(main())
