"""Layer 1: the workspace on disk. The only home of zarr; see docs/store_format.md."""
