"""What one tile of `fit` and `decode` does: reads stores, computes with numerics, writes stores."""
