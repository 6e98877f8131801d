"""Layer 2: what a tile of `extract` does: features computed by a network or read from files, and reference images."""
