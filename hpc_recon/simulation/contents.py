"""What a simulated study holds: its datasets, how many stimuli and presentations each has, and mistakes in them."""

from __future__ import annotations

from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.simulate_options import Simulate
from hpc_recon.core.text import closest
from hpc_recon.nets import zoo
from hpc_recon.simulation import stimuli
from hpc_recon.simulation.areas import ROIS, model_network
from hpc_recon.simulation.drawing import N_SHAPES
from hpc_recon.simulation.presets import PRESETS, Preset
from hpc_recon.simulation.stimuli import StimulusSet

#: Datasets with stimuli of their own, in the order of their rows in the stimulus table.
DRAWN = ("training", "natural", "shapes", "letters")
#: Shows the stimuli of `shapes`.
IMAGERY = "imagery"


def problems(study: Study, section: Simulate) -> list[str]:
    """Return every mistake of a study that only matters when it is simulated."""
    found = []
    for name, dataset in study.datasets.items():
        role = "training" if name == "training" else "test"
        if name not in (*DRAWN, IMAGERY):
            found.append(f"datasets: {name!r} cannot be simulated{closest(name, (*DRAWN, IMAGERY))}")
        elif dataset.role != role:
            found.append(f"datasets.{name}.role: the simulated dataset {name!r} has role: {role}, not {dataset.role}")
    if (IMAGERY in study.datasets) != section.imagery:
        found.append(
            f"simulate.imagery is {str(section.imagery).lower()}, but datasets "
            f"{'lists' if IMAGERY in study.datasets else 'does not list'} {IMAGERY!r}: change one of them"
        )
    if IMAGERY in study.datasets and "shapes" not in study.datasets:
        found.append(f"datasets: {IMAGERY!r} imagines the shapes, so list 'shapes' too")
    if section.n_shapes > N_SHAPES:
        found.append(f"simulate.n_shapes: there are {N_SHAPES} coloured shapes; got {section.n_shapes}")
    found += [f"rois: {roi!r} cannot be simulated{closest(roi, ROIS)}" for roi in study.rois if roi not in ROIS]
    brain = model_network(study.seed)
    found += [
        f"networks.{name}: is the network that the simulated brain sees with; choose other weights than {brain.weights}"
        for name, network in study.networks.items()
        if network.architecture.startswith("vgg11") and network.weights == brain.weights
    ]
    for name, network in study.networks.items():
        try:
            zoo.check(network, image_size=section.image_size, runs=study.runs(name))
        except StudyError as error:
            found += error.problems
    return found


def drawn(study: Study) -> list[str]:
    """Return the datasets of a study that have stimuli of their own, in the order of their rows."""
    return [name for name in DRAWN if name in study.datasets]


def n_stimuli(section: Simulate, dataset: str) -> int:
    """Return the number of stimuli of a dataset."""
    return {
        "training": section.n_training,
        "natural": section.n_natural,
        "shapes": section.n_shapes,
        "letters": section.n_letters,
        IMAGERY: section.n_shapes,
    }[dataset]


def n_repeats(section: Simulate, dataset: str) -> int:
    """Return how often each stimulus of a dataset is presented."""
    preset = PRESETS[section.preset]
    return {
        "training": section.training_repeats,
        "natural": preset.natural_repeats,
        "shapes": preset.shape_repeats,
        "letters": preset.letter_repeats,
        IMAGERY: preset.imagery_repeats,
    }[dataset]


def n_samples(section: Simulate, dataset: str) -> int:
    """Return the number of brain samples of a dataset; training samples are averaged if the study says so."""
    averaged = dataset == "training" and section.average_training
    return n_stimuli(section, dataset) * (1 if averaged else n_repeats(section, dataset))


def preset_of(section: Simulate, dataset: str) -> Preset:
    """Return signal and noise of a dataset: imagery has a weaker signal."""
    preset = PRESETS[section.preset].louder(section.noise_scale)
    return preset.fainter(preset.imagery) if dataset == IMAGERY else preset


def draw(section: Simulate, dataset: str, *, study_seed: int) -> StimulusSet:
    """Return the stimuli of a dataset."""
    n, size = n_stimuli(section, dataset), section.image_size
    seed = seed_of(study_seed, "stimuli", dataset)
    match dataset:
        case "training":
            return stimuli.training_crops(n, image_size=size, seed=seed)
        case "natural":
            return stimuli.natural_crops(n, image_size=size, seed=seed)
        case "shapes":
            return stimuli.shapes(n, image_size=size)
        case _:
            return stimuli.letters(n, image_size=size)
