"""Score one layer's decoded features in all test datasets of a split, a few units at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.tiles import ranges
from hpc_recon.evaluation import truth
from hpc_recon.evaluation.parts import Scored
from hpc_recon.numerics.layer_scores import LayerScores, layer_scores
from hpc_recon.numerics.scores import Products
from hpc_recon.stores.items import read_shown, training_rows

#: Units of the test stimuli that are held at once: a shard of decoded features.
TEST_UNITS = 32768


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
    """

    scored: tuple[Scored, ...]
    similarity: Mapping[str, Array]
    profiles: Mapping[str, Array]
    n_stored: int


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
    reader = truth.LayerReader(study, place)
    training = training_rows(study, split)
    found: dict[str, LayerScores] = {}
    nearness: dict[str, Products] = {}
    for start, stop in ranges(reader.n_units, TEST_UNITS):
        statistics = reader.statistics(start, stop)
        decoded = {name: reader.decoded(name, start, stop, n_items=len(items[name].names)) for name in items}
        for name, own in truths.items():
            if not len(own.scored):
                continue  # nothing of it has a truth: it is decoded, not scored
            block = layer_scores(decoded[name][own.scored], reader.truth(own, start, stop), own.target, **statistics)
            found[name] = found[name] + block if name in found else block
        for name, block_products in reader.with_training(decoded, training, start, statistics=statistics).items():
            nearness[name] = nearness[name] + block_products if name in nearness else block_products
    scored = [
        _scored(
            own, name, [items[name].names[i] for i in truths[name].scored], among=study.datasets[name].identification
        )
        for name, own in found.items()
    ]
    similarity = {name: nearness[name].correlation() for name in items}
    profiles = {name: own.profile for name, own in found.items()}
    return LayerFound(tuple(scored), similarity, profiles, reader.n_stored)


def _scored(found: LayerScores, dataset: str, names: list[str], *, among: bool) -> Scored:
    """Return the scores of one dataset; `among`: also those of telling its stimuli apart."""
    profiles, n_defined = found.profile_summary()
    whole = {f"profile_correlation{ending}": (value, n_defined) for ending, value in profiles.items()}
    metrics: dict[str, tuple[Array, int | Array]] = {"pattern_correlation": (found.pattern(), found.zscored.n_units)}
    n_others = len(found.raw.mean_b) - 1
    if among and n_others > 0:
        metrics["identification"] = (found.identification().accuracy, n_others)
    return Scored({"dataset": dataset}, tuple(names), metrics, whole)
