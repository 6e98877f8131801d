"""Score one layer's decoded features in all test datasets of a split, a few units at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.tiles import ranges
from hpc_recon.evaluation import truth
from hpc_recon.evaluation.parts import Scored
from hpc_recon.numerics import identification
from hpc_recon.numerics.layer_scores import LayerScores, layer_scores
from hpc_recon.numerics.scores import Identification, Products, pairwise_identification, profile_correlation
from hpc_recon.stores.items import read_shown, training_rows

#: Units of the test stimuli that are held at once: a shard of decoded features.
TEST_UNITS = 32768
#: How many of the most similar candidates may hold an item's stimulus.
TOP = (1, 5)
#: Names of the first convolution, which is scored by filter: VGG's, and AlexNet's or a ResNet's.
FIRST_CONVOLUTIONS = ("conv1_1", "conv1")

Metrics = dict[str, tuple[Array, int | Array]]
Whole = dict[str, tuple[float, int]]


@dataclass(frozen=True)
class LayerFound:
    """What is known of a layer in all test datasets of a split.

    Attributes
    ----------
    scored
        One a dataset of which some item has a truth.
    similarity
        By dataset: (items, training stimuli) float64, on features z-scored with the training statistics.
    profiles
        By dataset: (n_units,) profile correlations.
    n_stored
        Units of the layer in the store, whether they are decoded or not.
    absolute
        By dataset: (n_units,) profile correlations of absolute values, of a first convolution with a sign.
    filters
        (n_units,) filter of each unit of a first convolution; None of other layers.
    """

    scored: tuple[Scored, ...]
    similarity: Mapping[str, Array]
    profiles: Mapping[str, Array]
    n_stored: int
    absolute: Mapping[str, Array] = field(default_factory=dict)
    filters: Array | None = None


def score(study: Study, place: tuple[str, str, str, str]) -> LayerFound:
    """Score one layer, and compare its decoded items with the training stimuli.

    Parameters
    ----------
    place
        Split, ROI, network and layer.

    Raises
    ------
    DataError
        If there are more or fewer decoded items than test items, or a category shows no stimulus.

    Notes
    -----
    Memory: `TEST_UNITS` units of the test stimuli, `truth.TRAINING_UNITS` of the training stimuli, however many there
    are; 8 bytes a unit of profiles.
    """
    split = place[0]
    items = {name: read_shown(study, split, name) for name in study.test_datasets(split)}
    truths = {name: truth.of_items(study, own) for name, own in items.items()}
    categories = {name: _numbers(own.category) for name, own in truths.items()}
    reader = truth.LayerReader(study, place)
    training = training_rows(study, split)
    found: dict[str, LayerScores] = {}
    nearness: dict[str, Products] = {}
    absolute: dict[str, list[Array]] = {}
    filters = reader.filters() if place[3] in FIRST_CONVOLUTIONS else None
    has_sign = filters is not None and study.networks[place[2]].transform == "none"
    for start, stop in ranges(reader.n_units, TEST_UNITS):
        statistics = reader.statistics(start, stop)
        decoded = {name: reader.decoded(name, start, stop, n_items=len(items[name].names)) for name in items}
        for name, own in truths.items():
            if not len(own.scored):
                continue  # nothing of it has a truth: it is decoded, not scored
            true, category = reader.truth(own, start, stop), categories[name]
            block = layer_scores(decoded[name][own.scored], true, own.target, **statistics, category=category)
            found[name] = found[name] + block if name in found else block
            if has_sign:
                strength = reader.truth(own, start, stop, absolute=True) if own.has_means else np.abs(true)
                profile = profile_correlation(np.abs(decoded[name][own.scored]), strength[own.target])
                absolute.setdefault(name, []).append(profile)
        for name, block_products in reader.with_training(decoded, training, start, statistics=statistics).items():
            nearness[name] = nearness[name] + block_products if name in nearness else block_products
    similarity = {name: nearness[name].correlation() for name in items}
    scored = []
    for name, own_scores in found.items():
        own = truths[name]
        metrics: Metrics = {"pattern_correlation": (own_scores.pattern(), own_scores.zscored.n_units)}
        whole = _profiles(own_scores)
        if study.datasets[name].identification:
            more, undefined = _pairwise(own_scores, categories[name])
            metrics, whole = metrics | more, whole | undefined
            metrics |= _zero_shot(own_scores, own, training, similarity[name][own.scored])
        names = tuple(items[name].names[i] for i in own.scored)
        scored.append(Scored({"dataset": name}, names, metrics, whole))
    profiles = {name: own_scores.profile for name, own_scores in found.items()}
    strengths = {name: np.concatenate(blocks) for name, blocks in absolute.items()}
    return LayerFound(tuple(scored), similarity, profiles, reader.n_stored, strengths, filters)


def _numbers(category: tuple[str, ...] | None) -> Array | None:
    """Number the categories from 0 in the order of their names."""
    return None if category is None else np.asarray(np.unique(category, return_inverse=True)[1])


def _profiles(found: LayerScores) -> Whole:
    profiles, n_defined = found.profile_summary()
    return {f"profile_correlation{ending}": (value, n_defined) for ending, value in profiles.items()}


def _pairwise(found: LayerScores, category: Array | None) -> tuple[Metrics, Whole]:
    """Return what tells the stimuli of a dataset apart in pairs, and how many comparisons were undefined, if any."""
    raw, n_others = found.raw.correlation(), len(found.raw.mean_b) - 1
    if n_others < 1:
        return {}, {}
    anchored, n_items = identification.stimulus_anchored(raw, found.target)
    pairs: dict[str, tuple[Identification, int | Array]] = {
        "identification": (found.identification(), n_others),
        "identification_zscored": (found.identification_zscored(), n_others),
        "identification_stimulus_anchored": (anchored, n_items),
    }
    metrics: Metrics = {}
    if category is not None and found.categories is not None:
        own = found.categories.correlation()  # (items, categories)
        pairs["category_identification"] = (pairwise_identification(own, category[found.target]), own.shape[1] - 1)
        metrics["identification_by_category_alone"] = (
            identification.by_category_alone(category, found.target),
            n_others,
        )
    metrics |= {name: (own.accuracy, n) for name, (own, n) in pairs.items()}
    undefined = {
        f"{name}_undefined": (float(own.n_undefined.sum()), int(np.broadcast_to(n, len(found.target)).sum()))
        for name, (own, n) in pairs.items()
        if own.n_undefined.any()
    }
    return metrics, undefined


def _zero_shot(found: LayerScores, own: truth.Truth, training: Array, nearness: Array) -> Metrics:
    """Return whether each item's stimulus is first, or among five, of all test and training stimuli, on z-scores.

    A training stimulus that an item shows, or that is a test stimulus too, is no other candidate.

    Parameters
    ----------
    training
        (n_training,) rows of the training stimuli.
    nearness
        (n_scored, n_training) similarity with them.
    """
    test = found.zscored.correlation()  # (items, targets)
    n, m = test.shape
    alone = np.array([group[0] for group in own.rows if len(group) == 1], dtype=np.int64)
    shown = np.stack([np.isin(training, group) for group in own.rows])[own.target]  # (items, training)
    others = np.hstack([np.arange(m)[None, :] != own.target[:, None], ~shown & ~np.isin(training, alone)])
    not_below = identification.n_not_below(np.hstack([test, nearness]), test[np.arange(n), own.target], others)
    count = others.sum(axis=1)
    return {f"identification_top{k}": (identification.top(not_below, k), count) for k in TOP if count.min() >= k}
