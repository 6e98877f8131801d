"""Batches of voxels and latents: what is read, in whichever order, scaled as the study says, in bounded memory."""

from __future__ import annotations

import numpy as np

from hpc_recon import extract, ingest
from hpc_recon.numerics.activity import most_active
from hpc_recon.training import latent_data
from hpc_recon.training.order import Order

GENERATOR = {"kind": "pggan", "weights": "g.pt"}


def made(latent_study, run_verb, **changes):
    entry = {"method": "latent_layer", "network": "z", "generator": GENERATOR, "batch": 7, **changes}
    study = latent_study(train={"layer": entry})
    run_verb(ingest, study)
    run_verb(extract, study)
    return study


def test_a_pass_shows_every_sample_with_its_latent(latent_study, run_verb, tmp_path):
    study = made(latent_study, run_verb)
    file = np.load(tmp_path / "lab.npz")
    X, T = file["X"].astype(np.float32), file["T"]
    stream = latent_data.stream(study, "layer", "S1", "VC")
    assert stream.n_inputs == 20
    batches = [stream.batch(step) for step in range(12)]
    voxels = np.concatenate([batch["voxels"] for batch in batches])[:80]
    latents = np.concatenate([batch["latents"] for batch in batches])[:80]
    which = np.array([np.abs(X - one).sum(axis=1).argmin() for one in voxels])
    np.testing.assert_array_equal(voxels, X[which])
    np.testing.assert_array_equal(latents, T[which])
    for own in (which[:40], which[40:]):  # two passes, each in an order of its own
        assert sorted(own) == list(range(40))
    assert (which[:40] != which[40:]).any()
    # A buffer that holds not all of them gives other orders of the same samples.
    small = latent_data.LatentStream(
        7, Order(40, 16, 5, every_pass=True), stream.scaling, stream.stimuli, stream.read_samples, stream.read_latents
    )
    again = [small.batch(step) for step in range(6)]
    voxels = np.concatenate([batch["voxels"] for batch in again])[:40]
    which = np.array([np.abs(X - one).sum(axis=1).argmin() for one in voxels])
    np.testing.assert_array_equal(np.concatenate([batch["latents"] for batch in again])[:40], T[which])
    assert sorted(which) == list(range(40))
    assert len(small._held) == 2
    shown = stream.examples(3)
    which = [np.abs(X - one).sum(axis=1).argmin() for one in shown["voxels"]]
    np.testing.assert_array_equal(shown["latents"], T[which])
    assert len(set(which)) == 3


def test_scaling_is_the_study_s(latent_study, run_verb, tmp_path):
    study = made(latent_study, run_verb)
    X = np.load(tmp_path / "lab.npz")["X"].astype(np.float32)
    for by in ("mean", "t"):
        chosen = {"inputs": "z_scored", "most_active": {"voxels": 8, "by": by}}
        options = study.train["layer"]
        own = type(options).model_validate({**options.model_dump(), **chosen})
        changed = study.model_copy(update={"train": {"layer": own}})
        stream = latent_data.stream(changed, "layer", "S1", "VC")
        kept = most_active(X, 8, by=by)
        expected = np.zeros_like(X)
        expected[:, kept] = ((X - X.mean(axis=0)) / X.std(axis=0))[:, kept]
        np.testing.assert_allclose(stream.scaling.apply(X), expected, rtol=1e-4, atol=1e-5)
        known = latent_data.stream(changed, "layer", "S1", "VC", scaling=stream.scaling)
        assert known.scaling is stream.scaling


def test_what_does_not_fit_is_read_in_buffers():
    from hpc_recon.core.latent_layer_options import LatentLayerTraining

    options = LatentLayerTraining(
        method="latent_layer", network="z", generator={"kind": "pggan", "weights": "random:0"}
    )
    assert latent_data.in_buffer(options, n_samples=1050, n_voxels=4096, n_numbers=512) == 1050
    small = options.model_copy(update={"buffer_bytes": 10_000_000})
    assert latent_data.in_buffer(small, n_samples=1050, n_voxels=4096, n_numbers=512) == 256
