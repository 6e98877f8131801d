"""Tests of scores against chance and against each other, corrections for many of them, and effect sizes.

Conventions: a value is one image's score (of one subject), a difference is a value minus chance or minus the value of
the same image under another method. NaN values are left out; without any value every result is NaN, never 1 or 0.
`p_one` asks whether the differences are above zero, `p_two` whether they lie on one side of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array

#: Signed ranks of this many differences are counted exactly; 2^50 is exact in float64.
EXACT = 50
#: Sign-flips of this many differences are enumerated (16,384), of more they are drawn.
ENUMERATED = 14
#: Orders of this many pairs are enumerated (5,040).
ENUMERATED_PAIRS = 7
#: Draws made at once, so that memory stays at this many times the number of differences.
_DRAWS_AT_ONCE = 1024
#: Sums of equal numbers differ by rounding when signs are flipped: relative room for a tie.
_ROUNDING = 1e-12
#: Differences of scores, which are at most 1 in size, that agree to so many decimals are equal.
_DECIMALS = 12


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of n differences, and how large the effect is.

    Attributes
    ----------
    n
        Differences that are not NaN; those of exactly 0 count here, but have no rank.
    mean
        Mean difference.
    p_one, p_two
        Probability, without an effect, of a rank sum as large (one-sided: above zero; two-sided: either way).
    rank_biserial
        (W+ - W-) / (W+ + W-) in [-1, 1]: rank sums of the positive and of the negative differences.
    cohen_dz
        Mean over standard deviation (n - 1); NaN for fewer than two differences or without spread.
    """

    n: int
    mean: float
    p_one: float
    p_two: float
    rank_biserial: float
    cohen_dz: float
    #: Differences that are not 0, and so have a rank.
    n_moved: int = 0


def signed_rank(differences: Array) -> SignedRank:
    """Test whether differences are symmetric about 0 (Wilcoxon 1945); differences of 0 are left out.

    Exact for up to `EXACT` differences, whatever their ties; scipy's approximation by a normal distribution beyond.
    (scipy enumerates all signs where there are ties: 0.3 s a test for 13 differences.)

    Parameters
    ----------
    differences
        (n,) score minus chance, or score minus score of the same images.

    Returns
    -------
    SignedRank
        p = 1 where every difference is 0: nothing speaks against chance.
    """
    from scipy import stats  # here: it takes a second of CPU, and reports read results without a test

    kept = _finite(differences)
    if not len(kept):
        nan = float("nan")
        return SignedRank(0, nan, nan, nan, nan, nan)
    moved = _moved(kept)
    p_one = p_two = 1.0
    if 0 < len(moved) <= EXACT:
        p_one, p_two = _exact(moved)
    elif len(moved):
        p_one = float(stats.wilcoxon(moved, alternative="greater", method="asymptotic").pvalue)
        p_two = float(stats.wilcoxon(moved, alternative="two-sided", method="asymptotic").pvalue)
    return SignedRank(len(kept), float(kept.mean()), p_one, p_two, rank_biserial(kept), cohen_dz(kept), len(moved))


def _exact(moved: Array) -> tuple[float, float]:
    """Return p one- and two-sided of the sum of the ranks of positive differences, over all 2^n signs.

    The number of signs that give a sum is counted rank by rank; ranks of ties are halves, so all are doubled.
    """
    from scipy import stats

    ranks = np.rint(2 * stats.rankdata(np.abs(moved))).astype(np.int64)  # (n,)
    ways = np.zeros(int(ranks.sum()) + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] = ways[rank:] + ways[:-rank]
    observed = int(ranks[moved > 0].sum())
    above = float(ways[observed:].sum() / ways.sum())
    below = float(ways[: observed + 1].sum() / ways.sum())
    return above, min(1.0, 2 * min(above, below))


def sign_flip(differences: Array, *, draws: int, seed: int) -> tuple[float, float]:
    """Test whether the mean difference is 0, by flipping signs; return p one-sided (above 0) and two-sided.

    All 2^n flips of up to `ENUMERATED` differences; of more, `draws` random ones, and the observed signs as one of
    them, p = (1 + as extreme) / (1 + draws), which is never 0.
    """
    kept = _finite(differences)
    n = len(kept)
    if not n:
        return float("nan"), float("nan")
    room = _ROUNDING * float(np.abs(kept).sum())
    observed = float(kept.sum())
    above = beyond = 0
    if n <= ENUMERATED:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        sums = (1 - 2 * bits) @ kept  # (2^n,)
        return float(np.mean(sums >= observed - room)), float(np.mean(np.abs(sums) >= abs(observed) - room))
    rng = np.random.default_rng(seed)
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        sums = rng.choice(np.array([-1.0, 1.0]), size=(size, n)) @ kept
        above += int(np.sum(sums >= observed - room))
        beyond += int(np.sum(np.abs(sums) >= abs(observed) - room))
    return (1 + above) / (1 + draws), (1 + beyond) / (1 + draws)


def spearman(x: Array, y: Array) -> tuple[float, float]:
    """Return Spearman's rank correlation of pairs, and p two-sided that it is 0; equal values share their mean rank.

    p is exact, over all orders, for up to `ENUMERATED_PAIRS` pairs; of more, scipy's, by Student's t with n - 2 degrees
    of freedom. (That approximation gives p = 0 for four pairs in the same order; one order in 12 is as extreme.)

    Parameters
    ----------
    x, y
        (n,) each; finite.

    Returns
    -------
    tuple of float
        r and p; NaN, NaN where x or y does not vary or n is below 2.

    Raises
    ------
    ValueError
        If they differ in length or hold values that are not finite.
    """
    from scipy import stats

    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be as long as each other, one-dimensional; got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("x and y must be finite; leave pairs out of which one is unknown")
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan")
    if len(x) > ENUMERATED_PAIRS:
        found = stats.spearmanr(x, y)
        return float(found.statistic), float(found.pvalue)
    left, right = (ranks - ranks.mean() for ranks in (stats.rankdata(x), stats.rankdata(y)))
    size = float(np.sqrt((left @ left) * (right @ right)))
    observed = float(left @ right)
    orders = np.array(list(itertools.permutations(right)))  # (n!, n)
    as_extreme = np.abs(orders @ left) >= abs(observed) - _ROUNDING * size
    return observed / size, float(as_extreme.mean())


def rank_biserial(differences: Array) -> float:
    """Return (W+ - W-) / (W+ + W-) over the differences that are not 0; 0 if all are, NaN without any."""
    kept = _finite(differences)
    if not len(kept):
        return float("nan")
    moved = _moved(kept)
    if not len(moved):
        return 0.0
    from scipy import stats

    ranks = stats.rankdata(np.abs(moved))
    return float((np.sign(moved) * ranks).sum() / ranks.sum())


def cohen_dz(differences: Array) -> float:
    """Return mean over standard deviation (n - 1); NaN for fewer than two differences or without spread."""
    kept = _finite(differences)
    if len(kept) < 2 or np.ptp(kept) == 0:
        return float("nan")
    return float(kept.mean() / kept.std(ddof=1))


def holm(p: Sequence[float]) -> Array:
    """Return p-values corrected so that any false alarm in the family is as rare as one test's (Holm 1979).

    In order of size, p_(i) (m - i + 1), made monotonic, at most 1. NaN stay NaN and are not counted in m.
    """
    return _corrected(p, lambda ordered: np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1)))


def benjamini_hochberg(p: Sequence[float]) -> Array:
    """Return p-values corrected for the share of false alarms among what is found (Benjamini & Hochberg 1995).

    In order of size, p_(i) m / i, made monotonic from the largest, at most 1. NaN stay NaN and are not counted in m.
    """

    def step_up(ordered: Array) -> Array:
        scaled = ordered * len(ordered) / np.arange(1, len(ordered) + 1)
        return np.asarray(np.minimum.accumulate(scaled[::-1])[::-1])

    return _corrected(p, step_up)


def _corrected(p: Sequence[float], rule: Callable[[Array], Array]) -> Array:
    values = np.asarray(p, np.float64)
    result = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    result[order] = np.minimum(rule(values[order]), 1.0)
    return result


@dataclass(frozen=True)
class Effect:
    """One line of an analysis of variance: F with its degrees of freedom, p, and the partial share of variance."""

    F: float
    df_effect: int
    df_error: int
    p: float
    #: SS_effect / (SS_effect + SS_error).
    partial_eta_squared: float


def repeated_measures_anova(values: Array) -> dict[str, Effect]:
    """Analyse two within-unit factors: the units (image x subject) have one value in every cell.

    Each effect is tested against its own interaction with the units, as usual for repeated measures. Sphericity is
    assumed, without a correction of the degrees of freedom.

    Parameters
    ----------
    values
        (n_units, levels of A, levels of B), for example A the task and B the area; no NaN.

    Returns
    -------
    dict
        `A`, `B` and `A:B`. F is infinite, and p 0, where there is an effect and no error.

    Raises
    ------
    ValueError
        For fewer than two units or levels, or values that are not finite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 3 or min(values.shape) < 2:
        raise ValueError(f"values must be (units, levels of A, levels of B), two or more each, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(
            f"every unit needs a value in every cell, but {int((~np.isfinite(values)).sum())} of {values.size} are not "
            "finite; leave these units out"
        )
    n, a, b = values.shape
    grand = values.mean()
    unit = values.mean(axis=(1, 2)) - grand  # (n,)
    of_a, of_b = values.mean(axis=(0, 2)) - grand, values.mean(axis=(0, 1)) - grand  # (a,), (b,)
    unit_a = values.mean(axis=2) - grand - unit[:, None] - of_a  # (n, a)
    unit_b = values.mean(axis=1) - grand - unit[:, None] - of_b  # (n, b)
    both = values.mean(axis=0) - grand - of_a[:, None] - of_b  # (a, b)
    fitted = grand + unit[:, None, None] + (of_a + unit_a)[:, :, None] + (of_b + unit_b)[:, None, :] + both
    sizes = {
        "A": (n * b * (of_a**2).sum(), b * (unit_a**2).sum(), a - 1),
        "B": (n * a * (of_b**2).sum(), a * (unit_b**2).sum(), b - 1),
        "A:B": (n * (both**2).sum(), ((values - fitted) ** 2).sum(), (a - 1) * (b - 1)),
    }
    rounding = _ROUNDING * float(((values - grand) ** 2).sum())
    return {name: _effect(*found, n_units=n, rounding=rounding) for name, found in sizes.items()}


def _effect(effect: float, error: float, df: int, *, n_units: int, rounding: float) -> Effect:
    df_error = df * (n_units - 1)
    if error <= rounding:
        nothing = effect <= rounding
        F, share = (float("nan"), float("nan")) if nothing else (float("inf"), 1.0)
        return Effect(F, df, df_error, float("nan") if nothing else 0.0, share)
    F = float(effect / df / (error / df_error))
    from scipy import stats

    return Effect(F, df, df_error, float(stats.f.sf(F, df, df_error)), float(effect / (effect + error)))


def _moved(kept: Array) -> Array:
    """Return the differences that are not 0, rounded so that |1/3 - 1/2| and |2/3 - 1/2| are a tie, as they are."""
    rounded = np.round(kept, _DECIMALS)
    return np.asarray(rounded[rounded != 0])


def _finite(differences: Array) -> Array:
    kept = np.asarray(differences, np.float64).ravel()
    return kept[~np.isnan(kept)]
