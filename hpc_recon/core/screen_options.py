"""Options of `screen`: how many units of a layer are looked at, and how its scores are made."""

from __future__ import annotations

from pydantic import Field

from hpc_recon.core.section import Section


class ScreenOptions(Section):
    """How networks and layers are ranked by decodability before they are extracted whole."""

    units: int = Field(1000, ge=1, description="units a layer, drawn at random")
    folds: int = Field(5, ge=3, description="cross-validation folds of training stimuli, never of test stimuli")
    confidence: float = Field(0.95, gt=0, lt=1, description="level of the intervals")
    resamples: int = Field(1000, ge=100, description="bootstrap resamples of stimuli and units")
