"""Layer 2: reconstruction methods, and the table that says which module implements which.

A module has `reconstruct(targets, options, *, network, device) -> Reconstruction` (`methods.targets`); its
options are a model in `core.options`.
"""

from __future__ import annotations

METHODS = {
    "latent": "hpc_recon.methods.latent",
    "icnn": "hpc_recon.methods.icnn",
    "pixels": "hpc_recon.methods.pixels",
}
