"""Maps of decoders on the brain: how often each voxel was selected, its mean |weight|, and weights of single units."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.core.memory import array_bytes, reading_bytes
from hpc_recon.core.sampling import unit_sample
from hpc_recon.core.tiles import ranges
from hpc_recon.exchange.exporting import OVERHEAD, Batch, Selection, place, source_of
from hpc_recon.formats import grayordinates, surfaces, volumes
from hpc_recon.stores import arrays, brain, layout
from hpc_recon.stores import shapes as store_shapes
from hpc_recon.stores.positions import Positions, read_positions

#: Hemispheres in names of GIFTI files, by structure.
SIDES = {"CIFTI_STRUCTURE_CORTEX_LEFT": "hemi-L", "CIFTI_STRUCTURE_CORTEX_RIGHT": "hemi-R"}


def summary(workspace: Path, where: tuple[str, str, str, str], *, n_voxels: int) -> tuple[Array, Array]:
    """Return what the decoders of a layer say of each voxel of their ROI, a shard of units at a time.

    Parameters
    ----------
    where
        Split, ROI, name of the decoded network, layer.

    Returns
    -------
    selected : (n_voxels,) float64
        Fraction of the units whose decoder reads the voxel (weight not 0).
    weight : (n_voxels,) float64
        Mean over all units of |weight| on the z-scored scale, 0 where a voxel was not selected.
    """
    n_units, k = arrays.describe(workspace, layout.decoder(*where, "weight")).shape
    count, total = np.zeros(n_voxels), np.zeros(n_voxels)
    for start, stop in ranges(n_units, layout.units_per_shard(n_units, width=k)):
        voxel, weight = (
            arrays.read(workspace, layout.decoder(*where, part), slice(start, stop)) for part in ("voxel", "weight")
        )
        used = weight != 0
        numbers = voxel[used]
        count += np.bincount(numbers, minlength=n_voxels)
        total += np.bincount(numbers, weights=np.abs(weight[used], dtype=np.float64), minlength=n_voxels)
    return count / n_units, total / n_units


def unit_weights(workspace: Path, where: tuple[str, str, str, str], row: int, *, n_voxels: int) -> Array:
    """Return the signed weights of one decoder, (n_voxels,) float64 on the z-scored scale."""
    voxel, weight = (
        arrays.read(workspace, layout.decoder(*where, part), slice(row, row + 1))[0] for part in ("voxel", "weight")
    )
    found = np.zeros(n_voxels)
    found[voxel[weight != 0]] = weight[weight != 0]
    return found


def maps(study: Study, selection: Selection, *, units: Sequence[int] = ()) -> Iterator[Batch]:
    """Yield the maps of a layer, a batch each: `<subject>/<roi>[/<fold>]/<layer>_<map>`.

    Maps are `selected` and `weight` (`summary`), and `unit-<number>` of each unit asked for. NIfTI (`.nii.gz`) where
    all voxels lie in a grid, GIFTI of each hemisphere (`_hemi-L.func.gii`) where all are vertices, else CIFTI
    (`.dscalar.nii`). Voxels outside the ROI are 0.

    Raises
    ------
    MissingStore
        If decoders are not all there, or the subject's data came without the places of voxels.
    StudyError
        If the study stores no decoders (`fit.decode`, `decode.files`), or a unit is not decoded in a layer.
    """
    if study.fit.decode or study.decode.files:
        which = "fit.decode: true stores predictions only" if study.fit.decode else "decode.files reads predictions"
        raise StudyError("export", [f"{which}, so there are no weights to map"])
    workspace, network = layout.workspace_of(study), selection.network(study)
    shapes, name = store_shapes.read(study), study.decoded_name(network)
    for split in selection.splits(study):
        found = read_positions(workspace, split)
        if found is None:
            raise MissingStore(
                f"nothing says where the voxels of {split} lie, so that nothing can be mapped: ingest data whose files "
                "say it (docs/your_own_data.md), or leave the subject out with --subject"
            )
        subject, fold = place(split)
        for roi in selection.chosen_rois(study):
            for layer in selection.layers_of(study):
                where = (split, roi, name, layer)
                source = source_of(workspace, ["/".join(("fit", *where)), study.brain_key(split)])
                rows = _rows(study, network, layer, shapes.n_units(network, layer), units)
                stem = "/".join(part for part in (subject, roi, fold, layer) if part is not None)
                names = ["selected", "weight", *(f"unit-{unit}" for unit in units)]
                files = {file: size for n in names for file, size in _files(found, f"{stem}_{n}").items()}

                def write(
                    folder: Path,
                    wanted: Collection[str],
                    where: tuple[str, str, str, str] = where,
                    rows: tuple[int, ...] = rows,
                    stem: str = stem,
                    found: Positions = found,
                ) -> None:
                    _write(workspace, folder / stem, where, found, dict(zip(units, rows, strict=True)))

                n_units, k = arrays.describe(workspace, layout.decoder(*where, "weight")).shape
                memory = reading_bytes(min(n_units, layout.units_per_shard(n_units, width=k)), k, itemsize=16)
                yield Batch(files, source, write, memory + 4 * sum(files.values()))


def _rows(study: Study, network: str, layer: str, n_units: int, units: Sequence[int]) -> tuple[int, ...]:
    """Return which decoder is that of each unit."""
    decoded = unit_sample(study, network, layer, n_units)
    if decoded is None:
        outside = [unit for unit in units if not 0 <= unit < n_units]
        rows = tuple(units)
    else:
        place_of = {int(unit): row for row, unit in enumerate(decoded)}
        outside = [unit for unit in units if unit not in place_of]
        rows = tuple(place_of.get(unit, -1) for unit in units)
    if outside:
        shown = ", ".join(str(unit) for unit in outside[:5])
        held = f"has the units 0 to {n_units - 1}" if decoded is None else f"has {len(decoded)} units decoded"
        raise StudyError("--unit", [f"{shown}: {network}/{layer} {held}; choose among these, or give --layer"])
    return rows


def _files(found: Positions, stem: str) -> dict[str, int]:
    """Return the files of one map with their projected bytes."""
    if found.in_grid.all():
        assert found.grid_shape is not None, "checked when it was read"
        return {f"{stem}.nii.gz": array_bytes(*found.grid_shape) + OVERHEAD}
    if not found.in_grid.any() and set(_used(found)) <= set(SIDES):
        return {
            f"{stem}_{SIDES[structure]}.func.gii": 2 * array_bytes(found.surface_sizes[structure]) + OVERHEAD
            for structure in _used(found)
        }
    return {f"{stem}.dscalar.nii": array_bytes(found.n_voxels) + 64 * found.n_voxels + OVERHEAD}


def _used(found: Positions) -> list[str]:
    """Return the structures that have voxels."""
    return [name for number, name in enumerate(found.structures) if (found.structure == number).any()]


def _write(
    workspace: Path, stem: Path, where: tuple[str, str, str, str], found: Positions, units: dict[int, int]
) -> None:
    mask = brain.read_roi(workspace, *where[:2])
    n_voxels = int(np.count_nonzero(mask))
    selected, weight = summary(workspace, where, n_voxels=n_voxels)
    values = {"selected": selected, "weight": weight}
    values |= {f"unit-{unit}": unit_weights(workspace, where, row, n_voxels=n_voxels) for unit, row in units.items()}
    for name, own in values.items():
        everywhere = np.zeros(found.n_voxels, dtype=np.float32)
        everywhere[mask] = own
        write_map(stem.with_name(f"{stem.name}_{name}"), everywhere, found)


def write_map(stem: Path, values: Array, found: Positions) -> list[Path]:
    """Write one value a voxel, (n_voxels,), in the format that the places of the voxels call for.

    Parameters
    ----------
    stem
        Path without the ending that `maps` describes.
    """
    paths = [stem.with_name(Path(name).name) for name in _files(found, stem.name)]
    if found.in_grid.all():
        assert found.grid_shape is not None, "checked when it was read"
        assert found.affine is not None, "checked when it was read"
        inside = np.zeros(found.grid_shape, dtype=bool)
        inside[tuple(found.ijk.T)] = True
        order = np.argsort(np.ravel_multi_index(tuple(found.ijk.T), found.grid_shape))
        mask = volumes.Mask(stem.name, volumes.Grid(found.grid_shape, found.affine), inside)
        volumes.write_map(paths[0], values[order], mask)
    elif paths[0].name.endswith(".gii"):
        for path, structure in zip(paths, _used(found), strict=True):
            here = found.structure == found.structures.index(structure)
            whole = np.zeros(found.surface_sizes[structure], dtype=np.float32)
            whole[found.vertex[here]] = values[here]
            surfaces.write_gifti(path, whole)
    else:
        order = np.argsort(found.structure, kind="stable")
        columns = grayordinates.of_places(
            [found.structures[number] for number in found.structure[order]],
            ijk=found.ijk[order],
            vertex=found.vertex[order],
            affine=found.affine,
            grid_shape=found.grid_shape,
            surface_sizes=found.surface_sizes,
        )
        surfaces.write_cifti(paths[0], values[order][None], columns, [stem.name])
    return paths
