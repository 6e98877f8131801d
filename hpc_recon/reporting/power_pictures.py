"""What `power --images` found, in words and figures: how images grow better with the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.reporting import power
from hpc_recon.reporting.figures import Panel, save
from hpc_recon.reporting.score_tables import Cell, Line, Table, method_title
from hpc_recon.reporting.words import dataset_title

#: What is scored, in words.
TITLES = {"pixel_correlation": "Pixel correlation", "identification": "Identification of images"}
#: What stands at the end of the prose, wherever curves are shown.
CAUTION = (
    "Intervals are over draws and images, and images are few. What is worth nothing does not score 0: the mean "
    "training image correlates {floor} with these stimuli."
)


def lines(content: Mapping[str, Any], study: Study) -> Iterator[str]:
    """Yield the printed answer: a table a subject and ROI, and sentences on the furthest step of each curve."""
    yield f"{_made_of(content, study)}; 'now' and what follows are read from fitted curves, with intervals:"
    for one in content["sets"]:
        session = one["session"]
        yield ""
        yield (
            f"{one['subject']}, {one['roi']}: {one['n_stimuli']} training images, {one['n_samples']} samples"
            f"{power.sessions(session)}"
        )
        table: list[tuple[str, ...]] = [("", "score", "from", "to", "now", "then", "")]
        for curve in one["curves"]:
            last = curve["ahead"][-1] if curve["ahead"] else None
            then = power.span(last) if last else "-"
            what = _step(curve, last, session) if last else ""
            ends = [f"{power.short(curve['mean'][at])} at {curve['x'][at]:g}" for at in (0, -1)]
            table.append(
                (power.AXES[curve["curve"]], TITLES[curve["metric"]], *ends, power.span(curve["now"]), then, what)
            )
        yield from power.aligned(table)
        yield f"  {CAUTION.format(floor=power.short(one['floor']))}"
    yield ""
    for metric in TITLES:
        yield f"{TITLES[metric]}. {power.checked(content, metric)}"


def _made_of(content: Mapping[str, Any], study: Study) -> str:
    units = "all units" if content["units"] is None else content["units"]
    n = content["draws"]
    return (
        f"{method_title(study, content['variant'])}, {dataset_title(study, content['dataset'])}: mean of "
        f"{content['images']} images and {n} draw{'s' if n > 1 else ''}, from decoders of {units}"
    )


def _step(curve: power.Curve, last: Mapping[str, float], session: Mapping[str, Any]) -> str:
    if curve["curve"] == "trials":
        return f"{int(last['x'])} instead of {int(curve['now']['x'])} trials"
    far = ", far" if last["x"] > power.FAR * curve["x"][-1] else ""
    return f"{power.more(int(last['steps']), session)}{far}"


def panels(content: Mapping[str, Any], study: Study, *, page: bool, roi: str | None = None) -> list[tuple[str, Panel]]:
    """Return a panel a curve, subject and ROI, with a name for its file; `roi`: only this one.

    Parameters
    ----------
    page
        False: only for files; then nothing is drawn yet.
    """
    found = []
    for one in content["sets"]:
        if roi is not None and one["roi"] != roi:
            continue
        for curve in dict.fromkeys(c["curve"] for c in one["curves"]):
            own = [{**c, "layer": TITLES[c["metric"]]} for c in one["curves"] if c["curve"] == curve]
            where = f"{method_title(study, content['variant'])}, {one['subject']}, {one['roi']}"
            where += f", {content['images']} images of {dataset_title(study, content['dataset'])}"
            drawn = power.drawn(own, power.AXES[curve], where, page=page, score="Image quality")
            found.append((f"images-{content['variant']}-{one['subject']}-{one['roi']}-{curve}", drawn))
    return found


def write_figures(content: Mapping[str, Any], study: Study, folder: Path) -> list[Path]:
    """Draw every curve as PNG and PDF; return the files."""
    return [path for stem, drawn in panels(content, study, page=False) for path in save(drawn, folder, stem)]


def section(content: Mapping[str, Any], study: Study, *, roi: str, stale: bool) -> power.Section:
    """Return what the report shows of one ROI.

    Parameters
    ----------
    stale
        The data have changed since.
    """
    own = [one for one in content["sets"] if one["roi"] == roi]
    sentences, found = [f"{_made_of(content, study)}."], list[Line]()
    if stale:
        sentences.insert(0, "These images were made before brains or features changed: run power --images again.")
    for one in own:
        sentences.append(f"{one['subject']}: {CAUTION.format(floor=power.short(one['floor']))}")
        for curve in one["curves"]:
            if not curve["ahead"]:
                continue
            last = curve["ahead"][-1]
            cells = (
                Cell(power.AXES[curve["curve"]]), Cell(_step(curve, last, one["session"])),
                Cell(power.span(curve["now"])), Cell(power.span(last)), Cell(f"{curve['x'][-1]:g}"),
                Cell(f"{last['x']:.0f}"),
            )  # fmt: skip
            found.append(Line(TITLES[curve["metric"]], one["subject"], "reconstruction", cells))
    columns = ("Of", "More", "Now", "Then, extrapolated", "Largest tried", "Then")
    note = "read from fitted curves, with intervals over draws and images"
    table = Table("What more data would bring to images", note, columns, tuple(found)) if found else None
    drawn = tuple(made for _, made in panels(content, study, page=True, roi=roi))
    return power.Section(tuple(sentences), drawn, table, rows="Score")
