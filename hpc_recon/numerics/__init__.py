"""Layer 1: the estimators and scores. Arrays in, arrays out; numpy or cupy; no files, no clusters, no torch."""
