"""Trained networks on the page: curves of their losses, and the last picture of examples."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from hpc_recon.reporting.figures import Panel, inline

#: Losses that are drawn, and what they are called: those of pictures in one panel, those of classes in the other.
PICTURES = {"pixel": "pixel", "feature": "feature"}
CLASSES = {"real": "discriminator, stimuli", "fake": "discriminator, made", "fooled": "adversarial"}


@dataclass(frozen=True)
class Trained:
    """One trained network: its name, the curves of its losses, and a picture (a data URI, "" if there is none)."""

    name: str
    plot: Panel
    picture: str


def collect(workspace: Path) -> list[Trained]:
    """Return what there is of every network below `models/`, by name; nothing where nothing was trained."""
    folder, found = workspace / "models", []
    for place in sorted({path.parent for path in folder.rglob("losses-*.csv")}):
        name = place.relative_to(folder).as_posix()
        table = pd.concat([pd.read_csv(path) for path in sorted(place.glob("losses-*.csv"))], ignore_index=True)
        found.append(Trained(name, curves(table, title=name), _picture(place)))
    return found


def curves(table: pd.DataFrame, *, title: str) -> Panel:
    """Return two panels of losses by step, as one SVG: those of pictures (each over its first value), and of classes.

    Parameters
    ----------
    table
        `step` and the columns of a trainer; those that were not computed are empty or absent.
    """
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hpc_recon", "font.size": 9}):
        figure = Figure(figsize=(8.0, 2.4), layout="constrained")
        words = []
        for axes, names in zip(figure.subplots(1, 2), (PICTURES, CLASSES), strict=True):
            for column, called in names.items():
                values = table[column].dropna() if column in table else pd.Series(dtype=float)
                if values.empty:
                    continue
                drawn = values / values.iloc[0] if names is PICTURES and values.iloc[0] > 0 else values
                axes.plot(table.loc[values.index, "step"], drawn, linewidth=0.9, label=called)
                words.append(f"{called} {values.iloc[0]:.3g} to {values.iloc[-1]:.3g}")
            axes.set_xlabel("step")
            axes.set_ylabel("loss / its first value" if names is PICTURES else "cross-entropy")
            if axes.lines:
                axes.legend(frameon=False, fontsize=8)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    alt = f"Losses of {title} from step {table['step'].iloc[0]} to {table['step'].iloc[-1]}: {', '.join(words)}"
    return Panel(title, "", inline(stream.getvalue()), alt)


def _picture(folder: Path) -> str:
    paths = sorted(folder.glob("examples-*.png"))
    return f"data:image/png;base64,{base64.b64encode(paths[-1].read_bytes()).decode()}" if paths else ""
