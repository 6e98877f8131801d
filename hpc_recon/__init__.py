"""hpc_recon: decode deep-network features from fMRI and reconstruct images from them, out of core, on any cluster.

Commands are files (`python -m hpc_recon.fit --help`), libraries are folders; see docs/architecture.md.
"""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("hpc_recon")
