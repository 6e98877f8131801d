"""Converters between subjects: what one tile of `convert` reads, computes and writes."""
