"""Would the factor of one unit's system serve the next one? Measured layer by layer on a study's own features.

Neighbouring units choose many of the same voxels. With the voxels of a group of units ordered by popularity, a unit can
take over the leading block of the factor of the unit before it, as far as both lists of voxels begin alike: of k^3/3
multiplications it saves m^3/3 for a common beginning of m voxels. This script fits nothing; it counts.

    python benchmarks/bench_prefix.py --workspace runs/realistic --split S1 --roi VC --network vgg
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from give import give

from hpc_recon.numerics.decoder import select, standardised_targets
from hpc_recon.numerics.stats import BrainStatistics
from hpc_recon.stores import arrays, layout, statistics


def beginnings(voxel, *, group):
    """Return the common beginnings of successive units, in groups whose voxels are ordered by popularity."""
    found = []
    for start in range(0, len(voxel), group):
        own = voxel[start : start + group]
        popularity = np.zeros(int(voxel.max()) + 1, int)
        np.add.at(popularity, own.ravel(), 1)
        rank = np.argsort(np.argsort(-popularity, kind="stable"))
        lists = np.sort(rank[own], axis=1)
        lists = lists[np.lexsort(lists.T[::-1])]  # units with like beginnings beside each other
        same = (lists[1:] == lists[:-1]).cumprod(axis=1).sum(axis=1)
        found += [0, *same.tolist()]
    return np.array(found)


def layer(workspace, split, roi, network, name, *, k, n_units, groups):
    """Return overlap of neighbours and the share of multiplications that is left, for each group size."""
    mean, scale, sums, counts, rows = (
        statistics.read(workspace, split, roi, part) for part in ("mean", "scale", "sums", "counts", "rows")
    )
    brain = BrainStatistics(int(counts.sum()), mean, scale, None, sums, counts)
    total = arrays.describe(workspace, layout.features(network, name)).shape[1]
    n = min(n_units, total)
    start = (total - n) // 2
    Y = arrays.read(workspace, layout.features(network, name), rows, slice(start, start + n))
    voxel = np.concatenate(
        [select(brain, standardised_targets(Y[:, at : at + 256], dtype=np.float32)[0], k)[0] for at in range(0, n, 256)]
    )
    overlap = np.mean([len(np.intersect1d(a, b)) / k for a, b in pairwise(voxel)])
    left = {}
    for group in groups:
        m = beginnings(voxel, group=group)
        left[str(group)] = {
            "mean_beginning": round(float(m.mean()), 1),
            "multiplications_left": round(float(1 - (m / k).astype(float).__pow__(3).mean()), 3),
        }
    union = len(np.unique(voxel[:256]))
    return {"units": n, "overlap_of_neighbours": round(float(overlap), 3), "voxels_of_256_units": union, "groups": left}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True, help="of a study whose statistics are computed")
    parser.add_argument("--split", default="S1")
    parser.add_argument("--roi", default="VC")
    parser.add_argument("--network", required=True)
    parser.add_argument("--k", type=int, default=500)
    parser.add_argument("--units", type=int, default=2048, help="consecutive units from the middle of each layer")
    parser.add_argument("--groups", type=int, nargs="+", default=[2, 4, 8, 32, 256])
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args(argv)
    folder = options.workspace / "features.zarr" / options.network
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    result = {
        name: layer(
            options.workspace.absolute(),
            options.split,
            options.roi,
            options.network,
            name,
            k=options.k,
            n_units=options.units,
            groups=options.groups,
        )
        for name in names
    }
    return give({"k": options.k, "layers": result}, options.output)


if __name__ == "__main__":
    sys.exit(main())
