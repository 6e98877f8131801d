"""Sizes of what a study holds or, where it holds nothing yet, of what it will hold as its file declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.tiles import Shapes
from hpc_recon.run.verbs import bound, read_shapes

if TYPE_CHECKING:
    from hpc_recon.core.sizes import Sizes

#: Late bindings to other libraries, resolved when sizes are asked for that no store holds (as `verbs.SHAPES`).
DECLARED = "hpc_recon.nets.declared:read"
SIMULATED = "hpc_recon.simulation.sizes:declared"


@dataclass
class KnownShapes:
    """Implements `core.tiles.Shapes`: stored sizes, else declared ones; `used` says whether any was declared."""

    stored: Shapes
    declared: Shapes | None
    used: bool = False

    def _ask(self, name: str, *key: str) -> Any:
        try:
            return getattr(self.stored, name)(*key)
        except MissingStore:
            if self.declared is None:
                raise
            self.used = True
            return getattr(self.declared, name)(*key)

    def n_stimuli(self) -> int:
        """Return the number of stimuli."""
        return cast("int", self._ask("n_stimuli"))

    def image_size(self) -> tuple[int, int]:
        """Return height and width of the stimuli."""
        return cast("tuple[int, int]", self._ask("image_size"))

    def n_samples(self, split: str, dataset: str) -> int:
        """Return the number of brain samples."""
        return cast("int", self._ask("n_samples", split, dataset))

    def n_voxels(self, split: str, roi: str) -> int:
        """Return the number of voxels."""
        return cast("int", self._ask("n_voxels", split, roi))

    def n_items(self, split: str, dataset: str) -> int:
        """Return the number of test items."""
        return cast("int", self._ask("n_items", split, dataset))

    def n_units(self, network: str, layer: str) -> int:
        """Return the number of units."""
        return cast("int", self._ask("n_units", network, layer))

    def unit_shape(self, network: str, layer: str) -> tuple[int, ...]:
        """Return the shape of a layer."""
        return cast("tuple[int, ...]", self._ask("unit_shape", network, layer))

    def made_by(self, network: str, layer: str) -> str:
        """Return the key of the group that makes a layer."""
        return cast("str", self._ask("made_by", network, layer))


def read(study: Study) -> KnownShapes:
    """Return the sizes of a study; nothing is read before one is asked for."""
    sizes = _sizes(study)
    declared = None if sizes is None else cast("Shapes", bound(DECLARED)(study, sizes))
    return KnownShapes(read_shapes(study), declared)


def _sizes(study: Study) -> Sizes | None:
    """Return the declared sizes: those of the section `sizes`, else those of `simulate`; None without either."""
    if study.sizes is not None or study.simulate is None:
        return study.sizes
    return cast("Sizes", bound(SIMULATED)(study.simulate, list(study.datasets)))
