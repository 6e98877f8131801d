"""The page of latents: the baseline beside the score, a plot for each attribute, text escaped, strips where shown."""

from __future__ import annotations

import numpy as np

from hpc_recon.reporting import latent_page

SUMMARY = {
    "n": 2,
    "n_numbers": 6,
    "mean": {"latent_similarity": 0.45, "latent_similarity_of_zeros": 0.502},
    "standard_error": {"latent_similarity": 0.01, "latent_similarity_of_zeros": None},
    "correlation_by_number": {"mean": 0.3},
    "p_shuffled_pairs": {"cosine": 0.0005},
    "p_random_latents": {"feature_similarity_face": 0.0012},
    "attributes": [
        {"name": "<age>", "conditions": ["smile"], "r": 0.68, "slope": 0.4, "decoded": [0.1, 0.4], "true": [0.0, 1.0]}
    ],
}


def test_the_baseline_stands_beside_the_score_and_text_is_escaped():
    found = latent_page.render("a <study>", [latent_page.Scores("hyper", ("S1", "VC", "test"), SUMMARY)])
    assert found.index("0.450 (standard error 0.010)") < found.index("0.502")
    assert "a &lt;study&gt;" in found
    assert found.index("p of cosine, shuffled pairs") < found.index("p of feature similarity face, random latents")
    assert "0.0012" in found
    assert "&lt;age&gt;, without smile: r = 0.68, slope 0.40" in found
    assert found.count("<svg") == 1
    assert "<img" not in found


def test_strips_are_embedded_where_they_are_given():
    strips = {"face": np.zeros((1, 3, 4, 4, 3), np.uint8)}
    found = latent_page.render("s", [latent_page.Scores("hyper", ("S1", "VC", "test"), SUMMARY, strips)])
    assert found.count("data:image/png;base64,") == 3


def test_nothing_scored_is_said():
    found = latent_page.render("s", [latent_page.Scores("hyper", ("S1", "VC", "nothing"), {"n": 0})])
    assert "nothing is scored" in found
