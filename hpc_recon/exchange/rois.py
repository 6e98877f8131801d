"""The ROI masks of a subject: arrays, atlases, selectors over BData, and combinations of other ROIs."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import ArrayKey, IngestRoi, IngestSubject
from hpc_recon.exchange import bdata, image_rois, samples
from hpc_recon.formats import labfiles, selectors
from hpc_recon.stores.positions import Positions


class Masks:
    """The masks of one subject by name; each is read once.

    Parameters
    ----------
    mapping
        The subject's part of the `ingest` section.
    n_voxels
        Voxels of the samples; None where they could not be read, so that lengths are not checked.
    positions
        Where they lie; None where that is not known, so that ROIs in images are errors.
    """

    def __init__(self, mapping: IngestSubject, n_voxels: int | None, positions: Positions | None = None) -> None:
        self._mapping = mapping
        self._positions = positions
        self._n_voxels = n_voxels
        self._found: dict[str, Array] = {}
        self._open: list[str] = []

    def read(self, name: str) -> Array:
        """Return a mask, (n_voxels,) bool, with at least one member.

        Raises
        ------
        DataError
            If it cannot be read, has another length or no member, or if a combination names an ROI that is not
            given or needs itself.
        """
        if name in self._found:
            return self._found[name]
        if name in self._open:
            circle = " -> ".join((*self._open[self._open.index(name) :], name))
            raise DataError(f"rois: {circle}: an ROI cannot be combined from itself; name the parts")
        self._open.append(name)
        try:
            roi = self._mapping.rois[name]
            if roi.combine is not None:
                mask = self._combined(name, roi.combine)
            elif image_rois.is_image(roi):
                mask = image_rois.read(name, roi, self._positions)
            else:
                mask = self._selected(name, roi.select) if roi.select is not None else self._from_file(name, roi)
        finally:
            self._open.pop()
        self._found[name] = mask
        return mask

    def _combined(self, name: str, expression: str) -> Array:
        try:
            mask = selectors.evaluate(selectors.parse(expression), expression, tuple(self._mapping.rois), self.read)
        except DataError as error:
            raise DataError(f"rois.{name}: {error}") from error
        if not mask.any():
            raise DataError(f"rois.{name} has no voxel: {expression!r} leaves none of {len(mask)}; correct it")
        return mask

    def _selected(self, name: str, selector: str) -> Array:
        tables = {key: part.bdata for key, part in self._mapping.datasets.items() if part.bdata is not None}
        if not tables:
            raise DataError(
                f"rois.{name}: select chooses keys of BData, but no dataset of the subject has any; give file"
            )
        masks = {key: bdata.mask(source, selector) for key, source in tables.items()}
        first, *others = masks
        differ = [key for key in others if not np.array_equal(masks[first], masks[key])]
        if differ:
            raise DataError(
                f"rois.{name}: {selector!r} chooses other voxels in {differ[0]} than in {first}; use files of one "
                f"preprocessing"
            )
        return masks[first]

    def _from_file(self, name: str, roi: IngestRoi) -> Array:
        what = f"rois.{name}"
        assert roi.file is not None, "the study was validated"
        stored = labfiles.numbers(samples.array(ArrayKey(file=roi.file, key=roi.key)), what)
        values = samples.finite(labfiles.column(stored, what), what, dtype=np.float64)
        if self._n_voxels is not None and len(values) != self._n_voxels:
            raise DataError(
                f"{what} has {len(values)} values, but the samples have {self._n_voxels} voxels; give a mask over all"
            )
        if roi.values is None:
            mask: Array = values != 0
            if not mask.any():
                raise DataError(f"{what} has no voxel: all {len(mask)} values are 0; a member's value is not 0")
            return mask
        mask = np.isin(values, roi.values)
        absent = [value for value in roi.values if not (values == value).any()]
        if absent:
            shown = ", ".join(f"{value:g}" for value in np.unique(values)[:20])
            raise DataError(f"{what}: the atlas in {roi.file} has no voxel with the label {absent[0]} (it has {shown})")
        return mask
