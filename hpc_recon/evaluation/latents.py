"""Score the latents that a method rendered against the true ones of the stimuli: `scores/latents/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.files import write_atomic, write_json
from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.core.memory import array_bytes
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical
from hpc_recon.evaluation import embeddings
from hpc_recon.evaluation.images import reconstructions
from hpc_recon.nets import attributes, costs, latent_generators
from hpc_recon.numerics import latent_scores, scores
from hpc_recon.stores import images, layout
from hpc_recon.stores.items import read_shown, training_rows, true_features

#: Shuffles of the permutation tests, and draws of random latents.
SHUFFLES = 2000
#: A network with its weights and the activations of a batch.
NETWORK_BYTES = 3400 * 2**20
Place = tuple[str, str, str]


def tiles(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile for each split, ROI and dataset of each entry of method `latent`."""
    found = []
    for variant, options in study.reconstruct.items():
        if not isinstance(options, LatentOptions):
            continue
        layers = study.layers_of(options)
        d = sum(shapes.n_units(options.network, layer) for layer in layers)
        directions = {name: attributes.digest(values) for name, values in _directions(options).items()}
        settings = canonical(
            {
                "attributes": directions,
                "shuffles": SHUFFLES,
                "random_latents_of_each": embeddings.RANDOM_LATENTS,
                "seed": study.seed,
                "layers": list(layers),
                **embeddings.settings(study, options),
            }
        )
        more_bytes, more_images = _need_of_networks(options)
        height, width = shapes.image_size()
        for place in study.image_sets(variant):
            n = shapes.n_items(place[0], place[2])
            values = array_bytes(n, d, itemsize=8)
            need = Need(
                host_bytes=costs.TORCH_BYTES
                + 14 * values
                + 4 * array_bytes(shapes.n_stimuli(), d, itemsize=8)
                + 8 * array_bytes(n, height, width, 3, itemsize=8)
                + more_bytes,
                bytes_in=array_bytes(2 * n, d) + array_bytes(2 * n, height, width, 3),
                bytes_out=200 * n + 20 * d,
                files_out=2,
                seconds=1 + SHUFFLES * n * d / 1e8 + (n + more_images) * (0.1 + height * width / 1e6),
            )
            upstream = ("/".join(("reconstruct", variant, *place)), f"extract/{options.network}")
            group = Group("evaluate", ("latents", variant, *place), settings, upstream)
            found.append(Tile(group, "latents", 0, 1, need))
    return found


def _need_of_networks(options: LatentOptions) -> tuple[int, int]:
    """Return bytes and images of networks and generator: weights and activations of a batch, and rendered latents."""
    if not options.embeddings and not options.random_latents:
        return 0, 0
    shape = latent_generators.describe(options.generator)
    own = 2 * array_bytes(shape.n_parameters) + array_bytes(shape.n_activations, itemsize=8)
    return NETWORK_BYTES * bool(options.embeddings) + own, options.random_latents


def _directions(options: LatentOptions) -> dict[str, Array]:
    """Return the directions of attributes; none where a file is not there yet, which `reconstruct` will say."""
    there = all(attribute.file.is_file() for attribute in options.attributes.values())
    return attributes.read(options) if there else {}


def file_of(study: Study, variant: str, place: Place, ending: str) -> Path:
    """Return where the scores of one set of latents lie."""
    return layout.workspace_of(study).joinpath("scores", "latents", variant, "-".join(place) + ending)


def score(study: Study, tile: Tile) -> list[Path]:
    """Score one set of latents: a table of items, and a summary with tests and attributes.

    Raises
    ------
    MissingStore
        If a latent was not written; names the command.
    """
    _, variant, split, roi, dataset = tile.group.path
    place, options = (split, roi, dataset), study.reconstruct[variant]
    assert isinstance(options, LatentOptions), options.method
    shown = read_shown(study, split, dataset)
    scored = np.flatnonzero(shown.rows >= 0)
    summary_file, table_file = (file_of(study, variant, place, ending) for ending in (".json", ".csv"))
    if not len(scored):
        return [write_json(summary_file, {"n": 0}), write_atomic(table_file, b"item\n")]
    names, rows = [shown.names[i] for i in scored], shown.rows[scored]
    decoded = _rendered(study, variant, place, names)
    true = _true(study, options, rows)
    items = {
        "latent_similarity": latent_scores.similarity(decoded, true),
        "cosine": latent_scores.cosine(decoded, true),
    }
    items["latent_similarity_of_zeros"] = latent_scores.similarity(np.zeros_like(true), true)
    stimuli, first, target = np.unique(rows, return_index=True, return_inverse=True)
    if len(stimuli) > 1:
        found = scores.pairwise_identification(latent_scores.cosines(decoded, true[first]), target)
        items["identification"] = found.accuracy
    made, shown_images = _pictures(study, variant, place, names, rows)
    if min(made.shape[1:3]) >= 7:
        items["ssim_uniform7"] = latent_scores.ssim_uniform(made, shown_images)
    embedder = embeddings.Embedder.of(study, options)
    of_made, of_shown = embedder.embed(made), embedder.embed(shown_images)
    items |= embeddings.compare(of_made, of_shown)
    summary = _summary(study, variant, place, decoded, true)
    rng = np.random.default_rng(seed_of(study.seed, "latents", variant, *place, "networks"))
    summary["p_shuffled_pairs"] |= embeddings.p_of_shuffled_pairs(of_made, of_shown, n=SHUFFLES, rng=rng)
    training = _true(study, options, training_rows(study, split))
    summary["p_random_latents"] = embeddings.p_of_random_latents(decoded, true, training, n=SHUFFLES, rng=rng)
    if options.random_latents:
        summary["p_random_latents"] |= embeddings.p_of_random_images(
            embedder, items, shown_images, of_shown, training, n=SHUFFLES, rng=rng
        )
    summary |= {
        "n": len(names),
        "n_numbers": true.shape[1],
        "mean": {name: float(np.mean(values)) for name, values in items.items()},
        "standard_error": {name: _standard_error(values) for name, values in items.items()},
        "attributes": _attributes(options, decoded, true, names),
        "cosines_of_attributes": _cosines(options),
    }
    lines = [",".join(("item", *items))]
    lines += [",".join((name, *(f"{values[i]:.6g}" for values in items.values()))) for i, name in enumerate(names)]
    return [write_json(summary_file, summary), write_atomic(table_file, ("\n".join(lines) + "\n").encode())]


def _standard_error(values: Array) -> float | None:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _summary(study: Study, variant: str, place: Place, decoded: Array, true: Array) -> dict[str, Any]:
    by_number = latent_scores.by_number(decoded, true)
    tests = {"latent_similarity": latent_scores.similarities, "cosine": latent_scores.cosines}
    p = {}
    for name, function in tests.items():
        rng = np.random.default_rng(seed_of(study.seed, "latents", variant, *place, name))
        p[name] = latent_scores.permutation_p(function(decoded, true), n=SHUFFLES, rng=rng)
    defined = by_number[np.isfinite(by_number)]
    return {
        "p_shuffled_pairs": p,
        "shuffles": SHUFFLES,
        "correlation_by_number": {
            "mean": float(defined.mean()) if len(defined) else None,
            "median": float(np.median(defined)) if len(defined) else None,
            "defined": len(defined),
        },
        "mean_length": {
            "decoded": float(np.linalg.norm(decoded, axis=1).mean()),
            "true": float(np.linalg.norm(true, axis=1).mean()),
        },
    }


def _attributes(options: LatentOptions, decoded: Array, true: Array, names: list[str]) -> list[dict[str, Any]]:
    found = []
    for name, direction in attributes.read(options).items():
        a, b = attributes.scores(decoded, direction), attributes.scores(true, direction)
        fitted = latent_scores.line(a, b)
        values = {"r": fitted.r, "slope": fitted.slope, "intercept": fitted.intercept}
        known = {key: value if np.isfinite(value) else None for key, value in values.items()}
        points = {"items": names, "decoded": a.tolist(), "true": b.tolist()}
        found.append({"name": name, "conditions": list(options.attributes[name].conditions), **known, **points})
    return found


def _cosines(options: LatentOptions) -> list[list[float]]:
    directions = attributes.read(options)
    return [[float(x) for x in row] for row in attributes.cosines(directions)] if directions else []


def _rendered(study: Study, variant: str, place: Place, names: list[str]) -> Array:
    """Read the latents that `reconstruct` rendered, (n, d) float32."""
    found = []
    for name in names:
        image = layout.image_file(study, variant, *place, name)
        path = image.parent / "latents" / f"{image.stem}.npy"
        if not path.exists():
            raise MissingStore(f"{path} does not exist; make it with `python -m hpc_recon.reconstruct --redo`")
        found.append(np.load(path, allow_pickle=False))
    return np.stack(found)


def _true(study: Study, options: LatentOptions, rows: Array) -> Array:
    """Read the true latents of stimuli, (n, d) float32."""
    layers = study.layers_of(options)
    return np.concatenate([true_features(study, options.network, layer, rows) for layer in layers], axis=1)


def _pictures(study: Study, variant: str, place: Place, names: list[str], rows: Array) -> tuple[Array, Array]:
    """Read the images of items and what they show, (n, H, W, 3) float32 in [0, 1] each."""
    distinct, index = np.unique(rows, return_inverse=True)
    true = images.read_images(layout.workspace_of(study), distinct)[index].astype(np.float32) / 255
    return reconstructions(study, variant, place, names, size=true.shape[1:3]), true


def read(study: Study) -> dict[tuple[str, Place], dict[str, Any]]:
    """Return the summaries of all sets of latents that were scored, by entry and place."""
    found = {}
    for variant, options in study.reconstruct.items():
        for place in study.image_sets(variant) if isinstance(options, LatentOptions) else ():
            path = file_of(study, variant, place, ".json")
            if path.exists():
                found[variant, place] = json.loads(path.read_text(encoding="utf-8"))
    return found


def strips(study: Study, variant: str, place: Place) -> dict[str, Array]:
    """Return the strips of edits that the study shows, by item: (attributes, steps, H, W, 3) uint8; else none."""
    options = study.reconstruct[variant]
    if not isinstance(options, LatentOptions) or options.edits is None or not options.edits.show:
        return {}
    names = read_shown(study, place[0], place[2]).names[: options.edits.images]
    files = [layout.image_file(study, variant, *place, name) for name in names]
    paths = [file.parent / "edits" / f"{file.stem}.npy" for file in files]
    return {name: np.load(path, allow_pickle=False) for name, path in zip(names, paths, strict=True) if path.exists()}
