"""Layer 1: files of other people: read and written without the workspace. h5py, scipy and nibabel."""
