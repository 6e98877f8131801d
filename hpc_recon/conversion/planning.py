"""The tiles of `convert`, in the order of its stages, and what each will need: from sizes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpc_recon.conversion import blocks, spaces
from hpc_recon.core import threads
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import FROM, WITH, owner, seen_by
from hpc_recon.core.errors import StudyError
from hpc_recon.core.memory import array_bytes, reading_bytes, writing_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, store_seconds
from hpc_recon.numerics import all_voxels, needs, transport
from hpc_recon.stores import brain

#: Options of the section on which fitted converters depend; the rest concerns what is made with them.
_FITTED = ("method", "blocks", "hemispheres", "n_voxels", "alpha", "folds", "samples", "average", "stimuli", "shuffle")
#: Values permuted a second of one core: of profiles (24 trials of 50 stimuli, 1,024 voxels: 1.1e9 measured), and of
#: patterns (24 trials of 5,000 voxels, 50 stimuli: 4.1e8), whose voxels are permuted for few stimuli at a time.
_PROFILES_PER_SECOND, _PATTERNS_PER_SECOND = 1.1e9, 4.1e8


#: Options that one method alone reads, and that are in the fingerprint of its converters.
_OF_METHOD = {"hyperalignment": "template", "optimal_transport": "regularisation", "content_loss": "content"}


def tiles(study: Study, shapes: Shapes, given: Mapping[str, str] | None = None) -> list[Tile]:
    """Return the tiles of all stages: spaces, converters, apply, pool, ceilings, scores.

    Parameters
    ----------
    given
        What identifies the files of each pair (`convert.files`); None or empty: converters are fitted.

    Raises
    ------
    StudyError
        If the study has no section `convert`.
    MissingStore
        If brain samples do not exist yet.
    """
    if study.convert is None:
        raise StudyError(study.name, ["has no section `convert:`, so there is nothing to convert; add one"])
    pairs = study.convert.fitted(study.subjects)
    found = _spaces(study, shapes) if spaces.has_space(study) else []
    for split in pairs:
        if given:
            found += _given(study, shapes, split, given[split])
        elif study.convert.after_fit:
            found.append(_content(study, shapes, split))
        else:
            found += _converters(study, shapes, split)
    found += [_apply(study, shapes, split) for split in pairs]
    found += [_pool(study, shapes, split) for split in study.convert.pooled(study.subjects)]
    found += [_ceiling(study, shapes, target) for target in dict.fromkeys(map(owner, pairs))]
    return found + [_scores(study, shapes, split) for split in pairs]


def converter_group(study: Study, split: str) -> Group:
    """Return the group of the fitted blocks of a pair."""
    content = {**_settings(study), "training": study.training_dataset, "seed": study.seed}
    content |= {"samples": blocks.options_of(study).samples_of(split)}
    if blocks.options_of(study).weighs:
        content["weighting"] = "reliability"
    if blocks.options_of(study).matches_variance:
        content["variance"] = "matched"
    upstream = list(dict.fromkeys((study.brain_key(seen_by(split)), study.brain_key(owner(split)))))
    upstream += ["convert/spaces"] if spaces.has_space(study) else []
    return Group("convert", ("converters", split), canonical(content), (*upstream, f"{study.source_verb}/stimuli"))


def content_group(study: Study, shapes: Shapes, split: str) -> Group:
    """Return the group of a pair whose converter learns from the decoders of its target."""
    group, (target, roi) = converter_group(study, split), judges(study, split)
    upstream = [*group.upstream, f"fit/{target}/{roi}/_brain"]
    for network, options in study.networks.items():
        for layer in options.layers:
            upstream += [f"fit/{target}/{roi}/{study.decoded_name(network)}/{layer}", shapes.made_by(network, layer)]
    return Group("convert", group.path, group.settings, tuple(dict.fromkeys(upstream)))


def judges(study: Study, split: str) -> tuple[str, str]:
    """Return the subject and ROI whose decoders judge a pair's converter."""
    return owner(split), blocks.options_of(study).content.roi or study.rois[0]


def _settings(study: Study) -> dict[str, object]:
    options = blocks.options_of(study)
    own = _OF_METHOD.get(options.method)
    settings: dict[str, object] = options.model_dump(mode="json", include={*_FITTED, *([own] if own else [])})
    return settings


def _spaces(study: Study, shapes: Shapes) -> list[Tile]:
    """Return a tile a block: all subjects' samples, and three alignments of each."""
    content = {**_settings(study), "training": study.training_dataset, "seed": study.seed, "subjects": study.subjects}
    upstream = (*(study.brain_key(subject) for subject in study.subjects), f"{study.source_verb}/stimuli")
    group, found = Group("convert", ("spaces",), canonical(content), upstream), []
    stored = [shapes.n_samples(subject, study.training_dataset) for subject in study.subjects]
    n = min([*stored, *([samples] if (samples := blocks.options_of(study).samples) else [])])
    for number, name in enumerate(blocks.names(blocks.options_of(study))):
        counts = [_n_voxels(shapes, subject, name) for subject in study.subjects]
        most, q = max(counts), min(n, max(counts))
        samples_bytes = 8 * n * most * len(counts)
        maps = 8 * most * sum(counts)
        need = Need(
            host_bytes=3 * samples_bytes + maps + 4 * 8 * most * most + reading_bytes(max(stored), most),
            bytes_in=sum(array_bytes(own, most) for own in stored),
            bytes_out=maps // 2,
            files_out=2 * len(counts),
            seconds=store_seconds(samples_bytes)
            + 3 * len(counts) * (2.0 * n * most * most + 22.0 * q**3) / all_voxels.EIGEN_PER_SECOND,
        )
        found.append(Tile(group, "spaces", number, number + 1, need))
    return found


def _given(study: Study, shapes: Shapes, split: str, identity: str) -> list[Tile]:
    """Return a tile a block, which reads the whole matrix of a pair."""
    options = blocks.options_of(study)
    content = {"files": identity, "roi": options.files_roi, "blocks": options.blocks, "cut": options.hemispheres}
    group = Group("convert", ("converters", split), canonical(content), converter_group(study, split).upstream)
    n_source, n_target = (shapes.n_voxels(s, options.files_roi) for s in (seen_by(split), owner(split)))
    matrix = array_bytes(n_source + 1, n_target)
    training = array_bytes(shapes.n_samples(seen_by(split), study.training_dataset), n_source)
    need = Need(
        host_bytes=4 * matrix + 3 * training,
        bytes_in=matrix + training,
        bytes_out=matrix,
        files_out=6,
        seconds=store_seconds(2 * matrix + training),
    )
    return [Tile(group, "converters", i, i + 1, need) for i in range(len(blocks.names(options)))]


def _content(study: Study, shapes: Shapes, split: str) -> Tile:
    """Return the one tile of a pair: all blocks learn together."""
    options, target = blocks.options_of(study).content, owner(split)
    names = blocks.names(blocks.options_of(study))
    weights = sum(_n_voxels(shapes, seen_by(split), x) * _n_voxels(shapes, target, x) for x in names)
    n, n_layers = _n_pairs(study, shapes, split), sum(len(network.layers) for network in study.networks.values())
    n_source, n_target = (_most_voxels(study, shapes, subject) for subject in (seen_by(split), target))
    batch, width = min(n, options.batch), study.fit.most_voxels(n_target)
    units = options.units * n_layers
    step = 6 * batch * weights + 6 * batch * n_target * options.at_once * n_layers
    need = Need(
        host_bytes=6 * 4 * weights
        + 3 * array_bytes(n, n_source)
        + 4 * array_bytes(batch, n_source + n_target)
        + units * (8 * width + 4 * n)
        + array_bytes(options.at_once, n_target),
        bytes_in=array_bytes(n, n_source) + units * (8 * width + 4 * n),
        bytes_out=4 * weights,
        files_out=5 * len(names),
        seconds=store_seconds(4 * weights + units * 4 * n)
        + options.steps * (step / needs.GEMM_PER_SECOND / threads.available() + 0.01),
    )
    return Tile(content_group(study, shapes, split), "converters", 0, len(names), need)


def _n_voxels(shapes: Shapes, subject: str, name: str) -> int:
    """Return how many voxels a block has at most."""
    return min(shapes.n_voxels(subject, part) for part in name.split("."))


def _n_pairs(study: Study, shapes: Shapes, split: str) -> int:
    both = [shapes.n_samples(subject, study.training_dataset) for subject in (seen_by(split), owner(split))]
    return min([*both, *([samples] if (samples := blocks.options_of(study).samples_of(split)) else [])])


def _converters(study: Study, shapes: Shapes, split: str) -> Iterator[Tile]:
    """Yield a tile a block: a factorisation, one product for all target voxels, and a fold each for a list of alpha."""
    options, n_threads = blocks.options_of(study), threads.available()
    n, group = _n_pairs(study, shapes, split), converter_group(study, split)
    stored = [shapes.n_samples(subject, study.training_dataset) for subject in (seen_by(split), owner(split))]
    n_alphas = 1 if options.alpha == "published" else len(options.alpha)
    for number, name in enumerate(blocks.names(options)):
        n_source, n_target = (_n_voxels(shapes, subject, name) for subject in (seen_by(split), owner(split)))
        k = n_source if options.n_voxels == "all" else min(options.n_voxels, n_source)
        samples = array_bytes(n, n_source + n_target)
        sizes = {"n_stimuli": n, "n_threads": n_threads}
        own = max(
            all_voxels.system_bytes(n, n_source, n_items=n if n_alphas > 1 else 0, n_alphas=n_alphas, **sizes),
            all_voxels.fit_bytes(n_target, n_source, n_samples=n, **sizes) + 8 * min(n, n_source) ** 2,
        )
        seconds = all_voxels.spectrum_seconds(n, n_source, n_items=n, n_alphas=1, n_threads=n_threads)
        products = 2 if options.matches_variance else 1
        seconds += products * 2 * n * k * n_target / needs.GEMM_PER_SECOND / n_threads
        if options.method != "ridge":
            z_scored, q = 16 * n * (n_source + n_target), min(n, n_source, n_target)
            own = 32 * n_source * n_target + z_scored
            seconds = (2.0 * n * n_source * n_target + 22.0 * q**3) / all_voxels.EIGEN_PER_SECOND
            seconds *= 1 if options.method == "procrustes" else 4
            if options.method == "optimal_transport":
                own = transport.transport_bytes(n_source, n_target, regularisation=options.regularisation) + z_scored
                seconds = transport.transport_seconds(n_source, n_target, regularisation=options.regularisation)
        need = Need(
            host_bytes=max(reading_bytes(max(stored), max(n_source, n_target)), 0) + 2 * samples + own,
            bytes_in=array_bytes(stored[0], n_source) + array_bytes(stored[1], n_target),
            bytes_out=array_bytes(n_target, k * (1 if k == n_source else 2)),
            files_out=5,
            seconds=store_seconds(samples) + seconds * (1 if n_alphas == 1 else 1 + options.folds * n_alphas / 2),
        )
        yield Tile(group, "converters", number, number + 1, need)


def _apply(study: Study, shapes: Shapes, split: str) -> Tile:
    source, target = seen_by(split), owner(split)
    datasets = study.test_datasets(split)
    group = Group(
        "convert",
        (split,),
        canonical({"datasets": datasets, "rois": [*study.rois, *blocks.options_of(study).areas]}),
        (f"convert/converters/{split}", *dict.fromkeys((study.brain_key(source), study.brain_key(target)))),
    )
    return Tile(group, "apply", 0, 1, _converting(study, shapes, {source: datasets}, target))


def _pool(study: Study, shapes: Shapes, split: str) -> Tile:
    options, target = blocks.options_of(study), split.partition(WITH)[0]
    sources = options.sources(split, study.subjects)
    content = {"sources": sources, "datasets": study.test_datasets(split), "rois": [*study.rois, *options.areas]}
    upstream = [*(study.brain_key(name) for name in (target, *sources))]
    upstream += [f"convert/converters/{target}{FROM}{source}" for source in sources]
    training = [study.training_dataset]
    need = _converting(study, shapes, dict.fromkeys((*sources, target), training), target)
    return Tile(Group("convert", (split,), canonical(content), tuple(upstream)), "pool", 0, 1, need)


def _converting(study: Study, shapes: Shapes, sources: dict[str, list[str]], target: str) -> Need:
    """Project a tile that converts datasets of sources: samples of both sides, and the largest block's weights."""
    options = blocks.options_of(study)
    voxels = {name: _most_voxels(study, shapes, name) for name in (*sources, target)}
    counts = {name: [shapes.n_samples(name, d) for d in datasets] for name, datasets in sources.items()}
    written = sum(array_bytes(n, voxels[target]) for own in counts.values() for n in own)
    read = sum(array_bytes(n, voxels[name]) for name, own in counts.items() for n in own)
    weights = [
        array_bytes(_n_voxels(shapes, target, block), _n_voxels(shapes, name, block))
        for name in sources
        for block in blocks.names(options)
    ]
    largest = max(n for own in counts.values() for n in own)
    return Need(
        host_bytes=2 * max(weights)
        + 3 * array_bytes(largest, max(voxels.values()))
        + written
        + writing_bytes(largest, voxels[target]),
        bytes_in=read + sum(weights),
        bytes_out=written,
        files_out=2 + sum(map(len, counts.values())),
        seconds=store_seconds(read + written + sum(weights)) + 2 * written * max(voxels.values()) / 4 / 2e10,
    )


def _ceiling(study: Study, shapes: Shapes, target: str) -> Tile:
    options = blocks.options_of(study)
    datasets = study.test_datasets(target)
    n_voxels = _most_voxels(study, shapes, target)
    counts = [shapes.n_samples(target, dataset) for dataset in datasets]
    settings = {"permutations": options.permutations, "seed": study.seed, "datasets": datasets}
    settings |= {"rois": [*study.rois, *options.areas]}
    group = Group("convert", ("ceilings", target), canonical(settings), (study.brain_key(target),))
    rois = dict.fromkeys((*study.rois, *options.areas))
    in_rois = sum(shapes.n_voxels(target, roi) for roi in rois)
    permuted = sum(counts) * (n_voxels / _PROFILES_PER_SECOND + in_rois / _PATTERNS_PER_SECOND)
    training = shapes.n_samples(target, study.training_dataset)
    need = Need(
        host_bytes=4 * array_bytes(max(counts), n_voxels, itemsize=8)
        + array_bytes(options.permutations, 1024)
        + reading_bytes(training, n_voxels)
        + array_bytes(training, n_voxels),
        bytes_in=array_bytes(sum(counts) + training, n_voxels),
        bytes_out=array_bytes(n_voxels, 4),
        files_out=len(datasets),
        seconds=store_seconds(array_bytes(sum(counts) + training, n_voxels)) + options.permutations * permuted,
    )
    return Tile(group, "ceilings", 0, 1, need)


def _scores(study: Study, shapes: Shapes, split: str) -> Tile:
    options, target = blocks.options_of(study), owner(split)
    n_voxels = _most_voxels(study, shapes, target)
    n = sum(shapes.n_samples(seen_by(split), dataset) for dataset in study.test_datasets(split))
    content = {"datasets": study.test_datasets(split), "rois": study.rois, "areas": options.areas}
    upstream = (f"convert/{split}", f"convert/ceilings/{target}", f"convert/converters/{split}")
    training = shapes.n_samples(target, study.training_dataset)
    weights = [
        array_bytes(_n_voxels(shapes, target, name), _n_voxels(shapes, seen_by(split), name))
        for name in blocks.names(options)
    ]
    need = Need(
        host_bytes=6 * array_bytes(n, n_voxels, itemsize=8)
        + reading_bytes(training, n_voxels)
        + array_bytes(training, n_voxels)
        + 2 * max(weights),
        bytes_in=array_bytes(2 * n + training, n_voxels) + sum(weights),
        bytes_out=2**16,
        files_out=2,
        seconds=store_seconds(array_bytes(2 * n + training, n_voxels) + sum(weights)) + n * n_voxels / 1e7,
    )
    return Tile(Group("convert", ("scores", split), canonical(content), upstream), "scores", 0, 1, need)


def _most_voxels(study: Study, shapes: Shapes, subject: str) -> int:
    """Return how many voxels a subject's samples have: at least those of any ROI."""
    options = blocks.options_of(study)
    named = dict.fromkeys((*study.rois, *options.areas, *options.blocks, brain.ALL_VOXELS))
    known = [roi for roi in named if roi != brain.ALL_VOXELS or roi in (*study.rois, *options.blocks)]
    return max(shapes.n_voxels(subject, roi) for roi in known)
