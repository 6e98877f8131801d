"""The tiles of `fit`, in the order of its stages, and what each will need: from sizes alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpc_recon.core import threads
from hpc_recon.core.config import Study
from hpc_recon.core.memory import array_bytes, reading_bytes, writing_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.numerics import needs
from hpc_recon.numerics.stats import DIRECT_SAMPLES
from hpc_recon.stores import decoders, layout


@dataclass(frozen=True)
class Sizes:
    """Sizes of the training data of a split and ROI."""

    n_samples: int
    n_stimuli: int
    n_voxels: int
    #: It is known that no stimulus has two samples.
    single: bool = False

    @property
    def gram_bytes(self) -> int:
        """Bytes of a Gram matrix and sums per stimulus."""
        return array_bytes(self.n_voxels, (0 if self.direct() else self.n_voxels) + self.n_stimuli)

    def direct(self, n_folds: int | None = None) -> bool:
        """Return whether it is known that there is no Gram matrix (`stats.DIRECT_SAMPLES`), or none without a fold."""
        left = self.n_samples if n_folds is None else self.n_samples - self.n_samples // n_folds
        return self.single and left <= DIRECT_SAMPLES

    def held(self, n_folds: int, n: int = 1) -> int:
        """Return how many samples n folds hold out at most, if no stimulus has twice the mean number of samples."""
        return min(2 * n * -(-self.n_samples // n_folds), self.n_samples)

    @property
    def sample_bytes(self) -> int:
        """Bytes of the samples."""
        return array_bytes(self.n_samples, self.n_voxels)


def sizes_of(study: Study, shapes: Shapes, split: str, roi: str) -> Sizes:
    """Return the number of training samples, the most stimuli that they can show, and the voxels."""
    n_samples = shapes.n_samples(split, study.training_dataset)
    few = study.decode.average is True and n_samples <= 2 * DIRECT_SAMPLES  # else nobody asks
    single = few and shapes.n_items(split, study.training_dataset) == n_samples
    return Sizes(n_samples, min(n_samples, shapes.n_stimuli()), shapes.n_voxels(split, roi), single)


def tiles(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of all stages: statistics, folds, maps, choose, fit, out_of_fold."""
    found = list(_statistics(study, shapes))
    groups = list(layer_groups(study, shapes))
    if study.fit.needs_folds:
        found += _folds(study, shapes)
    if study.fit.shares_system:
        found += _maps(study, shapes)
    if study.fit.chooses_per_layer:
        found += [_choice(study, shapes, *group, stage="choose") for group in groups]
    for group in groups:
        found += _fits(study, shapes, *group)
    if study.fit.out_of_fold:
        own = [(out_of_fold_group(study, group), network, layer) for group, network, layer in groups]
        if study.fit.has_grids:
            found += [_choice(study, shapes, *group, stage="choose_inside") for group in own]
        for group in own:
            found += _out_of_fold(study, shapes, *group)
    return found


def _brain_group(study: Study, split: str, roi: str, name: str, **settings: object) -> Group:
    upstream = [study.brain_key(split), f"{study.source_verb}/stimuli"]
    if name != "_brain":
        upstream.append(f"fit/{split}/{roi}/_brain")
    if name == "_all_voxels" and study.fit.needs_folds:
        upstream.append(f"fit/{split}/{roi}/_folds")
    content: dict[str, object] = {"training": study.training_dataset, **settings}
    if study.fit.samples:
        content["samples"] = study.fit.samples
    if study.fit.most_active is not None:
        content["most_active"] = study.fit.most_active.model_dump()
    return Group("fit", (split, roi, name), canonical(content), tuple(upstream))


def _statistics(study: Study, shapes: Shapes) -> Iterator[Tile]:
    by = study.fit.statistics_by
    settings = {} if by is None else {"statistics_by": by}
    for split in study.fitted_splits():
        for roi in study.rois:
            s = sizes_of(study, shapes, split, roi)
            host = needs.statistics_tile_bytes(
                s.n_samples, s.n_voxels, n_stimuli=s.n_stimuli, direct=by is None and s.direct()
            )
            need = Need(
                host_bytes=host if by is None else host + 3 * array_bytes(s.n_voxels, s.n_voxels + s.n_stimuli),
                device_bytes=s.gram_bytes + 2 * s.sample_bytes + array_bytes(s.n_stimuli, s.n_voxels, itemsize=8),
                bytes_in=s.sample_bytes,
                bytes_out=s.gram_bytes,
                files_out=6,
                seconds=store_seconds(s.sample_bytes + s.gram_bytes)
                + needs.statistics_seconds(s.n_samples, s.n_voxels, n_threads=threads.available()),
            )
            yield Tile(_brain_group(study, split, roi, "_brain", **settings), "statistics", 0, 1, need)


def _folds(study: Study, shapes: Shapes) -> Iterator[Tile]:
    from hpc_recon.numerics import folds

    n_folds, n_threads = study.fit.folds, threads.available()
    for split in study.fitted_splits():
        for roi in study.rois:
            s = sizes_of(study, shapes, split, roi)
            own = folds.fold_bytes(
                s.n_samples, s.n_voxels, n_held=s.held(n_folds), n_stimuli=s.n_stimuli, n_threads=n_threads
            )
            if s.direct(n_folds):  # computed from a copy of the samples that are left
                own = s.sample_bytes + needs.statistics_bytes(
                    s.n_samples, s.n_voxels, n_stimuli=s.n_stimuli, n_threads=n_threads, direct=True
                )
            all_seconds = folds.folds_seconds(s.n_samples, s.n_voxels, n_folds=n_folds, n_threads=n_threads)
            need = Need(
                host_bytes=max(reading_bytes(s.n_samples, s.n_voxels), s.sample_bytes + own) + s.gram_bytes,
                bytes_in=s.sample_bytes + s.gram_bytes,
                bytes_out=s.gram_bytes,
                files_out=8,
                seconds=store_seconds(s.sample_bytes + 2 * s.gram_bytes) + all_seconds / n_folds,
            )
            group = _brain_group(study, split, roi, "_folds", folds=n_folds, seed=study.seed)
            yield from (Tile(group, "folds", fold, fold + 1, need) for fold in range(n_folds))


def _maps(study: Study, shapes: Shapes) -> Iterator[Tile]:
    from hpc_recon.numerics import all_voxels
    from hpc_recon.numerics.factorisation import SPECTRUM_FROM

    alphas, n_threads = study.fit.alpha_candidates, threads.available()
    for split in study.fitted_splits():
        for roi in study.rois:
            s = sizes_of(study, shapes, split, roi)
            out = array_bytes(len(alphas), s.n_voxels, s.n_stimuli)
            bytes_of = all_voxels.spectrum_bytes if len(alphas) >= SPECTRUM_FROM else all_voxels.map_bytes
            own = bytes_of(s.n_samples, s.n_voxels, n_stimuli=s.n_stimuli, n_threads=n_threads)
            copies = 2 if study.fit.needs_folds else 1  # samples outside a fold are a copy
            sums = array_bytes(s.n_stimuli, s.n_voxels)
            reading = max(reading_bytes(s.n_samples, s.n_voxels), copies * s.sample_bytes + own + out)
            need = Need(
                host_bytes=reading + sums + needs.SLACK_BYTES,
                bytes_in=s.sample_bytes + s.gram_bytes,
                bytes_out=out,
                files_out=2,
                seconds=store_seconds(s.sample_bytes + s.gram_bytes + out)
                + all_voxels.spectrum_seconds(
                    s.n_samples,
                    s.n_voxels,
                    n_items=s.n_stimuli,
                    n_alphas=len(alphas),
                    n_threads=n_threads,
                ),
            )
            settings: dict[str, object] = {"alpha": alphas}
            if study.fit.needs_folds:
                settings |= {"folds": study.fit.folds, "seed": study.seed}
            group = _brain_group(study, split, roi, "_all_voxels", **settings)
            for place in range(1 + (study.fit.folds if study.fit.needs_folds else 0)):
                yield Tile(group, "maps", place, place + 1, need)


def _choice(study: Study, shapes: Shapes, group: Group, network: str, layer: str, *, stage: str) -> Tile:
    """Return the tile that chooses for a layer; `choose_inside` chooses for each fold from the other folds."""
    from hpc_recon.numerics import choice, folds

    s, n_threads, fit = sizes_of(study, shapes, *group.path[:2]), threads.available(), study.fit
    ks = [min(k, s.n_voxels) for k in fit.voxel_candidates] or [s.n_voxels]
    n_units = min(fit.choice_units, study.n_decoded(shapes.n_units(network, layer), layer))
    n_alphas, inside = len(fit.alpha_candidates), stage == "choose_inside"
    n_sets = fit.folds * (fit.folds - 1) // 2 if inside else fit.folds
    host = choice.choose_bytes(
        n_units,
        n_stimuli=s.n_stimuli,
        n_test=-(-s.n_stimuli * (2 if inside else 1) // fit.folds),
        n_voxels=s.n_voxels,
        k=max(ks),
        n_k=len(ks),
        n_alphas=n_alphas,
        n_threads=n_threads,
    )
    seconds = choice.choose_seconds(
        n_units,
        n_stimuli=s.n_stimuli,
        n_voxels=s.n_voxels,
        ks=ks,
        n_alphas=n_alphas,
        n_folds=n_sets,
        n_threads=n_threads,
    )
    if not s.direct(fit.folds):  # the compiled kernels; their bytes include the slack
        host += needs.COMPILED_BYTES - needs.SLACK_BYTES
        host += array_bytes(s.n_voxels, s.n_voxels)
    host += 4 * array_bytes(s.n_stimuli, s.n_voxels) + reading_bytes(s.n_stimuli, n_units)
    bytes_in = array_bytes(s.n_stimuli, n_units) + n_sets * s.gram_bytes
    if inside:
        host += s.sample_bytes + folds.folds_bytes(
            s.n_samples, s.n_voxels, n_held=s.held(fit.folds, 2), n_stimuli=s.n_stimuli, n_threads=n_threads
        )
        seconds += folds.folds_seconds(s.n_samples, s.n_voxels, n_folds=fit.folds, n_threads=n_threads, pairs=True)
        bytes_in = array_bytes(s.n_stimuli, n_units) + s.sample_bytes + s.gram_bytes
    if fit.shares_system:
        host += n_alphas * array_bytes(s.n_stimuli, s.n_stimuli) + array_bytes(s.n_voxels, s.n_stimuli)
    need = Need(
        host_bytes=host,
        bytes_in=bytes_in,
        bytes_out=1024 + 128 * len(ks) * n_alphas,
        files_out=1,
        seconds=store_seconds(bytes_in) + seconds,
    )
    return Tile(group, stage, 0, 1, need)


def _fits(study: Study, shapes: Shapes, group: Group, network: str, layer: str) -> Iterator[Tile]:
    split, roi = group.path[:2]
    s = sizes_of(study, shapes, split, roi)
    items = [shapes.n_items(split, name) for name in study.test_datasets(split)] if study.fit.decode else []
    n_units = study.n_decoded(shapes.n_units(network, layer), layer)
    k = study.fit.most_voxels(s.n_voxels)
    width = 0 if study.fit.decode else k
    at_once = decoders.units_per_shard(layout.workspace_of(study), group.path, n_units=n_units, width=width)
    for start, stop in ranges(n_units, at_once):
        n = stop - start
        bytes_in = array_bytes(s.n_stimuli, n) + s.gram_bytes
        bytes_out = array_bytes(n, 3) + (array_bytes(n, sum(items)) if items else needs.decoder_bytes(n, k, s.n_voxels))
        seconds, more = _fit_seconds_and_bytes(study, s, n, k)
        everything = study.fit.n_voxels == "all"  # no system for each unit, and the Gram matrix is not read
        host = needs.fit_tile_bytes(
            n,
            n_voxels=s.n_voxels,
            n_stimuli=s.n_stimuli,
            k=k,
            n_items=items,
            direct=everything or s.direct(),
            fitting=more + needs.SLACK_BYTES if everything else None,
        )
        need = Need(
            host_bytes=host if everything else host + more,
            device_bytes=needs.device_bytes(
                min(n, needs.UNITS_AT_ONCE), n_voxels=s.n_voxels, n_stimuli=s.n_stimuli, k=k
            ),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            files_out=1 + (len(items) or 2) + study.fit.per_unit,
            seconds=store_seconds(bytes_in + bytes_out) + seconds,
        )
        yield Tile(group, "fit", start, stop, need)


def _fit_seconds_and_bytes(study: Study, s: Sizes, n: int, k: int) -> tuple[float, int]:
    """Return the seconds of fitting n units, and the bytes beyond plain ridge; on all voxels, all bytes of fitting."""
    from hpc_recon.numerics import all_voxels, ard, choice, gradient, spatial_norm

    n_threads, fit, at_once = threads.available(), study.fit, min(n, needs.UNITS_AT_ONCE)
    sizes = {"n_voxels": s.n_voxels, "n_stimuli": s.n_stimuli, "n_threads": n_threads}
    plain = needs.fit_seconds(n, k=k, **sizes)
    if fit.estimator == "ard":
        return n * ard.ard_seconds(k, fit.ard.iterations) / n_threads + plain, ard.ard_bytes(k, n_threads)
    if fit.spatial_norm is not None:
        own = spatial_norm.fit_bytes(at_once, k=k, n_samples=s.n_samples, **sizes) + 2 * s.sample_bytes
        return spatial_norm.fit_seconds(n, k=k, n_samples=s.n_samples, **sizes), own
    if fit.estimator == "gradient":
        schedule = gradient.Schedule(**fit.gradient.model_dump())
        own = s.sample_bytes + gradient.fit_bytes(at_once, n_samples=s.n_samples, **sizes)
        return gradient.fit_seconds(n, s.n_voxels, n_samples=s.n_samples, schedule=schedule, n_threads=n_threads), own
    if fit.shares_system:
        seconds = 2 * n * s.n_voxels * s.n_stimuli / needs.GEMM_PER_SECOND / n_threads
        return seconds, all_voxels.weight_bytes(at_once, **sizes)
    if fit.per_unit:
        n_alphas = len(fit.alpha_candidates)
        own = (
            choice.choose_bytes(at_once, n_test=-(-s.n_stimuli // fit.folds), k=k, n_k=1, n_alphas=n_alphas, **sizes)
            + 2 * s.gram_bytes
        )
        return plain + choice.choose_seconds(n, ks=[k], n_alphas=n_alphas, n_folds=fit.folds, **sizes), own
    return plain, 0


def _out_of_fold(study: Study, shapes: Shapes, group: Group, network: str, layer: str) -> Iterator[Tile]:
    from hpc_recon.numerics import all_voxels, gradient, out_of_fold

    s, n_threads, fit = sizes_of(study, shapes, *group.path[:2]), threads.available(), study.fit
    n_units = study.n_decoded(shapes.n_units(network, layer), layer)
    k = fit.most_voxels(s.n_voxels)
    sizes = {"n_stimuli": s.n_stimuli, "n_voxels": s.n_voxels, "n_threads": n_threads}
    n_test = -(-s.n_stimuli // fit.folds)
    for start, stop in ranges(n_units, layout.units_per_shard(n_units)):
        n = stop - start
        at_once = min(n, needs.UNITS_AT_ONCE)
        if fit.shares_system:
            host = all_voxels.out_of_fold_bytes(at_once, n_test=n_test, **sizes)
            seconds = 2 * s.n_stimuli**2 * (s.n_voxels + n) / needs.GEMM_PER_SECOND / n_threads
        elif fit.estimator == "gradient":
            own = {"n_samples": s.n_samples, "n_threads": n_threads}
            schedule = gradient.Schedule(**fit.gradient.model_dump())
            host = 2 * s.sample_bytes  # all of them, and those outside the fold
            host += gradient.fit_bytes(at_once, s.n_voxels, n_stimuli=s.n_stimuli, **own)
            host += array_bytes(n, s.n_stimuli) + 6 * array_bytes(n_test, at_once, itemsize=8)
            seconds = fit.folds * gradient.fit_seconds(n, s.n_voxels, schedule=schedule, **own)
        else:
            host = out_of_fold.out_of_fold_bytes(at_once, n_test=n_test, k=k, **sizes)
            seconds = out_of_fold.out_of_fold_seconds(n, k=k, n_folds=fit.folds, **sizes)
        bytes_in = array_bytes(s.n_stimuli, n) + fit.folds * s.gram_bytes
        bytes_out = array_bytes(n, s.n_stimuli + 2)
        need = Need(
            host_bytes=host
            + 2 * s.gram_bytes
            + needs.COMPILED_BYTES
            + array_bytes(s.n_stimuli, at_once)
            + reading_bytes(s.n_stimuli, at_once)
            + writing_bytes(n, s.n_stimuli + 2),
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            files_out=2,
            seconds=store_seconds(bytes_in + bytes_out) + seconds,
        )
        yield Tile(group, "out_of_fold", start, stop, need)


def layer_groups(study: Study, shapes: Shapes) -> Iterator[tuple[Group, str, str]]:
    """Yield the group of each split, ROI, network and layer, with the network's own name and the layer's."""
    for split, roi, network, layer in study.layer_sets():
        path = (split, roi, study.decoded_name(network), layer)
        upstream = [f"fit/{split}/{roi}/_brain", study.brain_key(split), shapes.made_by(network, layer)]
        if study.fit.has_grids:
            upstream.append(f"fit/{split}/{roi}/_folds")
        if study.fit.shares_system:
            upstream.append(f"fit/{split}/{roi}/_all_voxels")
        yield Group("fit", path, canonical(_settings_of(study, split)), tuple(upstream)), network, layer


#: Settings of decoders that say which test data are decoded while fitting; training stimuli know nothing of them.
_OF_TEST_DATA = ("decode", "datasets", "average")


def _settings_of(study: Study, split: str) -> dict[str, object]:
    """Return what decoders depend on, beyond what the groups that they read depend on."""
    fit = study.fit
    settings: dict[str, object] = {
        "estimator": fit.estimator,
        "n_voxels": fit.voxel_candidates or fit.n_voxels,
        "alpha": fit.alpha_candidates if fit.estimator == "ridge" else None,
        "penalize_bias": fit.penalize_bias,
        "decode": fit.decode,
    }
    if fit.estimator == "ard":
        settings["ard"] = fit.ard.model_dump()
    if fit.estimator == "gradient":
        settings |= {"gradient": fit.gradient.model_dump(), "seed": study.seed}
    if fit.spatial_norm is not None:
        settings["spatial_norm"] = fit.spatial_norm
    if fit.has_grids:
        settings |= {"folds": fit.folds, "choice_units": fit.choice_units, "per": "unit" if fit.per_unit else "layer"}
    if fit.decode:
        settings |= {"datasets": study.test_datasets(split), "average": study.decode.average}
    if fit.has_grids or study.units is not None:
        settings |= {"units": study.units, "seed": study.seed}
    return settings


def out_of_fold_group(study: Study, group: Group) -> Group:
    """Return the group of a layer's out-of-fold predictions; `group` is that of its decoders."""
    split, roi, decoded_name, layer = group.path
    decoders = {key: value for key, value in _settings_of(study, split).items() if key not in _OF_TEST_DATA}
    settings = {"decoders": decoders, "folds": study.fit.folds, "seed": study.seed}
    upstream = dict.fromkeys((*group.upstream, f"fit/{split}/{roi}/_folds"))
    return Group("fit", (split, roi, "_out_of_fold", decoded_name, layer), canonical(settings), tuple(upstream))
