"""Options of the content-loss converter, `convert.content` of a study (after Wang et al. 2025)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hpc_recon.core.ingest_options import Name
from hpc_recon.core.section import Section


class Content(Section):
    """How converters learn from stimuli: what the target's decoders decode is to be the stimuli's true features."""

    roi: Name | None = Field(None, description="ROI whose decoders judge; default: the first of rois")
    units: int = Field(
        1000, ge=1, description="units of each layer that are learned from, drawn once; a layer of fewer gives all"
    )
    at_once: int = Field(250, ge=1, description="of these, units of each layer that a step looks at, drawn anew")
    batch: int = Field(2048, ge=1, description="samples of a step, drawn anew; as many or fewer there are: all")
    steps: int = Field(1024, ge=1, description="steps of Adam at most")
    learning_rate: float = Field(3e-4, gt=0, description="learning rate of Adam")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.5, 0.999), description="decay rates of Adam"
    )
    held_out: float = Field(
        0.1, gt=0, le=0.5, description="share of the stimuli that are never learned from, and say when to stop"
    )
    check_every: int = Field(16, ge=1, description="steps after which the held-out stimuli are looked at")
    patience: int = Field(8, ge=1, description="looks without improvement after which training stops; the best is kept")
    checkpoint_every: int = Field(128, ge=1, description="steps after which a checkpoint is kept")
