"""What a run cost: tiles, time, memory and warnings of every verb, from the receipts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_recon.core import receipts
from hpc_recon.core.text import format_bytes, format_seconds

#: Where nothing was recorded.
NOTHING = "\N{EN DASH}"
#: In pipeline order.
VERBS = ("simulate", "ingest", "extract", "convert", "fit", "decode", "train", "reconstruct", "evaluate")


@dataclass(frozen=True)
class VerbFigures:
    """One row of the table of run figures; text, ready to print (a dash where nothing was recorded)."""

    verb: str
    tiles: str
    total: str
    longest: str
    peak: str
    files: str
    size: str
    workers: str


@dataclass(frozen=True)
class Warned:
    """A warning that a verb gave, and in how many tiles."""

    verb: str
    text: str
    count: int


@dataclass(frozen=True)
class RunFigures:
    """Everything that the receipts tell about how the results were made."""

    verbs: tuple[VerbFigures, ...]
    warned: tuple[Warned, ...]
    #: Name and version of what computed it, `1.2 | 1.3` where workers differed.
    versions: tuple[tuple[str, str], ...]
    total_seconds: float


def collect(workspace: Path, verbs: Iterable[str] = VERBS) -> RunFigures:
    """Read the receipts of all verbs.

    Raises
    ------
    DamagedStore
        If a receipt is damaged.
    """
    rows, warned = [], []
    versions: dict[str, set[str]] = {}
    total = 0.0
    for verb in verbs:
        found = [receipt for _, receipt in receipts.iterate(workspace, verb)]
        if not found:
            continue
        runs = [receipt.run for receipt in found]
        seconds = _numbers(runs, "seconds")
        total += sum(seconds)
        peaks = _numbers(runs, "peak_bytes")
        records = [record for receipt in found for record in receipt.files.values()]
        places = {(run.get("host"), run.get("job")) for run in runs if run.get("host")}
        rows.append(
            VerbFigures(
                verb,
                f"{len(found):,}",
                format_seconds(sum(seconds)) if seconds else NOTHING,
                format_seconds(max(seconds)) if seconds else NOTHING,
                format_bytes(max(peaks)) if peaks else NOTHING,
                f"{len(records):,}",
                format_bytes(sum(record.length for record in records)),
                f"{len(places)}" if places else NOTHING,
            )
        )
        counts = Counter(str(text) for run in runs for text in run.get("warnings") or ())
        warned += [Warned(verb, text, count) for text, count in counts.most_common()]
        for run in runs:
            for name, version in (run.get("versions") or {}).items():
                versions.setdefault(str(name), set()).add(str(version))
    shown = tuple((name, " | ".join(sorted(values))) for name, values in sorted(versions.items()))
    return RunFigures(tuple(rows), tuple(warned), shown, total)


def _numbers(runs: Iterable[dict[str, Any]], key: str) -> list[float]:
    return [float(run[key]) for run in runs if run.get(key) is not None]
