"""What the options of everything that is trained (`train:`) have in common.

An entry's class says beside its keys what `train` and the checks of a study must know of it: the entries that it stands
for, the size of the images that it learns from, and which mistakes only show when the whole study is seen. Which module
trains it stands in one table (`hpc_recon.training`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Self, TypeVar

from pydantic import AfterValidator, Field

from hpc_recon.core.section import Section
from hpc_recon.core.text import checked_name, closest

if TYPE_CHECKING:
    from hpc_recon.core.config import Study

Name = Annotated[str, AfterValidator(checked_name)]
Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=1, description="steps in all; more may be added later")]
StepsPerTile = Annotated[
    int, Field(ge=1, description="steps of one task, which begins at the checkpoint of the one before")
]
CheckpointEvery = Annotated[int, Field(ge=1, description="steps after which a task that is killed goes on")]
LogEvery = Annotated[int, Field(ge=1, description="steps between two rows of the table of losses")]
Batch = Annotated[int, Field(ge=1, description="samples of one step")]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(description="makes an entry <name>.seed<N> of this one for each")
]


class TrainingOptions(Section):
    """What every entry has: whose samples it learns from, its seed, its steps, and how they are run."""

    method: str = Field(description="chooses what is trained")
    subjects: tuple[str, ...] | None = Field(None, description="subjects (base names); default: all")
    rois: tuple[Name, ...] | None = Field(None, description="ROIs, one network each; default: all")
    seed: int = Field(0, ge=0, description="of weights, order and all else that is drawn, beside the study's seed")
    steps: Steps
    steps_per_tile: StepsPerTile
    checkpoint_every: CheckpointEvery
    log_every: LogEvery
    pictures_every: int | None = Field(
        None, ge=1, description="steps between two pictures of examples, which each task leaves at its end too"
    )
    batch: Batch
    loading_threads: int = Field(1, ge=1, le=16, description="threads that make the next batches ready")
    seconds_per_step: float | None = Field(
        None, gt=0, description="measured seconds of a step where it will run, for projections; default: for a CPU"
    )

    @property
    def pictures_size(self) -> int | None:
        """Height and width, pixels, that stimuli are resized to; None where no images are learnt from."""
        return None

    def entries(self, name: str) -> Mapping[str, Self]:
        """Return the entries that one entry stands for, by name: itself, unless it has keys that make others."""
        return {name: self}

    def problems(self, study: Study, where: str) -> list[str]:
        """Return the mistakes of the entry `where` of a study that its own section cannot know, a line each."""
        found = []
        for key, chosen, known in (("rois", self.rois, study.rois), ("subjects", self.subjects, study.subjects)):
            found += [f"{where}.{key}: unknown name {x!r}{closest(x, known)}" for x in chosen or () if x not in known]
        return [*found, *self.own_problems(study, where)]

    def own_problems(self, study: Study, where: str) -> list[str]:
        """Return what `problems` shall say of this method's own keys."""
        return []


T = TypeVar("T", bound=TrainingOptions)


def by_seed(entries: Mapping[str, T], seeds: Sequence[int]) -> dict[str, T]:
    """Return an entry `<name>.seed<N>` of each entry for each seed; without seeds the entries as they are."""
    if not seeds:
        return dict(entries)
    return {f"{n}.seed{seed}": own.model_copy(update={"seed": seed}) for n, own in entries.items() for seed in seeds}
