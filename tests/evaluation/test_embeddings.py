"""Rendered images in the features of networks, and random latents as a null: against the networks' own features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torchvision import models

from hpc_recon import decode, evaluate, extract, fit, ingest, reconstruct
from hpc_recon.core.errors import StudyError
from hpc_recon.evaluation import embeddings, latents
from hpc_recon.numerics import latent_scores
from hpc_recon.reporting import latent_page
from hpc_recon.stores import arrays, images, layout, shapes

PLACE = ("S1", "VC", "natural")
ENTRY = {
    "method": "latent",
    "network": "z",
    "generator": {"kind": "pggan", "weights": "g.pt"},
    "embeddings": {
        "own": {"network": "small", "layer": "conv3_1"},
        "net": {"metric": "efficientnet_v1", "weights": "net.pt", "layer": "features.0", "size": 32},
    },
    "random_latents": 12,
}
#: As `latent_study` has them.
ARRAYS = [
    {"file": "lab.npz", "key": "T", "dataset": "training"},
    {"file": "test.npy", "dataset": "natural", "unit_shape": [6]},
]
SMALL = {"architecture": "vgg11_quarter", "weights": "random:1", "layers": ["conv3_1"], "transform": "abs"}


@pytest.fixture
def embedding_study(latent_study, tmp_path, monkeypatch):
    """Return a function that makes a study with two entries: decoded latents, and true ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(models.efficientnet_b1(weights=None).state_dict(), tmp_path / "net.pt")

    def make(**changes):
        entry = {**ENTRY, **changes}
        latents = {"architecture": "features", "features": {"arrays": {"z": ARRAYS}}, "layers": ["z"]}
        entries = {"decoded": entry, "truth": {**entry, "source": "true"}}
        return latent_study(entries, networks={"z": latents, "small": SMALL})

    return make


def test_features_of_images_and_random_latents(embedding_study, run_verb) -> None:
    study = embedding_study()
    for verb in (ingest, extract, fit, decode, reconstruct, evaluate):
        run_verb(verb, study)
    found = {variant: summary for (variant, _), summary in latents.read(study).items()}
    scores = ("feature_similarity_own", "feature_similarity_net")
    for name in scores:
        assert found["truth"]["mean"][name] > found["decoded"]["mean"][name] > 0
        assert found["truth"]["p_shuffled_pairs"][name] == pytest.approx(1 / 2001, abs=0.01)
    # The published number by hand, from stored features of the stimuli and those of the images as files.
    names = [f"s{i:03d}" for i in range(40, 46)]
    made_by = "/".join(("reconstruct", "decoded", *PLACE))
    made = [
        images.read_picture(
            study.workspace, layout.image_file(study, "decoded", *PLACE, name), made_by=made_by, size=(16, 16)
        )
        for name in names
    ]
    of_made = embeddings.Embedder.of(study, study.reconstruct["decoded"]).embed(np.stack(made))["own"]
    stored = arrays.read(study.workspace, layout.features("small", "conv3_1"))[40:]
    error = np.square(of_made.astype(np.float64) - stored).mean(axis=1)
    assert found["decoded"]["mean"][scores[0]] == pytest.approx(np.mean(1 / (1 + error)), rel=1e-5)
    own = embeddings.Embedder.of(study, study.reconstruct["decoded"]).embed(
        images.read_images(study.workspace, slice(40, 46)) / 255
    )
    np.testing.assert_allclose(own["own"], stored, rtol=1e-5, atol=1e-6)
    # Decoded latents beat random ones, which are as long.
    for name in ("cosine", "latent_similarity", *scores):
        assert found["truth"]["p_random_latents"][name] < 0.01
        assert found["decoded"]["p_random_latents"][name] < 0.05
    assert set(found["decoded"]["p_random_latents"]) == {"cosine", "latent_similarity", "ssim_uniform7", *scores}
    page = latent_page.render("s", [latent_page.Scores("decoded", PLACE, found["decoded"])])
    assert "feature similarity net" in page
    assert "p of ssim uniform7, random latents" in page
    again = embedding_study(embeddings={}, random_latents=0)
    settings = [json.loads(latents.tiles(s, shapes.read(s))[0].group.settings) for s in (study, again)]
    assert settings[0]["embeddings"]["net"]["layer"] == "features.0"
    assert "embeddings" not in settings[1]


def test_random_latents_are_as_long_as_decoded_ones_and_as_chance_where_nothing_is_decoded(monkeypatch) -> None:
    monkeypatch.setattr(embeddings, "RANDOM_LATENTS", 40)
    rng = np.random.default_rng(0)
    true, training = rng.normal(size=(8, 12)), rng.normal(size=(200, 12))
    p = [
        embeddings.p_of_random_latents(0.3 * rng.normal(size=true.shape), true, training, n=99, rng=rng)
        for _ in range(40)
    ]
    for name in ("cosine", "latent_similarity"):
        assert 0.3 < np.mean([one[name] for one in p]) < 0.7
    # Zeros score .50 and random latents .33; but decoded ones as short as that gain nothing by it.
    short = 0.01 * rng.normal(size=true.shape)
    assert latent_scores.similarity(short, true).mean() > 0.45
    assert embeddings.p_of_random_latents(short, true, training, n=99, rng=rng)["latent_similarity"] > 0.02


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ({"layer": "fc"}, "give either network"),
        ({"metric": "clip", "layer": "head"}, "give either network"),
        ({"network": "z", "layer": "z"}, "come from files alone"),
        ({"network": "face", "layer": "z"}, "unknown name 'face'"),
    ],
    ids=str,
)
def test_what_is_no_embedding_is_said_with_its_place(latent_study, embedding, message) -> None:
    with pytest.raises(StudyError, match=message):
        latent_study({"decoded": {**ENTRY, "embeddings": {"own": embedding}}})
