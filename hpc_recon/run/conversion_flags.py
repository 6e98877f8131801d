"""Options of the command line about converted activity: `--via S1-S2` and `--pool N`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpc_recon.core.convert_options import FROM
from hpc_recon.core.errors import StudyError


def pool_assignment(numbers: Sequence[int]) -> str:
    """Turn `--pool N`, given once or more, into an override of the study.

    >>> pool_assignment([1, 3])
    'convert.pool=[1, 3]'
    """
    return f"convert.pool=[{', '.join(map(str, numbers))}]"


def via_pattern(pair: str, study: Path, assignments: Sequence[str]) -> str:
    """Turn `--via SOURCE-TARGET` into the pattern of the tiles that decode a pair's converted samples.

    Parameters
    ----------
    pair
        `S1-S2`: the samples of S1, converted and decoded with the decoders of S2.
    study, assignments
        The study file, and what overrides it.

    Raises
    ------
    StudyError
        If the study converts no such pair.

    Notes
    -----
    The split is called `S2.from-S1` everywhere: `--only 'decode/S2.from-S1/*'` is the same.
    """
    from hpc_recon.core.loading import load_study

    found = load_study(study, assignments)
    if found.convert is None:
        raise StudyError(
            "--via",
            [f"needs converters, but {found.name} has no section `convert:`; add one and run `convert`"],
        )
    ordered = found.convert.ordered(found.subjects)
    pairs = {f"{source}-{target}": f"{target}{FROM}{source}" for source, target in ordered}
    if pair not in pairs:
        raise StudyError(
            "--via",
            [
                f"is <source>-<target> of a pair that is converted ({', '.join(pairs)}), got {pair!r}; name one of "
                "these, or add it to convert.pairs"
            ],
        )
    return f"decode/{pairs[pair]}/*"
