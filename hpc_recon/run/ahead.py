"""What a later command of a chain would refuse is refused before the commands before it run for days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpc_recon.core import threads
from hpc_recon.core.errors import MissingStore
from hpc_recon.run import known_shapes
from hpc_recon.run.verbs import Verb

if TYPE_CHECKING:
    from hpc_recon.core.config import Study
    from hpc_recon.run.clusters import Place


@dataclass
class Ahead:
    """The commands of a chain that were not yet planned: as soon as sizes are known, each is, once.

    A plan reads files that the study names (weights, bounds of latents, masks) and looks whether its options fit each
    other and the data; it writes nothing. Sizes that no store holds yet are those that the study declares.
    """

    study: Study
    place: Place
    left: list[Verb] = field(default_factory=list)

    @classmethod
    def of(cls, verbs: Sequence[Verb], study: Study, place: Place) -> Ahead:
        """Return the commands after the first, which is planned as it begins."""
        return cls(study, place, list(verbs[1:]))

    def look(self) -> None:
        """Plan what can be planned by now.

        Raises
        ------
        ReconError
            If a command would refuse the study.
        """
        if not self.left:
            return
        shapes, waiting = known_shapes.read(self.study), []
        for verb in self.left:
            try:
                with threads.planned_for(self.place.worker_threads):
                    verb.load().plan(self.study, shapes)
            except MissingStore:
                waiting.append(verb)  # a command before it makes what its sizes depend on
        self.left = waiting
