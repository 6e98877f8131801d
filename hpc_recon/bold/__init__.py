"""Layer 1: from preprocessed BOLD runs to samples, step by step. Arrays in, arrays out."""
