"""Plans of runs that may never happen: a dry run, or all units of a study of which a sample was decoded.

Sizes come from the workspace; what it does not hold yet, from the study file (`sizes:`, or the `simulate` section) and
from the networks' architectures. So a study can be projected before there are any data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hpc_recon.core import receipts, threads
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore, ReconError, StudyError
from hpc_recon.core.tiles import Tile, select
from hpc_recon.core.units import EveryNth, Units
from hpc_recon.run import known_shapes, rates, session
from hpc_recon.run.clusters import Place
from hpc_recon.run.dryrun import Forecast
from hpc_recon.run.verbs import Verb, bound

if TYPE_CHECKING:
    from hpc_recon.run.options import Options

#: Late bindings to another library, as `verbs.SHAPES`.
WITHOUT_WEIGHTS = "hpc_recon.nets.declared:without_weights"
WITHOUT_GENERATORS = "hpc_recon.nets.declared:without_generators"
#: Commands whose fingerprints name the generators of images.
_OF_IMAGES = ("reconstruct", "evaluate", "report")


@dataclass
class Forecaster:
    """Plans the verbs of a study for a place."""

    study: Study
    options: Options
    place: Place
    shapes: known_shapes.KnownShapes
    #: Networks whose weights are not there; planned with random ones, which cost the same.
    absent_weights: list[str] = field(default_factory=list)
    #: Entries of `reconstruct` whose generator's files are not there; planned with random weights too.
    absent_generators: list[str] = field(default_factory=list)
    #: Other choices of units whose finished tiles count as measured, beside those that the workspace names.
    measured_units: list[Units] = field(default_factory=list)

    def forecast(self, verb: Verb) -> Forecast:
        """Plan a verb for the place's workers, compared with the workspace if that holds what the verb reads.

        Raises
        ------
        ReconError
            If a size is neither stored nor declared, or the study is wrong.
        """
        with threads.planned_for(self.place.worker_threads):
            selected, todo = self._tiles(verb)
        return Forecast(verb.name, selected, todo, self._rates(verb))

    def _tiles(self, verb: Verb) -> tuple[list[Tile], list[Tile]]:
        if not self.absent_weights and not (self.absent_generators and verb.name in _OF_IMAGES):
            try:
                planned = session.make_plan(verb, self.study, self.options)
            except MissingStore:
                if self.shapes.declared is None:
                    raise
            else:
                return planned.selected, planned.todo
        tiles = verb.load().plan(self.study, self.shapes)
        selected = select(tiles, only=self.options.only, limit=None)
        return selected, selected[: self.options.limit]

    def _rates(self, verb: Verb) -> dict[str, rates.Rate]:
        workspace = session.workspace_of(self.study)
        chosen = dict.fromkeys([self.study.units, None, *self.measured_units, *units_on_disk(workspace, verb.name)])

        def planner(study: Study) -> rates.PlanFor:
            def plan(n_threads: int) -> list[Tile]:
                with threads.planned_for(n_threads):
                    return verb.load().plan(study, self.shapes)

            return plan

        studies = [self.study.model_copy(update={"units": units}) for units in chosen]
        if not receipts.Listing(workspace, verb.name).below():
            return {}
        return rates.measure(workspace, map(planner, studies), n_threads=self.place.worker_threads)


def forecaster(study: Study, options: Options, *, place: Place) -> Forecaster:
    """Return what plans the verbs of a study; nothing is read before a plan is asked for."""
    planned, absent = cast("tuple[Study, list[str]]", bound(WITHOUT_WEIGHTS)(study))
    planned, generators = cast("tuple[Study, list[str]]", bound(WITHOUT_GENERATORS)(planned))
    return Forecaster(planned, options, place, known_shapes.read(planned), absent, generators)


def units_on_disk(workspace: Path, verb: str) -> list[Units]:
    """Return the choices of units of which a verb has receipts, as the names of decoded networks tell them.

    A file of units cannot be told from its name; it counts only while the study names it.
    """
    keys = receipts.Listing(workspace, verb).below()
    names = {name for key in keys for name in key.split("/")[3:5] if "@" in name}
    found: list[Units] = []
    for label in sorted(name.rpartition("@")[2] for name in names):
        if match := re.fullmatch(r"(every)?([1-9]\d*)", label):
            found.append(EveryNth(every=int(match[2])) if match[1] else int(match[2]))
    return found


def unreadable(error: ReconError, verb: Verb, study: Study) -> str | None:
    """Return why a verb is left out of a projection that goes on without it, None if it must stop.

    Only `ingest` may be left out: it looks into the lab's files, which need not be there to project the rest.
    """
    if verb.name != "ingest" or study.sizes is None or not isinstance(error, StudyError):
        return None
    more = f", and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
    return f"ingest is left out: {error.problems[0]}{more}"


def forecast_all(verbs: Sequence[Verb], planner: Forecaster) -> tuple[list[Forecast], list[str]]:
    """Plan verbs; those that cannot be planned are named in notes, but the first of them must be planned.

    Raises
    ------
    ReconError
        If the study is wrong, or the first verb's sizes are neither stored nor declared.
    """
    found: list[Forecast] = []
    notes: list[str] = []
    for number, verb in enumerate(verbs):
        try:
            found.append(planner.forecast(verb))
        except StudyError as error:
            note = unreadable(error, verb, planner.study)
            if note is None or len(verbs) == 1:
                raise
            notes.append(note)
        except MissingStore as error:
            if number == 0:
                hint = "; to project this before the data are there, declare their sizes under `sizes:` in the study"
                raise MissingStore(f"{error}{hint if planner.shapes.declared is None else ''}") from error
            left = ", ".join(other.name for other in verbs[number:])
            notes.append(f"{left}: cannot be planned before the verbs above have run ({error})")
            break
    return found, notes
