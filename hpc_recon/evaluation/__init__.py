"""What one tile of `evaluate` does: reads stores, scores with numerics; the command writes the tables."""
