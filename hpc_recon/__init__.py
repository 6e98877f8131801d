"""hpc_recon: decode deep-network features from fMRI and reconstruct images from them, out of core, tile by tile.

Commands are files (`python -m hpc_recon.fit --help`), libraries are folders; see docs/architecture.md.
"""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """Return `__version__`, looked up when it is asked for: `--help` need not wait for it."""
    if name != "__version__":
        raise AttributeError(f"module 'hpc_recon' has no attribute {name!r}")
    from importlib.metadata import version

    return version("hpc_recon")
