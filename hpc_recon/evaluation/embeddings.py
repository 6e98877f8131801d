"""Images compared in networks that the study names, and random latents as what would be scored by chance.

Shuffled pairs ask whether images show their own stimulus rather than another one; random latents ask whether they show
anything of it, beyond what every image of the generator does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.latent_options import Embedding, LatentOptions
from hpc_recon.core.tiles import ranges
from hpc_recon.evaluation.presets import ARCHITECTURES, PREPROCESSING
from hpc_recon.evaluation.published import resized
from hpc_recon.nets import devices, features, identity, latent_generators, metric_networks
from hpc_recon.numerics import calibration, latent_scores

#: Images that are rendered and embedded together.
_IMAGES = 16
#: Random latents of each item, where nothing is rendered for them.
RANDOM_LATENTS = 200


def settings(study: Study, options: LatentOptions) -> dict[str, Any]:
    """Return what scores in networks and nulls depend on: weights count by content; nothing where neither is wanted."""
    found: dict[str, Any] = {}
    for name, own in options.embeddings.items():
        if own.network is not None:
            what: object = identity.identity(study.networks[own.network])
        else:
            assert own.weights is not None, "validated"
            # A file that is not there yet is said by `evaluate`, which reads it.
            digest = identity.file_sha256(own.weights) if own.weights.is_file() else str(own.weights)
            what = {"metric": own.metric, "weights": digest, "size": own.size}
        found[name] = {"what": what, "layer": own.layer}
    more: dict[str, Any] = {"embeddings": found} if found else {}
    if options.random_latents:
        more["random_latents"] = options.random_latents
    return more


@dataclass(frozen=True)
class Embedder:
    """The networks of an entry, each loaded once."""

    study: Study
    options: LatentOptions
    bodies: Mapping[str, metric_networks.Body]

    @classmethod
    def of(cls, study: Study, options: LatentOptions) -> Embedder:
        """Load the networks.

        Raises
        ------
        DataError
            If a weights file does not hold its network.
        """
        bodies = {}
        for name, own in options.embeddings.items():
            if own.metric is not None:
                assert own.weights is not None, "validated"
                bodies[name] = metric_networks.load(ARCHITECTURES[own.metric], own.weights)
        return cls(study, options, bodies)

    def embed(self, pictures: Array) -> dict[str, Array]:
        """Return the features of images (n, H, W, 3) in [0, 1] by embedding, (n, n_units) float32.

        Images are brought to 8 bits first, as stimuli are.
        """
        whole = np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
        return {name: self._one(name, own, whole) for name, own in self.options.embeddings.items()}

    def _one(self, name: str, own: Embedding, pictures: Array) -> Array:
        if own.network is not None:
            network = self.study.networks[own.network]
            values, _ = features.compute(network, [own.layer], pictures=pictures)[own.layer]
            features.require_finite(values, layer=own.layer, dtype="float32")
            return np.abs(values) if network.transform == "abs" else values
        assert own.metric is not None, "validated"
        parts = [
            metric_networks.activations(
                self.bodies[name],
                [own.layer],
                resized("brain-diffuser", pictures[start:stop].astype(np.float32) / 255, own.size),
                preprocessing=PREPROCESSING.get(own.metric, "imagenet"),
            )[own.layer]
            for start, stop in ranges(len(pictures), _IMAGES)
        ]
        return np.concatenate(parts)


def compare(made: Mapping[str, Array], true: Mapping[str, Array]) -> dict[str, Array]:
    """Return 1 / (1 + mean squared error) of the features of each image with its stimulus', by score, (n,)."""
    return {f"feature_similarity_{name}": latent_scores.similarity(made[name], true[name]) for name in made}


def p_of_shuffled_pairs(
    made: Mapping[str, Array], true: Mapping[str, Array], *, n: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return how often shuffled pairs of images have a mean feature similarity as large, by score."""
    found = {}
    for name, own in made.items():
        table = np.stack([latent_scores.similarity(own, np.broadcast_to(one, own.shape)) for one in true[name]], axis=1)
        found[f"feature_similarity_{name}"] = latent_scores.permutation_p(table, n=n, rng=rng)
    return found


def p_of_random_latents(
    decoded: Array, true: Array, training: Array, *, n: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return how often random latents score as well as decoded ones, by score of latents.

    They are normal, with mean and deviation of each number over training, and as long as the decoded ones, so that
    shrinkage gives no advantage.
    """
    functions = {"latent_similarity": latent_scores.similarity, "cosine": latent_scores.cosine}
    lengths = np.linalg.norm(decoded, axis=1)[:, None]
    null: dict[str, list[Array]] = {name: [] for name in functions}
    for _ in range(RANDOM_LATENTS):
        drawn = _drawn(training, len(decoded), rng)
        drawn *= lengths / np.linalg.norm(drawn, axis=1, keepdims=True)
        for name, function in functions.items():
            null[name].append(function(drawn, true))
    return {
        name: latent_scores.null_p(function(decoded, true), np.stack(null[name], axis=1), n=n, rng=rng)
        for name, function in functions.items()
    }


def p_of_random_images(
    embedder: Embedder,
    items: Mapping[str, Array],
    pictures: Array,
    embedded: Mapping[str, Array],
    training: Array,
    *,
    n: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return how often images of random latents score as well as those of decoded ones, by score of images.

    Parameters
    ----------
    items
        Scores of the items, (n_items,) each: `ssim_uniform7` and those of `compare` are tested.
    pictures, embedded
        The stimuli (n_items, H, W, 3) in [0, 1], and their features.
    training
        Latents of training stimuli, whose mean and deviation random ones have.
    """
    options = embedder.options
    each = -(-options.random_latents // len(pictures))
    null: dict[str, list[Array]] = {}
    for _ in range(each):
        latents = _drawn(training, len(pictures), rng).astype(np.float32)
        if options.calibration == "norm":
            latents = calibration.to_norm(latents)
        made = np.concatenate(
            [
                latent_generators.render(
                    latents[start:stop], options.generator, size=pictures.shape[1:3], device=devices.choose()
                )
                for start, stop in ranges(len(latents), _IMAGES)
            ]
        )
        scored = compare(embedder.embed(made), embedded)
        if "ssim_uniform7" in items:
            scored["ssim_uniform7"] = latent_scores.ssim_uniform(made, pictures)
        for name, values in scored.items():
            null.setdefault(name, []).append(values)
    return {name: latent_scores.null_p(items[name], np.stack(own, axis=1), n=n, rng=rng) for name, own in null.items()}


def _drawn(training: Array, n: int, rng: np.random.Generator) -> Array:
    mean, deviation = calibration.moments(training)
    return mean + deviation * rng.standard_normal((n, len(mean)))
