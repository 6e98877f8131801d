"""What a simulated study will hold, in numbers, before it is simulated."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.simulate_options import Simulate
from hpc_recon.core.sizes import DatasetSize, Sizes
from hpc_recon.simulation import contents
from hpc_recon.simulation.areas import ALL_VOXELS, AREAS


def declared(section: Simulate, datasets: list[str]) -> Sizes:
    """Return the sizes of the data that `simulate` makes of a section of a study.

    Parameters
    ----------
    datasets
        Names of the study's datasets.
    """
    edges = np.rint(np.cumsum([0.0, *(area.share for area in AREAS)]) * section.n_voxels).astype(int)
    voxels = {area.name: int(n) for area, n in zip(AREAS, np.diff(edges), strict=True)}
    return Sizes(
        image_size=(section.image_size, section.image_size),
        voxels={**voxels, ALL_VOXELS: section.n_voxels},
        datasets={
            name: DatasetSize(
                stimuli=contents.n_stimuli(section, name),
                samples=contents.n_samples(section, name),
                own_stimuli=name != contents.IMAGERY,
            )
            for name in datasets
        },
    )
