"""Directions in latent space: scores, edits and conditions, by their geometry."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.nets import attributes

RNG = np.random.default_rng(5)


def _options(tmp_path, conditions=(), **vectors):
    for name, values in vectors.items():
        np.save(tmp_path / f"{name}.npy", values)
    named = {name: {"file": tmp_path / f"{name}.npy"} for name in vectors}
    if conditions:
        named["a"]["conditions"] = conditions
    generator = {"kind": "pggan", "weights": "random:0"}
    return LatentOptions(method="latent", network="z", generator=generator, attributes=named)


def test_scores_are_signed_distances_and_an_edit_moves_the_score_by_its_step():
    direction, z = RNG.normal(size=8), RNG.normal(size=8)
    moved = attributes.edited(z, direction, steps=np.array([-2.0, 0.0, 3.0]))
    start = attributes.scores(z[None], direction)[0]
    assert start == pytest.approx(z @ direction / np.linalg.norm(direction))
    np.testing.assert_allclose(attributes.scores(moved, direction), start + np.array([-2, 0, 3]), atol=1e-5)
    np.testing.assert_allclose(moved[1], z, rtol=1e-6)


def test_a_conditioned_direction_leaves_its_conditions_alone():
    a, b, c = RNG.normal(size=(3, 8))
    c = c + b  # conditions that have something in common
    found = attributes.conditioned(a, [b, c])
    assert np.linalg.norm(found) == pytest.approx(1)
    np.testing.assert_allclose([found @ b, found @ c], 0, atol=1e-12)
    one = attributes.conditioned(a, [b])
    by_hand = attributes.unit(a) - (attributes.unit(a) @ attributes.unit(b)) * attributes.unit(b)
    np.testing.assert_allclose(one, by_hand / np.linalg.norm(by_hand))
    with pytest.raises(ValueError, match="nothing is left"):
        attributes.conditioned(b + c, [b, c])


def test_directions_are_read_conditioned_and_compared(tmp_path):
    a, b = RNG.normal(size=(2, 1, 6))
    found = attributes.read(_options(tmp_path, conditions=("b",), a=a, b=b))
    assert attributes.cosines(found)[0, 1] == pytest.approx(0, abs=1e-12)
    plain = attributes.read(_options(tmp_path, a=a, b=b))
    assert attributes.cosines(plain)[0, 1] == pytest.approx(
        float((a @ b.T).item() / np.linalg.norm(a) / np.linalg.norm(b))
    )
    assert attributes.digest(found["a"]) != attributes.digest(plain["a"])
    with pytest.raises(DataError, match="a latent has 7 numbers, but a has 6"):
        attributes.require_length(plain, 7)


def test_files_that_are_no_direction_are_named(tmp_path):
    for wrong in (np.zeros(3), np.array([1.0, np.nan]), np.array(["x"])):
        with pytest.raises(DataError, match=r"attribute a: .*must hold finite numbers"):
            attributes.read(_options(tmp_path, a=wrong))
    with pytest.raises(DataError, match="different lengths: a 3, b 4"):
        attributes.read(_options(tmp_path, a=np.ones(3), b=np.ones(4)))
    (tmp_path / "a.npy").write_bytes(b"?")
    options = _options(tmp_path, a=np.ones(3))
    (tmp_path / "a.npy").write_bytes(b"?")
    with pytest.raises(DataError, match=r"cannot be read as \.npy"):
        attributes.read(options)
