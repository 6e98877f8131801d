"""How long tiles really took: measured seconds of finished tiles over the seconds that were projected for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from hpc_recon.core import receipts
from hpc_recon.core.text import format_seconds
from hpc_recon.core.tiles import Tile

#: Receipts that are read of one stage at most, evenly spaced: enough for a median, quick on a slow disk.
MOST = 200
#: Finished tiles that hold less than a half of the units of those to do are much smaller than they are.
SMALLER = 2.0
#: The tiles of a study as they are planned for workers of so many threads.
PlanFor = Callable[[int], list[Tile]]


@dataclass(frozen=True)
class Rate:
    """Finished tiles of one stage: measured and projected seconds, how many units, and where they ran."""

    measured: tuple[float, ...] = ()
    projected: tuple[float, ...] = ()
    #: `stop - start` of each tile: units of a decoder, stimuli, images.
    units: tuple[int, ...] = ()
    threads: frozenset[int] = frozenset()
    hosts: frozenset[str] = frozenset()

    @property
    def ratios(self) -> tuple[float, ...]:
        """Measured over projected seconds, one a finished tile."""
        return tuple(m / p for m, p in zip(self.measured, self.projected, strict=True))

    @property
    def factor(self) -> float:
        """The median of `ratios`, 1 where nothing was measured.

        >>> Rate((0.5, 2.0, 4.0), (1.0, 1.0, 1.0), (9, 9, 9)).factor, Rate().factor
        (2.0, 1.0)
        """
        return median(self.ratios) if self.measured else 1.0

    def by_units(self, todo: Sequence[Tile]) -> float | None:
        """Return the seconds of some tiles by the time that finished ones took a unit; None if that says nothing new.

        It does where the finished tiles are much smaller than those to do. What a tile costs whatever its size then
        weighs so much in their ratios that these may be far too low, and by units too high: the truth lies between.
        """
        if not self.measured or not todo or max(self.units) < 2:
            return None
        if median(self.units) * SMALLER > median(tile.stop - tile.start for tile in todo):
            return None
        return sum(self.measured) / sum(self.units) * sum(tile.stop - tile.start for tile in todo)

    def factor_for(self, todo: Sequence[Tile]) -> float:
        """Return what the projected seconds of these tiles are multiplied with: the larger of both estimates."""
        most, projected = self.by_units(todo), sum(tile.need.seconds for tile in todo)
        return self.factor if most is None or not projected else max(self.factor, most / projected)

    def in_words(self, todo: Sequence[Tile]) -> str:
        """Return where the seconds of these tiles come from."""
        n, ratios = len(self.measured), self.ratios
        noun, threads = ("tile" if n == 1 else "tiles"), " or ".join(str(n) for n in sorted(self.threads))
        where = next(iter(self.hosts)) if len(self.hosts) == 1 else f"{len(self.hosts)} machines"
        ran = f"{threads} {'thread' if threads == '1' else 'threads'}, on {where}"
        kind = "the median of measured / projected over" if n > 1 else "measured / projected of"
        span = f" ({min(ratios):.2f} to {max(ratios):.2f})" if n > 1 else ""
        text = f"x {self.factor:.2f}, {kind} {n} finished {noun}{span}; {ran}"
        most, projected = self.by_units(todo), sum(tile.need.seconds for tile in todo)
        if most is None or most <= self.factor * projected:
            return text
        return (
            f"between {format_seconds(self.factor * projected)} ({text}) and {format_seconds(most)} (what these tiles "
            "took a unit; they are much smaller than the tiles to do, so that fixed costs weigh more). The larger is "
            "shown"
        )


@dataclass
class _Found:
    measured: list[float] = field(default_factory=list)
    projected: list[float] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)


def measure(workspace: Path, plans: Iterable[PlanFor], *, n_threads: int) -> dict[str, Rate]:
    """Compare the finished tiles of some plans with what was projected for them.

    Parameters
    ----------
    plans
        Plans whose tiles may be finished: of the study, and of other choices of its units. A tile is projected for as
        many threads as its receipt says it ran with.
    n_threads
        Threads for which the plans are asked first.

    Returns
    -------
    dict
        By stage; stages without a finished tile are left out. Receipts count only if their group was made with the
        settings of the plan.
    """
    found: dict[str, _Found] = {}
    seen: set[str] = set()
    for plan in plans:
        by_threads = {n_threads: {tile.id: tile for tile in plan(n_threads)}}
        for tile, receipt in _finished(workspace, list(by_threads[n_threads].values())):
            if tile.id in seen:
                continue
            seen.add(tile.id)
            run = receipt.run
            seconds, threads = run.get("seconds"), int(run.get("threads", n_threads))
            if threads not in by_threads:
                by_threads[threads] = {other.id: other for other in plan(threads)}
            projected = by_threads[threads][tile.id].need.seconds
            if seconds is None or not projected > 0:
                continue
            entry = found.setdefault(tile.stage, _Found())
            entry.measured.append(float(seconds))
            entry.projected.append(projected)
            entry.units.append(tile.stop - tile.start)
            entry.threads.add(threads)
            entry.hosts.add(str(run.get("host", "?")))
    return {
        stage: Rate(
            tuple(entry.measured),
            tuple(entry.projected),
            tuple(entry.units),
            frozenset(entry.threads),
            frozenset(entry.hosts),
        )
        for stage, entry in found.items()
    }


def _finished(workspace: Path, tiles: list[Tile]) -> Iterator[tuple[Tile, receipts.Receipt]]:
    """Yield tiles with their receipts whose group has the planned settings; at most `MOST` a stage."""
    listings: dict[str, receipts.Listing] = {}
    counts: dict[str, bool] = {}
    by_stage: dict[str, list[Tile]] = {}
    for tile in tiles:
        key, verb = tile.group.key, tile.group.verb
        if verb not in listings:
            listings[verb] = receipts.Listing(workspace, verb)
        if key not in counts:
            stored = listings[verb].fingerprint(key)
            counts[key] = stored is not None and stored.get("settings") == json.loads(tile.group.settings)
        if counts[key] and tile.name in listings[verb].done(key):
            by_stage.setdefault(tile.stage, []).append(tile)
    by_group: dict[str, list[Tile]] = {}
    for members in by_stage.values():
        for tile in members[:: -(-len(members) // MOST)]:
            by_group.setdefault(tile.group.key, []).append(tile)
    for key, members in by_group.items():
        found = listings[members[0].group.verb].read(key, [tile.name for tile in members])
        yield from ((tile, found[tile.name]) for tile in members if tile.name in found)
