"""Layer 2: what one tile of `train` reads, learns and writes: samples and images in order, steps, checkpoints."""
