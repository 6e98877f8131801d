"""Likeness of decoded items and training stimuli, against scikit-learn's correlation distances."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances

from hpc_recon.numerics import nearness, scores


def zscored(values, true):
    varies = np.ptp(true, axis=0) > 0
    return (values[:, varies] - true.mean(axis=0)[varies]) / true.std(axis=0, ddof=1)[varies]


def test_blocks_of_units_add_up_to_an_independent_programs_distances() -> None:
    rng = np.random.default_rng(3)
    true = rng.normal(size=(9, 40)) + rng.normal(size=40)
    true[:, [4, 30]] = 2.5  # constant in training: no unit of the comparison, whatever is decoded there
    decoded = {"a": rng.normal(size=(4, 40)), "b": true[[7, 2]] + 0.1 * rng.normal(size=(2, 40))}
    mean, scale = true.mean(axis=0), np.where(np.ptp(true, axis=0) > 0, true.std(axis=0, ddof=1), 0.0)
    total = {name: scores.products(np.empty((len(v), 0)), np.empty((9, 0))) for name, v in decoded.items()}
    for start, stop in ((0, 17), (17, 18), (18, 40)):
        part = {name: values[:, start:stop] for name, values in decoded.items()}
        found = nearness.with_training(part, true[:, start:stop], mean=mean[start:stop], scale=scale[start:stop])
        total = {name: total[name] + found[name] for name in total}
    for name, values in decoded.items():
        expected = 1 - pairwise_distances(zscored(values, true), zscored(true, true), metric="correlation")
        np.testing.assert_allclose(total[name].correlation(), expected, rtol=0, atol=1e-12)
    assert nearness.nearest([total["b"].correlation()]).tolist() == [[7], [2]]


def test_the_nearest_are_those_of_the_sum_over_layers_and_ties_go_to_the_first() -> None:
    one = np.array([[0.5, 0.9, 0.1], [0.2, 0.2, np.nan]])
    two = np.array([[0.6, 0.0, 0.3], [0.1, 0.1, 0.3]])
    assert nearness.nearest([one, two]).tolist() == [[0], [0]]
    assert nearness.nearest([one, two], 3).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert nearness.nearest([one], 2).tolist() == [[1, 0], [0, 1]]
    assert nearness.nearest([one], 9).shape == (2, 3)


def test_one_is_what_argmax_finds() -> None:
    rng = np.random.default_rng(0)
    layers = [rng.integers(-3, 4, (50, 6)).astype(np.float32) for _ in range(2)]  # many ties
    assert (nearness.nearest(layers)[:, 0] == np.argmax(layers[0] + layers[1], axis=1)).all()
