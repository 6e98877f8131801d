"""Score images as the published presets do: their resizing, networks and conventions of identification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array
from hpc_recon.core.evaluate_options import Evaluate, MetricNetwork, PresetName
from hpc_recon.core.tiles import ranges
from hpc_recon.evaluation.presets import ARCHITECTURES, PIXEL_SIZE, PREPROCESSING, Comparison, used
from hpc_recon.nets import metric_networks
from hpc_recon.numerics import identification, image_scores, scores

Metrics = dict[str, tuple[Array, int | Array]]
#: To which `mindeye` resizes all images first.
MINDEYE_SIZE = 256
#: Activations of all images that are compared at once, a row an image.
_UNITS = 32768
#: Images that are resized together, so that memory is that of so many and not of all.
_IMAGES = 16


def score(
    options: Evaluate, candidates: Mapping[tuple[str, str], Array], true: Array, target: Array, *, among: bool
) -> dict[tuple[str, str], Metrics]:
    """Score images by the presets of a study.

    Parameters
    ----------
    candidates
        By any key: images (items, H, W, 3) in [0, 1], one an item.
    true
        (stimuli, H, W, 3) in [0, 1].
    target
        (items,) the stimulus that each item shows.
    among
        Whether to tell the stimuli apart; with a single one it is never done.

    Raises
    ------
    DataError
        If a weights file does not hold its network, or its activations are not finite.
    """
    among = among and len(true) > 1
    found: dict[tuple[str, str], Metrics] = {key: {} for key in candidates}
    for preset in options.presets:
        for key, made in candidates.items():
            found[key] |= {
                f"{preset}.{name}": own for name, own in _plain(preset, made, true, target, among=among).items()
            }
    for preset, network, comparisons in used(options):
        body = metric_networks.load(ARCHITECTURES[network], options.networks[network])
        of_true = _activations(body, preset, network, comparisons, true)
        for key, made in candidates.items():
            of_made = _activations(body, preset, network, comparisons, made)
            for c in comparisons:
                similarity = _correlation(of_made[c.path], of_true[c.path])
                own = similarity[np.arange(len(target)), target]
                if c.kind == "distance":
                    found[key][f"{preset}.{c.name}"] = (1 - own, c.n_units)
                elif among:
                    found[key][f"{preset}.{c.name}"] = _two_way(preset, similarity, target)
    return found


def _activations(
    body: metric_networks.Body,
    preset: PresetName,
    network: MetricNetwork,
    comparisons: Sequence[Comparison],
    images: Array,
) -> dict[str, Array]:
    """Return the activations of images at the size and with the resizing of a preset, (n, n_units) by module path."""
    size, paths = comparisons[0].size, [c.path for c in comparisons]
    preprocessing = PREPROCESSING.get(network, "imagenet")
    blocks = [
        metric_networks.activations(
            body, paths, resized(preset, images[start:stop], size, network=network), preprocessing=preprocessing
        )
        for start, stop in ranges(len(images), _IMAGES)
    ]
    return {path: np.concatenate([block[path] for block in blocks]) for path in paths}


def resized(preset: PresetName, images: Array, size: int, *, network: MetricNetwork | None = None) -> Array:
    """Return images (n, H, W, 3) in [0, 1] at `size` x `size` as the preset's code does, float32.

    `mindeye` resizes floats, to 256 pixels first: bilinear with antialiasing. The others resize 8-bit images with
    Pillow: `brain-diffuser` bicubic for pixels and bilinear for networks, `takagi` the shorter side first, bilinear or
    (as the preprocessing published with CLIP) bicubic, `kamitani` Lanczos.
    """
    if preset == "mindeye":
        small = np.clip(metric_networks.bilinear(images, MINDEYE_SIZE), 0.0, 1.0)
        return metric_networks.bilinear(small, size)
    if preset == "takagi":
        filter_ = Image.Resampling.BICUBIC if network == "clip" else Image.Resampling.BILINEAR
        return _pillow(images, size, filter_, crop=True)
    if preset == "kamitani":
        return _pillow(images, size, Image.Resampling.LANCZOS, crop=False)
    is_pixels = size == PIXEL_SIZE
    return _pillow(images, size, Image.Resampling.BICUBIC if is_pixels else Image.Resampling.BILINEAR, crop=False)


def _pillow(images: Array, size: int, filter_: Image.Resampling, *, crop: bool) -> Array:
    made = []
    for image in np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8):
        picture = Image.fromarray(image)
        if not crop:
            made.append(np.asarray(picture.resize((size, size), filter_)))
            continue
        width, height = picture.size
        shorter = min(width, height)
        picture = picture.resize((size * width // shorter, size * height // shorter), filter_)
        left, top = (round((side - size) / 2) for side in picture.size)
        made.append(np.asarray(picture.crop((left, top, left + size, top + size))))
    return np.asarray(np.stack(made), np.float32) / np.float32(255)


def _plain(preset: PresetName, made: Array, true: Array, target: Array, *, among: bool) -> Metrics:
    """Return the metrics of a preset that need no network."""
    if preset == "takagi":
        return {}
    if preset == "kamitani":
        return _kamitani(made, true, target, among=among)
    found: dict[str, list[Array]] = {"pixcorr": [], "ssim": [], "ssim_legacy_columns": []}
    for start, stop in ranges(len(target), _IMAGES):
        pictures = [resized(preset, x, PIXEL_SIZE) for x in (made[start:stop], true[target[start:stop]])]
        found["pixcorr"].append(scores.pixel_correlation(*pictures))
        pictures = [image_scores.grey(x) for x in pictures]
        found["ssim"].append(image_scores.ssim_grey(*pictures))
        found["ssim_legacy_columns"].append(image_scores.ssim_grey(*pictures, columns=True))
    n_values = {"pixcorr": 3 * PIXEL_SIZE**2}
    return {name: (np.concatenate(own), n_values.get(name, PIXEL_SIZE**2)) for name, own in found.items()}


def _kamitani(made: Array, true: Array, target: Array, *, among: bool) -> Metrics:
    """Return the lab's scores of images, at the stimuli's own size; errors in grey levels, 0 to 255."""
    n_values = int(np.prod(true.shape[1:]))
    similarity = scores.pixel_similarity(made, true)
    metrics: Metrics = {
        "pixel_correlation": (similarity[np.arange(len(target)), target], n_values),
        "rmse": (255 * image_scores.rmse(made, true[target]), n_values),
        "ssim": (scores.ssim(made, true[target]), n_values),
    }
    if among:
        metrics["identification"] = _two_way("kamitani", similarity, target)
        distance = image_scores.euclidean_similarity(made, true)
        metrics["identification_euclidean"] = _two_way("kamitani", distance, target)
    return metrics


def _two_way(preset: PresetName, similarity: Array, target: Array) -> tuple[Array, int | Array]:
    """Return pairwise identification, anchored at the stimulus by `takagi` and at the reconstruction by the others."""
    if preset == "takagi":
        anchored, count = identification.stimulus_anchored(similarity, target)
        return anchored.accuracy, count
    return scores.pairwise_identification(similarity, target).accuracy, similarity.shape[1] - 1


def _correlation(made: Array, true: Array) -> Array:
    """Return r of every row of both over the units, a block of units at a time: float64 costs 8 bytes a unit."""
    blocks = (scores.products(made[:, a:b], true[:, a:b]) for a, b in ranges(made.shape[1], _UNITS))
    total = next(blocks)
    for block in blocks:
        total = total + block
    return total.correlation()
