"""The arrays of a layer's features and of their norms: created once, written 48 stimuli at a time."""

from __future__ import annotations

from pathlib import Path

from hpc_recon.core.array import Array
from hpc_recon.core.network_options import Network
from hpc_recon.nets import zoo
from hpc_recon.numerics import corrections
from hpc_recon.stores import arrays, layout


def create(
    workspace: Path,
    network: Network,
    place: tuple[str, str],
    unit_shape: tuple[int, ...],
    *,
    n_stimuli: int,
    made_by: str,
) -> None:
    """Create the arrays of one layer."""
    n_units = zoo.n_units(unit_shape)
    arrays.create(
        workspace,
        layout.features(*place),
        shape=(n_stimuli, n_units),
        dtype=network.dtype,
        geometry=layout.feature_geometry(n_stimuli, n_units),
        made_by=made_by,
        attributes={"unit_shape": list(unit_shape)},
    )
    arrays.create(
        workspace,
        layout.norms(*place),
        shape=(n_stimuli, 3),
        dtype="float32",
        geometry=layout.row_geometry(n_stimuli, 3),
        made_by=made_by,
    )


def write(
    workspace: Path,
    network: Network,
    place: tuple[str, str],
    values: Array,
    *,
    start: int,
    unit_shape: tuple[int, ...],
) -> list[Path]:
    """Write features (n, n_units) of one layer from a row on, and their norms."""
    norms = corrections.reference_statistics(values, unit_shape)
    return [
        *arrays.write(workspace, layout.features(*place), (start, 0), values.astype(network.dtype)),
        *arrays.write(workspace, layout.norms(*place), (start, 0), norms.astype("float32")),
    ]
