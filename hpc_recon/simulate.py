"""Make a synthetic study with known truth: photographs, shapes and letters, and the noisy voxels that see them.

One tile makes the stimuli; then one tile a subject makes the brain samples of all its datasets and the ROI masks
V1 V2 V3 V4 HVC. The datasets that can be made are `training`, `natural`, `shapes`, `letters` and `imagery`; a study
lists those it wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.simulate_options import Simulate
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical

_STIMULI_KEY = "simulate/stimuli"
#: Measured on one of two shared cores: crops a second, images that the areas see a second, values drawn a second.
_CROPS_PER_SECOND = 300
_IMAGES_PER_SECOND = 60
_VALUES_PER_SECOND = 20e6
#: The model network, one batch of its maps, and torch's own buffers (measured).
_READOUT_BYTES = 700 * 2**20
#: All photographs decoded, and one while it is cut.
_PHOTOGRAPH_BYTES = 64 * 2**20


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile for the stimuli and one for each subject; the study alone says all sizes.

    Raises
    ------
    StudyError
        With every dataset, ROI, number or network that cannot be simulated.
    """
    from hpc_recon.simulation import contents
    from hpc_recon.stores import layout

    section = _checked(study)
    drawn = contents.drawn(study)
    settings = section.model_dump(include={"image_size", *(f"n_{name}" for name in drawn)})
    group = Group("simulate", ("stimuli",), canonical(settings | {"seed": study.seed, "datasets": drawn}))
    n_stimuli = sum(contents.n_stimuli(section, name) for name in drawn)
    shape = (n_stimuli, section.image_size, section.image_size)
    n_bytes = array_bytes(*shape, 3, itemsize=1)
    need = Need(
        host_bytes=_PHOTOGRAPH_BYTES + 2 * n_bytes + shard_bytes(n_bytes, itemsize=1),
        bytes_out=n_bytes,
        files_out=1 + _count(n_stimuli, layout.stimuli_geometry(*shape).shards[0]),
        seconds=1 + n_stimuli / _CROPS_PER_SECOND,
    )
    tiles = [Tile(group, "stimuli", 0, 1, need)]
    settings = section.model_dump(exclude={"image_size", "signal", *(f"n_{name}" for name in contents.DRAWN)})
    settings |= {} if section.signal == "image" else {"signal": section.signal}  # older brains are still the same
    settings |= {"seed": study.seed, "datasets": sorted(study.datasets)}
    for subject in study.splits():
        group = Group("simulate", (subject,), canonical(settings), (_STIMULI_KEY,))
        tiles.append(Tile(group, "brain", 0, 1, _brain_need(study, section, shape=shape)))
    return tiles


def _section(study: Study) -> Simulate:
    if study.simulate is None:
        raise StudyError(
            study.name, ["has no section `simulate:`; its brain data come from `python -m hpc_recon.ingest`"]
        )
    return study.simulate


def _checked(study: Study) -> Simulate:
    from hpc_recon.simulation import contents

    section = _section(study)
    problems = contents.problems(study, section)
    if problems:
        raise StudyError(study.name, problems)
    return section


def _count(n: int, step: int) -> int:
    return -(-n // step)


def _brain_need(study: Study, section: Simulate, *, shape: tuple[int, int, int]) -> Need:
    """Project a subject's tile: the answers to all stimuli, then one dataset after the other."""
    from hpc_recon.simulation import areas, contents
    from hpc_recon.stores import layout

    n_samples = {name: contents.n_samples(section, name) for name in study.datasets}
    sizes = [array_bytes(n, section.n_voxels) for n in n_samples.values()]
    fields = array_bytes(section.n_voxels, areas.SIZE**2)
    answers = array_bytes(shape[0], section.n_voxels, itemsize=12)  # float32, and once in float64 while standardised
    trial = array_bytes(
        max(contents.n_stimuli(section, name) for name in study.datasets), section.n_voxels, itemsize=12
    )
    drawn = sum(contents.n_repeats(section, d) * contents.n_stimuli(section, d) for d in study.datasets)
    return Need(
        host_bytes=_READOUT_BYTES + fields + answers + trial + max(shard_bytes(size, itemsize=1) for size in sizes),
        bytes_in=array_bytes(*shape, 3, itemsize=1),
        bytes_out=sum(sizes) + section.n_voxels * len(areas.AREAS),
        files_out=len(areas.AREAS) + sum(1 + _count(n, layout.SAMPLES_PER_SHARD) for n in n_samples.values()),
        seconds=5 + shape[0] / _IMAGES_PER_SECOND + drawn * section.n_voxels / _VALUES_PER_SECOND,
    )


def prepare(study: Study) -> None:
    """Check the study once more; each array belongs to one tile, which creates it.

    Raises
    ------
    StudyError
        As `plan`.
    """
    _checked(study)


def work(study: Study, tile: Tile) -> list[Path]:
    """Make and write the stimuli, or the brain samples and ROI masks of one subject.

    Returns
    -------
    list of Path
        Every file written, flushed to disk.
    """
    if tile.stage == "stimuli":
        return _write_stimuli(study, tile)
    return _write_brain(study, tile)


def _write_stimuli(study: Study, tile: Tile) -> list[Path]:
    import numpy as np

    from hpc_recon.simulation import contents
    from hpc_recon.stores import images, layout

    names = contents.drawn(study)
    sets = [contents.draw(_section(study), name, study_seed=study.seed) for name in names]
    made = images.Stimuli(
        images=np.concatenate([s.images for s in sets]),
        labels=tuple(label for s in sets for label in s.labels),
        dataset=tuple(name for name, s in zip(names, sets, strict=True) for _ in s.labels),
        category=tuple(category for s in sets for category in s.category),
        source=tuple(source for s in sets for source in s.source),
    )
    return images.write_stimuli(layout.workspace_of(study), made, made_by=tile.group.key)


def _write_brain(study: Study, tile: Tile) -> list[Path]:
    import numpy as np

    from hpc_recon.simulation import areas, contents, trials, voxels
    from hpc_recon.stores import brain, images, layout

    section, workspace = _section(study), layout.workspace_of(study)
    (subject,) = tile.group.path
    table = images.read_table(workspace)
    owner = np.array(table.dataset)
    population = voxels.population(
        subject, n_voxels=section.n_voxels, preset=contents.preset_of(section, "training"), study_seed=study.seed
    )
    answers = voxels.responses(images.read_images(workspace), population, study_seed=study.seed)
    if section.signal == "category":
        answers = voxels.category_means(answers, list(zip(table.dataset, table.category, strict=True)))
    signal = voxels.standardised(answers, owner == "training")
    files = []
    for dataset in study.datasets:
        rows = np.flatnonzero(owner == ("shapes" if dataset == contents.IMAGERY else dataset))
        made = trials.trials(
            signal[rows],
            population,
            n_repeats=contents.n_repeats(section, dataset),
            preset=contents.preset_of(section, dataset),
            seed=seed_of(study.seed, "trials", subject, dataset),
            patterns=signal[owner == "training"][: trials.N_PATTERNS],
            average=dataset == "training" and section.average_training,
        )
        labels = tuple(table.labels[rows[i]] for i in made.stimulus)
        samples = brain.Brain(made.samples, labels, made.columns)
        files += brain.write_brain(workspace, subject, dataset, samples, made_by=tile.group.key)
    for area in areas.AREAS:
        mask = population.mask(area.name)
        files += brain.write_roi(workspace, subject, area.name, mask, made_by=tile.group.key)
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see `python -m hpc_recon.simulate --help`."""
    from hpc_recon.run import cli

    return cli.main("simulate", argv)


if __name__ == "__main__":
    raise SystemExit(main())
