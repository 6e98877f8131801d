"""The automaton that suspends a network: scripted traces."""

from __future__ import annotations

import itertools

import pytest

from hpc_recon.methods.suspension import Suspension

BOTH, ONLY_G, ONLY_D = Suspension(), Suspension(True, False), Suspension(False, True)


def trace(ratios: list[float], start: Suspension = BOTH) -> list[Suspension]:
    states = []
    for ratio in ratios:
        start = start.after(real=0.25 * ratio, fake=0.75 * ratio, fooled=1.0)
        states.append(start)
    return states


@pytest.mark.parametrize(
    ("ratios", "states"),
    [
        ([0.3, 1.0, 9.9], [BOTH, BOTH, BOTH]),
        ([0.09, 0.11, 0.4, 0.49], [ONLY_G, ONLY_G, ONLY_G, ONLY_G]),  # hysteresis: back above 0.5 alone
        ([0.09, 0.51, 0.3], [ONLY_G, BOTH, BOTH]),
        ([10.5, 5.0, 0.6, 0.2], [ONLY_D, ONLY_D, ONLY_D, ONLY_D]),  # a frozen generator waits for a good discriminator
        ([10.5, 0.05, 0.2, 0.6], [ONLY_D, ONLY_G, ONLY_G, BOTH]),
        ([0.05, 11.0], [ONLY_G, ONLY_D]),  # both rules in one step: first both train, then the generator stops
        ([0.1, 10.0], [BOTH, BOTH]),  # strict bounds
    ],
)
def test_scripted_traces(ratios, states):
    assert trace(ratios) == states


def test_never_are_both_suspended():
    ratios = [0.01, 0.1, 0.3, 0.5, 0.7, 10.0, 20.0]
    for script in itertools.product(ratios, repeat=4):
        assert all(state.generator or state.discriminator for state in trace(list(script)))


def test_a_generator_that_fools_without_loss_is_suspended():
    assert BOTH.after(real=1.0, fake=1.0, fooled=0.0) == ONLY_D
