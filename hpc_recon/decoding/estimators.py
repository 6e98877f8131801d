"""The estimators of `fit.estimator` and its options behind one interface, and the function that predicts with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from hpc_recon.core.config import Study
from hpc_recon.core.sampling import seed_of
from hpc_recon.decoding import inputs
from hpc_recon.numerics import decoder, xp
from hpc_recon.numerics.stats import BrainStatistics, standardise
from hpc_recon.stores import layout, statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpc_recon.core.array import Array
    from hpc_recon.core.fit_options import SpatialNorm
    from hpc_recon.core.tiles import Group
    from hpc_recon.numerics.factorisation import ItemMaps
    from hpc_recon.numerics.fold_scores import Predict
    from hpc_recon.numerics.folds import Fold
    from hpc_recon.numerics.gradient import Schedule
    from hpc_recon.numerics.out_of_fold import PredictFold


class Estimator(Protocol):
    """Fits units to the training samples of one split and ROI."""

    def fit(self, Y: Array, *, n_voxels: int, alpha: float | Array, first: int = 0) -> decoder.UnitDecoders:
        """Fit units Y (n_stimuli, n_units), raw, numbers `first` and on of their layer.

        The rest is looked at where the estimator has it.
        """
        ...


@dataclass(frozen=True)
class Ridge:
    """The best voxels of each unit, ridge regression."""

    brain: BrainStatistics
    penalize_bias: bool

    def fit(self, Y: Array, *, n_voxels: int, alpha: float | Array, first: int = 0) -> decoder.UnitDecoders:
        """Fit units."""
        return decoder.fit_units(self.brain, Y, n_voxels=n_voxels, alpha=alpha, penalize_bias=self.penalize_bias)


@dataclass(frozen=True)
class SparseBayes:
    """The best voxels of each unit, automatic relevance determination (Shen 2019)."""

    brain: BrainStatistics
    study: Study

    def fit(self, Y: Array, *, n_voxels: int, alpha: float | Array, first: int = 0) -> decoder.UnitDecoders:
        """Fit units; the penalty is not used."""
        from hpc_recon.numerics import ard

        options = ard.ArdOptions(**self.study.fit.ard.model_dump())
        return ard.fit_units(self.brain, Y, n_voxels=n_voxels, options=options)


@dataclass(frozen=True)
class SpatiallyNormed:
    """The best voxels of each unit, each sample's pattern over them brought to one size, ridge regression."""

    brain: BrainStatistics
    #: (n_samples, n_voxels) z-scored training samples, and the stimulus of each.
    samples: Array
    stimulus: Array
    norm: SpatialNorm
    penalize_bias: bool

    def fit(self, Y: Array, *, n_voxels: int, alpha: float | Array, first: int = 0) -> decoder.UnitDecoders:
        """Fit units, with one penalty for all."""
        from hpc_recon.numerics import spatial_norm

        assert isinstance(alpha, float), "the study has no grid with spatial_norm"
        return spatial_norm.fit_units(
            self.samples,
            self.stimulus,
            self.brain,
            Y,
            n_voxels=n_voxels,
            alpha=alpha,
            penalize_bias=self.penalize_bias,
            norm=self.norm,
        )


@dataclass(frozen=True)
class StoredMaps:
    """The map from targets to the weights of all voxels, of each penalty (`numerics.factorisation`), read from disk."""

    #: (n_alphas, n_voxels, n_stimuli), mapped from a file.
    maps: Array
    alphas: tuple[float, ...]

    def shared_map(self, alpha: float) -> Array:
        """Return M (n_voxels, n_stimuli) for a penalty of the study."""
        found: Array = xp.module().asarray(self.maps[self.alphas.index(float(alpha))])
        return found

    def item_maps(self, Z: Array, alphas: Sequence[float]) -> ItemMaps:
        """Return what predicts z-scored items (n_items, n_voxels)."""
        from hpc_recon.numerics.factorisation import ItemMaps

        library = xp.namespace(Z)
        return ItemMaps(library.stack([Z @ self.shared_map(alpha) for alpha in alphas]), None)


@dataclass(frozen=True)
class AllVoxels:
    """Every usable voxel, ridge regression."""

    brain: BrainStatistics
    shared: StoredMaps
    penalize_bias: bool

    def fit(self, Y: Array, *, n_voxels: int, alpha: float | Array, first: int = 0) -> decoder.UnitDecoders:
        """Fit units; the number of voxels is that of the ROI."""
        from hpc_recon.numerics import all_voxels

        return all_voxels.fit_units(self.shared, self.brain, Y, alpha=alpha, penalize_bias=self.penalize_bias)


@dataclass(frozen=True)
class Trained:
    """Every usable voxel, a dense layer trained by gradient descent (Dado 2020)."""

    brain: BrainStatistics
    #: (n_samples, n_voxels) raw training samples, and the stimulus of each.
    samples: Array
    stimulus: Array
    schedule: Schedule
    #: Of the layer, with the seed of its training.
    n_units: int
    seed: int

    def fit(self, Y: Array, *, n_voxels: int, alpha: float | Array, first: int = 0) -> decoder.UnitDecoders:
        """Train units; number of voxels and penalty are not used."""
        from hpc_recon.numerics import gradient

        return gradient.fit_units(
            self.samples,
            self.stimulus,
            self.brain,
            Y,
            schedule=self.schedule,
            n_units=self.n_units,
            seed=self.seed,
            first=first,
        )


def _trained(study: Study, group: Group, known: BrainStatistics) -> Trained:
    from hpc_recon.numerics.gradient import Schedule

    split, roi, decoded_name, layer = inputs.names(group)
    found, library = inputs.training(study, split, roi), xp.module()
    return Trained(
        known,
        library.asarray(found.samples),
        library.asarray(found.codes),
        Schedule(**study.fit.gradient.model_dump()),
        inputs.n_units(study, group),
        seed_of(study.seed, "gradient", split, roi, decoded_name, layer),
    )


def estimator(study: Study, group: Group, *, known: BrainStatistics) -> Estimator:
    """Return the study's estimator for a layer's group."""
    fit, (split, roi) = study.fit, group.path[:2]
    if fit.estimator == "gradient":
        return _trained(study, group, known)
    if fit.estimator == "ard":
        return SparseBayes(known, study)
    if fit.n_voxels == "all":
        return AllVoxels(known, stored_maps(study, split, roi), fit.penalize_bias)
    if fit.spatial_norm is not None:
        found, library = inputs.training(study, split, roi), xp.module()
        raw = library.asarray(found.samples)
        Z = standardise(raw, mean=known.mean, scale=known.scale, dtype=known.sums.dtype)
        return SpatiallyNormed(known, Z, library.asarray(found.codes), fit.spatial_norm, fit.penalize_bias)
    return Ridge(known, fit.penalize_bias)


def predictor(study: Study) -> Callable[[Array, decoder.UnitDecoders], Array]:
    """Return the function that predicts fitted or stored decoders from z-scored items, on the units' raw scale."""
    norm = study.fit.spatial_norm
    if norm is None:
        return decoder.predict_units
    from hpc_recon.numerics import spatial_norm

    return lambda Z, units: spatial_norm.predict_units(Z, units, norm=norm)


def stored_maps(study: Study, split: str, roi: str, *, fold: int | None = None) -> StoredMaps:
    """Return the maps of all training samples, or of those outside a fold."""
    part = "maps" if fold is None else f"maps-fold-{fold}"
    maps = statistics.read(layout.workspace_of(study), split, roi, "maps", part=part, mapped=True)
    alphas = statistics.read(layout.workspace_of(study), split, roi, "alphas", part=part)
    return StoredMaps(maps, tuple(float(alpha) for alpha in alphas))


def fold_predictor(study: Study, split: str, roi: str) -> Callable[[Fold], Predict] | None:
    """Return what predicts the held-out stimuli of the folds, in their order, for `numerics.choice.choose`.

    None is its default: the best voxels of each unit, ridge regression.
    """
    if not study.fit.shares_system:
        return None
    seen = iter(range(study.fit.folds))

    def prepared(fold: Fold) -> Predict:
        shared = stored_maps(study, split, roi, fold=next(seen))
        maps = shared.item_maps(fold.test_patterns, sorted(set(study.fit.alpha_candidates)))
        return lambda targets: maps.predict(targets)[None]

    return prepared


def fold_estimator(study: Study, group: Group, *, first: int = 0) -> PredictFold | None:
    """Return what predicts the stimuli of each fold by decoders fitted without it, for `numerics.out_of_fold`.

    None is its default: the best voxels of each unit, ridge regression.

    Parameters
    ----------
    group
        Of the layer's predictions, or of its decoders.
    first
        Number of the first unit that is predicted, for estimators that begin where a unit's number says.
    """
    if study.fit.estimator == "gradient":
        return _trained_without(study, group, first)
    if not study.fit.shares_system:
        return None
    from hpc_recon.numerics import all_voxels

    split, roi = group.path[:2]
    seen, penalize_bias = iter(range(study.fit.folds)), study.fit.penalize_bias
    current: list[tuple[Fold, StoredMaps]] = []

    def predict_fold(fold: Fold, Y: Array, n_voxels: int, alpha: float | Array) -> Array:
        if not current or current[0][0] is not fold:
            current[:] = [(fold, stored_maps(study, split, roi, fold=next(seen)))]
        maps = current[0][1]
        return all_voxels.predict_items(
            maps, fold.brain, fold.test_patterns, Y, alpha=alpha, penalize_bias=penalize_bias
        )

    return predict_fold


def _trained_without(study: Study, group: Group, first: int) -> PredictFold:
    """Return what trains a layer on the samples outside a fold, from the first weights of the layer itself."""
    split, roi = group.path[:2]
    known, _ = inputs.brain_statistics(study, split, roi)
    whole, library = _trained(study, group, known), xp.module()

    def predict_fold(fold: Fold, Y: Array, n_voxels: int, alpha: float | Array) -> Array:
        kept = library.isin(whole.stimulus, fold.train_rows)
        codes = library.searchsorted(fold.train_rows, whole.stimulus[kept])
        layer = replace(whole, brain=fold.brain, samples=whole.samples[kept], stimulus=codes)
        units = layer.fit(Y, n_voxels=n_voxels, alpha=alpha, first=first)
        return decoder.predict_units(fold.test_patterns, units)

    return predict_fold


def pair_predictor(study: Study, samples: Array, stimulus: Array) -> Callable[[Fold], Predict] | None:
    """Return what predicts the stimuli of two folds from the others, for `numerics.choice.choose_nested`.

    Parameters
    ----------
    samples, stimulus
        All training samples (n_samples, n_voxels), raw, and the stimulus of each.
    """
    if not study.fit.shares_system:
        return None
    from hpc_recon.numerics import factorisation

    library, alphas = xp.module(), sorted(set(study.fit.alpha_candidates))

    def prepared(fold: Fold) -> Predict:
        kept = library.isin(stimulus, fold.train_rows)
        codes = library.searchsorted(fold.train_rows, stimulus[kept])
        shared = factorisation.prepare(samples[kept], codes, fold.brain, n_alphas=len(alphas))
        maps = shared.item_maps(fold.test_patterns, alphas)
        return lambda targets: maps.predict(targets)[None]

    return prepared
