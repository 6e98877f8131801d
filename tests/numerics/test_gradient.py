"""Layers trained by Adam: against torch's, against ridge in closed form, and whatever is trained together."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import gradient
from hpc_recon.numerics.all_voxels import fit_units as closed_form
from hpc_recon.numerics.decoder import UNIT_BLOCK, predict_units
from hpc_recon.numerics.factorisation import prepare, sample_statistics
from hpc_recon.numerics.gradient import Schedule, fit_units, train
from hpc_recon.numerics.stats import standardise

SHORT = Schedule(learning_rate=3e-3, batch=7, epochs=6)


def study(n=40, p=12, n_units=3, *, dtype=np.float64, constant=0):
    """Every stimulus has one or two samples; some voxels and the last unit may be constant."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(n - 10, 4))
    stimulus = rng.permutation(np.r_[np.arange(n - 10), np.arange(10)])
    X = latent[stimulus] @ rng.normal(size=(4, p)) + rng.normal(size=(n, p)) + 2
    X[:, :constant] = 7.0
    Y = latent @ rng.normal(size=(4, n_units)) + 0.3 * rng.normal(size=(n - 10, n_units)) + 1
    return X.astype(dtype), Y.astype(dtype), stimulus


def by_torch(X, Y, stimulus, schedule, *, n_units, seed):
    """The same batches and first weights through torch's own layer, autograd and Adam."""
    import torch

    layer = torch.nn.Linear(X.shape[1], Y.shape[1], dtype=torch.float64)
    begin = [gradient._begin(seed, unit, X.shape[1], schedule.start) for unit in range(Y.shape[1])]
    with torch.no_grad():
        layer.weight[:] = torch.from_numpy(np.stack(begin))
        layer.bias[:] = 0
    groups = [
        {"params": [layer.weight], "weight_decay": schedule.weight_decay},
        {"params": [layer.bias], "weight_decay": schedule.weight_decay if schedule.decay_bias else 0.0},
    ]
    betas = (schedule.beta1, schedule.beta2)
    adam = torch.optim.Adam(groups, lr=schedule.learning_rate, betas=betas, eps=schedule.epsilon)
    rng = np.random.default_rng(seed)
    inputs, targets = torch.from_numpy(X), torch.from_numpy(Y[stimulus])
    for _ in range(schedule.epochs):
        order = torch.from_numpy(rng.permutation(len(X)))
        for rows in order.split(schedule.batch):
            error = layer(inputs[rows]) - targets[rows]
            adam.zero_grad()
            (error.square().sum() / (2 * len(rows) * n_units)).backward()
            adam.step()
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()


@pytest.mark.parametrize("changes", [{}, {"decay_bias": False, "beta1": 0.5, "beta2": 0.9}, {"epsilon": 1e-2}], ids=str)
def test_steps_are_those_of_torch(changes) -> None:
    X, Y, stimulus = study()
    schedule = replace(SHORT, **changes)
    W, b = train(X, Y, stimulus, schedule=schedule, n_units=5, seed=3)
    expected_W, expected_b = by_torch(X, Y, stimulus, schedule, n_units=5, seed=3)
    np.testing.assert_allclose(W, expected_W, rtol=0, atol=1e-12)
    np.testing.assert_allclose(b, expected_b, rtol=0, atol=1e-12)
    assert np.abs(W - expected_W.mean()).max() > 0.01


def test_plain_and_compiled_steps_are_the_same(monkeypatch) -> None:
    """What a GPU computes with, on numpy."""
    X, Y, stimulus = study()
    known = train(X, Y, stimulus, schedule=SHORT, n_units=3, seed=0)
    monkeypatch.setattr(gradient, "_update_compiled", gradient._update)
    for own, other in zip(train(X, Y, stimulus, schedule=SHORT, n_units=3, seed=0), known, strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("constant", [0, 2])
def test_trained_to_convergence_is_ridge_with_the_stated_penalty(constant) -> None:
    """alpha = weight_decay * samples * units of the layer; 40 samples in one batch, z-scored, bias not decayed."""
    X, Y, stimulus = study(constant=constant)
    Y[:, 2] = 4.0
    schedule = Schedule(
        learning_rate=1e-2, weight_decay=0.05, decay_bias=False, batch=40, epochs=4000, inputs="z_scored",
        targets="z_scored",
    )  # fmt: skip
    brain = sample_statistics(X, stimulus, n_stimuli=30)
    own = fit_units(X, stimulus, brain, Y, schedule=schedule, n_units=3, seed=0)
    shared = prepare(X, stimulus, brain, n_alphas=1)
    for alpha, same in ((schedule.equivalent_alpha(40, 3), True), (schedule.equivalent_alpha(40, 1), False)):
        known = closed_form(shared, brain, Y, alpha=alpha)
        np.testing.assert_array_equal(own.voxel, known.voxel)
        # Adam with a constant rate comes to about a thousandth of it, here 6e-6, and stays around there.
        assert np.allclose(own.weight, known.weight, rtol=0, atol=2e-5) == same
    np.testing.assert_allclose(own.bias, known.bias, atol=2e-5)
    assert schedule.equivalent_alpha(40, 3) == pytest.approx(6.0)
    assert not own.weight[2].any()  # a constant unit predicts its mean


def test_inputs_and_targets_as_stored_are_converted_to_the_z_scored_scale() -> None:
    X, Y, stimulus = study(constant=1)
    brain = sample_statistics(X, stimulus, n_stimuli=30)
    own = fit_units(X, stimulus, brain, Y, schedule=SHORT, n_units=3, seed=1)
    W, b = train(np.ascontiguousarray(X[:, 1:]), Y, stimulus, schedule=SHORT, n_units=3, seed=1)
    new = X[:5] + 0.5
    new[:, 0] = 7.0
    Z = standardise(new, mean=brain.mean, scale=brain.scale, dtype=np.float64)
    np.testing.assert_allclose(predict_units(Z, own), new[:, 1:] @ W + b, rtol=1e-12)


def test_neither_threads_nor_neighbours_change_a_bit() -> None:
    X, Y, stimulus = study(n_units=UNIT_BLOCK + 5, dtype=np.float32)
    brain = sample_statistics(X, stimulus, n_stimuli=30)
    options = {"schedule": SHORT, "n_units": Y.shape[1], "seed": 2}
    one, two = (fit_units(X, stimulus, brain, Y, n_threads=n, **options) for n in (1, 2))
    part = fit_units(X, stimulus, brain, Y[:, 100:120], first=100, **options)
    assert one.weight.dtype == np.float32
    np.testing.assert_array_equal(one.weight, two.weight)
    np.testing.assert_array_equal(one.weight[100:120], part.weight)
    np.testing.assert_array_equal(one.bias[100:120], part.bias)
    other = fit_units(X, stimulus, brain, Y[:, 100:120], first=100, **{**options, "seed": 3})
    assert not np.array_equal(part.weight, other.weight)


def test_a_training_that_diverges_is_an_error() -> None:
    X, Y, stimulus = study(dtype=np.float32)
    brain = sample_statistics(X, stimulus, n_stimuli=30)
    schedule = replace(SHORT, learning_rate=1e30, epsilon=1e-30)
    with np.errstate(all="ignore"), pytest.raises(DataError, match="smaller learning_rate"):
        fit_units(X, stimulus, brain, Y, schedule=schedule, n_units=3, seed=0)


def test_projected_memory_and_seconds() -> None:
    X, Y, stimulus = study(300, 900, 20, dtype=np.float32)
    brain = sample_statistics(X, stimulus, n_stimuli=290)
    tracemalloc.start()
    fit_units(X, stimulus, brain, Y, schedule=replace(SHORT, epochs=1), n_units=20, seed=0, n_threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    projected = gradient.fit_bytes(20, 900, n_samples=300, n_stimuli=290, n_threads=1)
    assert 0.3 < peak / projected <= 1
    seconds = [gradient.fit_seconds(512, 4096, n_samples=1050, schedule=s, n_threads=1) for s in (Schedule(), SHORT)]
    assert seconds[0] > 100 * seconds[1] > 0
