"""Layer 0: errors, the study, tiles, receipts, memory and text. Standard library, numpy, pydantic; obstore if asked."""
