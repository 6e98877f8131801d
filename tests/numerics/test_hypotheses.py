"""Tests of scores against enumeration, other formulas and other programs' functions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from hpc_recon.numerics import hypotheses


def signed_ranks_by_enumeration(differences: np.ndarray) -> tuple[float, float]:
    """All sign patterns of the ranks: the definition of the exact test."""
    moved = differences[differences != 0]
    ranks = stats.rankdata(np.abs(moved))
    observed = ranks[moved > 0].sum()
    sums = np.array([sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in
                     itertools.product([0, 1], repeat=len(ranks))])  # fmt: skip
    above, below = np.mean(sums >= observed), np.mean(sums <= observed)
    return float(above), float(min(1.0, 2 * min(above, below)))


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.8])
def test_signed_rank_is_the_enumeration_of_all_signs(shift):
    differences = np.random.default_rng(1).normal(shift, 1, 11)
    found = hypotheses.signed_rank(differences)
    # both count the same 2048 patterns; rounding of a mean
    assert (found.p_one, found.p_two) == pytest.approx(signed_ranks_by_enumeration(differences), abs=1e-12)
    assert found.n == 11
    assert found.mean == pytest.approx(differences.mean())


def test_signed_rank_of_ties_is_exact_for_few_images():
    """Identification among four images takes the values 0, 1/3, 2/3, 1: nearly all are ties."""
    differences = np.array([1, 1, 2 / 3, 1, 1 / 3, 2 / 3, 0.5, 1]) - 0.5
    found = hypotheses.signed_rank(differences)
    one, _ = signed_ranks_by_enumeration(np.round(differences, 9))
    assert found.p_one == pytest.approx(one, abs=1e-12)
    assert found.n == 8


@pytest.mark.parametrize(("n", "method"), [(40, "exact"), (51, "asymptotic")])
def test_signed_rank_is_scipys_where_scipy_can(n, method):
    differences = np.random.default_rng(n).normal(0.2, 1, n)
    found = hypotheses.signed_rank(differences)
    assert found.p_one == pytest.approx(stats.wilcoxon(differences, alternative="greater", method=method).pvalue)
    assert found.p_two == pytest.approx(stats.wilcoxon(differences, method=method).pvalue)


def test_signed_rank_of_ties_in_many_images_is_quick_and_near_the_normal_approximation():
    differences = np.random.default_rng(3).choice([-0.5, -0.25, 0.25, 0.5], size=50, p=[0.2, 0.2, 0.3, 0.3])
    found = hypotheses.signed_rank(differences)
    # the approximation's error at n = 50
    assert found.p_one == pytest.approx(
        stats.wilcoxon(differences, alternative="greater", method="asymptotic").pvalue, rel=0.1
    )


def test_signed_rank_without_values_is_nan_and_without_differences_is_one():
    assert np.isnan(hypotheses.signed_rank(np.array([np.nan])).p_one)
    found = hypotheses.signed_rank(np.zeros(5))
    assert (found.n, found.p_one, found.p_two, found.rank_biserial) == (5, 1.0, 1.0, 0.0)
    assert np.isnan(found.cohen_dz)


def test_false_alarms_are_as_rare_as_they_say():
    rng = np.random.default_rng(0)
    p = [hypotheses.signed_rank(rng.normal(size=30)).p_one for _ in range(600)]
    # binomial: .05 with a standard error of sqrt(.05 .95 / 600) = .009
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 3 * 0.009


def test_sign_flips_of_few_differences_are_all_of_them():
    differences = np.random.default_rng(2).normal(0.4, 1, 9)
    sums = [np.dot(signs, differences) for signs in itertools.product([-1, 1], repeat=9)]
    above = np.mean(np.array(sums) >= differences.sum() - 1e-9)
    beyond = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)
    assert hypotheses.sign_flip(differences, draws=10, seed=0) == (above, beyond)


def test_drawn_sign_flips_agree_with_scipy():
    differences = np.random.default_rng(3).normal(0.25, 1, 40)
    found = hypotheses.sign_flip(differences, draws=20000, seed=0)
    for p, alternative in zip(found, ("greater", "two-sided"), strict=True):
        other = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=20000,
            vectorized=True, rng=np.random.default_rng(9),
        ).pvalue  # fmt: skip
        # two Monte Carlo errors of at most sqrt(p (1 - p) / 20000)
        assert p == pytest.approx(other, abs=4 * np.sqrt(2 * other * (1 - other) / 20000) + 1e-4)


def test_sign_flips_are_never_zero_and_need_values():
    one, two = hypotheses.sign_flip(np.ones(50), draws=99, seed=0)
    assert (one, two) == (0.01, 0.01)
    assert np.isnan(hypotheses.sign_flip(np.array([]), draws=10, seed=0)).all()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [3, 5, 8, 30])
def test_spearman_is_scipys_and_exact_for_few_pairs(n, ties):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(2, n))
    if ties:
        x[:2] = y[1:3] = 0.5
    r, p = hypotheses.spearman(x, y)
    known = stats.spearmanr(x, y)
    assert r == pytest.approx(known.statistic, abs=1e-12)
    if n > hypotheses.ENUMERATED_PAIRS:
        assert p == pytest.approx(known.pvalue, rel=1e-12)
    else:
        others = [stats.spearmanr(x, order).statistic for order in itertools.permutations(y)]
        assert p == pytest.approx(np.mean(np.abs(others) >= abs(r) - 1e-9))


def test_spearman_of_few_pairs_is_never_certain_and_of_equal_values_unknown():
    four = np.arange(4.0)
    assert hypotheses.spearman(four, four**3) == (1.0, pytest.approx(2 / 24))
    assert np.isnan(hypotheses.spearman(four, np.ones(4))).all()
    with pytest.raises(ValueError, match="finite"):
        hypotheses.spearman(four, np.array([1, 2, np.nan, 3]))
    with pytest.raises(ValueError, match="as long"):
        hypotheses.spearman(four, four[:3])


def test_rank_biserial_counts_pairs_of_walsh_averages():
    """Oracle: W+ is the number of positive Walsh averages (x_i + x_j) / 2, i <= j (Tukey)."""
    differences = np.random.default_rng(4).normal(0.3, 1, 20)
    walsh = [(differences[i] + differences[j]) / 2 for i in range(20) for j in range(i, 20)]
    expected = (np.sum(np.array(walsh) > 0) - np.sum(np.array(walsh) < 0)) / len(walsh)
    assert hypotheses.rank_biserial(differences) == pytest.approx(expected)
    assert hypotheses.rank_biserial(np.array([0.1, 2.0, 3.0])) == 1.0


def test_cohen_dz_is_t_over_root_n():
    differences = np.random.default_rng(5).normal(0.3, 1, 20)
    assert hypotheses.cohen_dz(differences) == pytest.approx(stats.ttest_1samp(differences, 0).statistic / np.sqrt(20))
    assert np.isnan(hypotheses.cohen_dz(np.ones(4)))


def test_holm_is_the_closed_test_of_bonferroni():
    """Oracle: a hypothesis' p is the largest Bonferroni p of all sets of hypotheses that contain it."""
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.6])
    closed = [
        max(
            min(1.0, len(chosen) * p[list(chosen)].min())
            for size in range(1, 6)
            for chosen in itertools.combinations(range(5), size)
            if i in chosen
        )
        for i in range(5)
    ]
    np.testing.assert_allclose(hypotheses.holm(p), closed)


def test_benjamini_hochberg_is_scipys():
    p = np.random.default_rng(6).uniform(size=30) ** 3
    np.testing.assert_allclose(hypotheses.benjamini_hochberg(p), stats.false_discovery_control(p))


def test_corrections_leave_undefined_tests_out():
    for correct in (hypotheses.holm, hypotheses.benjamini_hochberg):
        found = correct([0.02, float("nan"), 0.5])
        np.testing.assert_allclose(found, [0.04, np.nan, 0.5])
        assert len(correct([])) == 0


def anova_by_least_squares(values: np.ndarray) -> dict[str, tuple[float, float]]:
    """F and p of each effect from residual sums of squares of nested linear models with dummy variables."""
    u, i, j = (index.ravel() for index in np.indices(values.shape))
    y = values.ravel()

    def dummies(*factors: np.ndarray) -> np.ndarray:
        code = np.unique(np.stack(factors), axis=1, return_inverse=True)[1].ravel()
        return np.eye(code.max() + 1)[code]

    def rss(*terms: np.ndarray) -> tuple[float, int]:
        X = np.concatenate([np.ones((len(y), 1)), *terms], axis=1)
        rest = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
        return float(rest @ rest), int(np.linalg.matrix_rank(X))

    U, A, B, AB, UA, UB = dummies(u), dummies(i), dummies(j), dummies(i, j), dummies(u, i), dummies(u, j)
    found = {}
    for name, (small, large, with_error) in {
        "A": ((U,), (U, A), (U, UA)),
        "B": ((U,), (U, B), (U, UB)),
        "A:B": ((UA, UB), (UA, UB, AB), (dummies(u, i, j),)),
    }.items():
        (r0, k0), (r1, k1), (r2, k2) = rss(*small), rss(*large), rss(*with_error)
        F = ((r0 - r1) / (k1 - k0)) / ((r1 - r2) / (k2 - k1))
        found[name] = (F, float(stats.f.sf(F, k1 - k0, k2 - k1)))
    return found


def test_anova_is_the_comparison_of_nested_models():
    rng = np.random.default_rng(7)
    values = rng.normal(size=(9, 3, 4)) + rng.normal(size=(9, 1, 1)) + np.linspace(0, 1, 3)[:, None]
    found = hypotheses.repeated_measures_anova(values)
    for name, (F, p) in anova_by_least_squares(values).items():
        assert (found[name].F, found[name].p) == pytest.approx((F, p), rel=1e-8), name
    assert (found["A:B"].df_effect, found["A:B"].df_error) == (6, 48)


def test_anova_of_two_levels_is_a_paired_t_test():
    values = np.random.default_rng(8).normal(size=(12, 2, 2))
    found = hypotheses.repeated_measures_anova(values)
    contrasts = {
        "A": values.mean(axis=2) @ [1, -1],
        "B": values.mean(axis=1) @ [1, -1],
        "A:B": np.einsum("nab,a,b->n", values, [1, -1], [1, -1]),
    }
    for name, contrast in contrasts.items():
        test = stats.ttest_1samp(contrast, 0)
        assert (found[name].F, found[name].p) == pytest.approx((test.statistic**2, test.pvalue)), name
        t2 = test.statistic**2
        assert found[name].partial_eta_squared == pytest.approx(t2 / (t2 + 11))


def test_anova_without_error_or_with_holes():
    effect = np.zeros((4, 2, 3)) + np.arange(3)
    found = hypotheses.repeated_measures_anova(effect)
    assert (found["B"].F, found["B"].p) == (np.inf, 0.0)
    assert np.isnan(found["A"].F)
    effect[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 24 are not finite; leave"):
        hypotheses.repeated_measures_anova(effect)
    with pytest.raises(ValueError, match="two or more each"):
        hypotheses.repeated_measures_anova(np.zeros((3, 1, 4)))
