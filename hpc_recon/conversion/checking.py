"""What is checked of all pairs before any converter is fitted."""

from __future__ import annotations

from hpc_recon.conversion import blocks, fitting, spaces
from hpc_recon.core.config import Study
from hpc_recon.numerics import transport


def require(study: Study) -> None:
    """Raise unless the samples of every pair belong together, and blocks predict what is decoded.

    Raises
    ------
    DataError
        If samples cannot be paired, no penalty was published for their number, reliability is asked for and no
        stimulus has repeats, or blocks do not cover what is decoded.
    StudyError
        If a package that the method needs is not installed.
    """
    options = blocks.options_of(study)
    if options.method == "optimal_transport":
        transport.require()
    if spaces.has_space(study):
        spaces.together(study)
    for split in options.fitted(study.subjects):
        # Of a pair whose converter is read or learns from stimuli alone no samples are paired.
        if not options.files and not options.after_fit:
            paired = fitting.pairs(study, split)
            fitting.penalties(study, len(paired.source))
            if options.weighting == "reliability":
                fitting.require_repeats(paired, split)
        blocks.require_covered(study, split)
