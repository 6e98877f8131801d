"""Layer 1: the workspace on disk. The only home of zarr and h5py; see docs/store_format.md."""
