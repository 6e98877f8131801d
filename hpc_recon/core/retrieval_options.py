"""Options of method `retrieval`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hpc_recon.core.method_options import MethodOptions, not_decoded
from hpc_recon.core.network_options import Layers

if TYPE_CHECKING:
    from hpc_recon.core.config import Study
    from hpc_recon.core.network_options import Network


class RetrievalOptions(MethodOptions):
    """Training images whose features are most like the decoded ones: what a reconstruction should be better than."""

    method: Literal["retrieval"] = Field(description="chooses this method")
    layers: Layers | None = Field(None, description="layers that are compared; default: all")
    mean_of: int = Field(1, ge=1, description="how many training images each image is the mean of")

    def own_problems(self, study: Study, where: str, network: Network) -> list[str]:
        """Return which layers are not decoded, and what has no effect."""
        found = not_decoded(f"{where}.layers", self.layers or (), network)
        if self.images_per_tile != 1:
            found.append(f"{where}.images_per_tile: retrieval makes all images of a dataset in one task; leave it out")
        return found
