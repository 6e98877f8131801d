"""What the options of every reconstruction method have in common.

A method's class says beside its keys what `reconstruct` and the checks of a study must know of it: whether it reads
decoders, whether it runs its network, and which mistakes only show when the whole study is seen
(docs/adding_a_method.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from hpc_recon.core.network_options import FEATURES_ONLY
from hpc_recon.core.section import Section
from hpc_recon.core.text import checked_name, closest

if TYPE_CHECKING:
    from hpc_recon.core.config import Study
    from hpc_recon.core.network_options import Network

Name = Annotated[str, AfterValidator(checked_name)]


class MethodOptions(Section):
    """What every method has: the network whose decoded features it reads, and which images it makes."""

    network: Name = Field(description="a name from `networks:`")
    datasets: tuple[Name, ...] | None = Field(None, description="test datasets to reconstruct; default: all")
    rois: tuple[Name, ...] | None = Field(None, description="ROIs whose decoded features are used; default: all")
    subjects: tuple[str, ...] | None = Field(None, description="subjects (base names); default: all")
    title: str | None = Field(None, description="name in the report; default: the name of this entry")
    images_per_tile: Annotated[int, BeforeValidator(lambda given: 0 if given == "auto" else given)] = Field(
        1, ge=0, description="images that one task reconstructs together; auto (or 0): as many as fit a GiB, 48 at most"
    )

    @property
    def needs_stimuli(self) -> bool:
        """Whether images are made from true features, which items without a stimulus do not have."""
        return False

    @property
    def reads_decoders(self) -> bool:
        """Whether images are made from what decoders give, so that there are as many as decoded splits."""
        return True

    @property
    def runs_network(self) -> bool:
        """Whether `network` is run, so that its weights are needed even where its features come from files."""
        return False

    def problems(self, study: Study, where: str) -> list[str]:
        """Return the mistakes of the entry `where` of a study that its own section cannot know, a line each."""
        network = study.networks.get(self.network)
        if network is None:
            return [f"{where}.network: unknown network {self.network!r}{closest(self.network, study.networks)}"]
        found = []
        tests = [key for key, dataset in study.datasets.items() if dataset.role == "test"]
        for key, chosen, known in (
            ("datasets", self.datasets, tests),
            ("rois", self.rois, study.rois),
            ("subjects", self.subjects, study.subjects),
        ):
            found += [f"{where}.{key}: unknown name {x!r}{closest(x, known)}" for x in chosen or () if x not in known]
        if self.runs_network and network.architecture == FEATURES_ONLY:
            return [
                *found,
                f"{where}: the network {self.network!r} is known by its features alone, and this method runs it; give "
                "its architecture and weights beside `features`",
            ]
        return [*found, *self.own_problems(study, where, network)]

    def own_problems(self, study: Study, where: str, network: Network) -> list[str]:
        """Return what `problems` shall say of this method's own keys; `network` is the entry's, and it is there."""
        return []


def not_decoded(where: str, layers: Iterable[str], network: Network) -> list[str]:
    """Return a problem for each layer that a network does not have."""
    return [
        f"{where}: layer {layer!r} is not decoded{closest(layer, network.layers)}"
        for layer in layers
        if layer not in network.layers
    ]


def not_trained(study: Study, where: str, options: MethodOptions, name: str, *, method: str) -> list[str]:
    """Return what is wrong with the entry of `train:` that an entry of a method names.

    Parameters
    ----------
    name
        The entry under `train:`.
    method
        What it must train.
    """
    model = study.train.get(name)
    if model is None:
        return [f"{where}.model: unknown name {name!r}{closest(name, study.train)}"]
    if model.method != method:
        return [f"{where}.model: {name!r} is trained by {model.method}; name one of method {method}"]
    problems = []
    for key in ("subjects", "rois"):
        trained = getattr(model, key)
        wanted = getattr(options, key) or getattr(study, key)
        absent = [x for x in wanted if trained is not None and x not in trained]
        if absent:
            problems.append(f"{where}.{key}: {', '.join(absent)} not trained by {name!r}; choose from its own")
    return problems
