"""Trained networks on the page: curves of their losses, and pictures of examples as the network learnt."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hpc_recon.reporting.figures import COLOURS, Ink, Panel, panel, plain

#: Losses that are drawn, and what they are called: those of pictures in one panel, those of classes in the other.
PICTURES = {"pixel": "pixel", "latent": "latent", "feature": "feature"}
CLASSES = {"real": "discriminator, stimuli", "fake": "discriminator, made", "fooled": "adversarial"}
#: Pictures of examples that are shown of one network.
MOST_PICTURES = 4


@dataclass(frozen=True)
class Trained:
    """One trained network: its name, the curves of its losses, and pictures (step and data URI) in order of steps."""

    name: str
    panels: tuple[Panel, ...]
    pictures: tuple[tuple[int, str], ...]


def collect(workspace: Path, entries: Sequence[str], *, with_pictures: bool = True) -> list[Trained]:
    """Return what there is of every network below `models/`, by name; nothing where nothing was trained.

    Parameters
    ----------
    entries
        Of `train`: what lies there of others, which the study has no more, is not shown.
    with_pictures
        Examples show training stimuli: False where not all stimuli may be published.
    """
    folder, found = workspace / "models", []
    for place in sorted({path.parent for path in folder.rglob("losses-*.csv")}):
        name = place.relative_to(folder).as_posix()
        if place.relative_to(folder).parts[0] not in entries:
            continue
        table = pd.concat([pd.read_csv(path) for path in sorted(place.glob("losses-*.csv"))], ignore_index=True)
        found.append(Trained(name, curves(table, title=name), _pictures(place) if with_pictures else ()))
    return found


def curves(table: pd.DataFrame, *, title: str) -> tuple[Panel, ...]:
    """Return panels of losses by step: those of pictures (each over its first value), and those of classes.

    Parameters
    ----------
    table
        `step` and the columns of a trainer; those that were not computed are empty or absent, and have no line.
    """
    kinds = (
        ("Losses of pictures", PICTURES, "loss / its first value"),
        ("Losses of classes", CLASSES, "loss of the classes"),
    )
    found = [_panel(table, names, heading, label, title=title) for heading, names, label in kinds]
    return tuple(one for one in found if one is not None)


def _panel(table: pd.DataFrame, names: Mapping[str, str], heading: str, label: str, *, title: str) -> Panel | None:
    lines, words = [], []
    for column, called in names.items():
        values = table[column].dropna() if column in table else pd.Series(dtype=float)
        if values.empty:
            continue
        drawn = values / values.iloc[0] if names is PICTURES and values.iloc[0] > 0 else values
        lines.append((called, table.loc[values.index, "step"].to_numpy(), drawn.to_numpy()))
        words.append(f"{called} {values.iloc[0]:.3g} to {values.iloc[-1]:.3g}")
    if not lines:
        return None

    def draw(axes: Axes, ink: Ink) -> None:
        for number, (called, steps, values) in enumerate(lines):
            axes.plot(steps, values, linewidth=0.9, label=called, color=COLOURS[number])
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=8, labelcolor=ink.text)
        plain(axes, ink)

    alt = f"Losses of {title} from step {table['step'].iloc[0]} to {table['step'].iloc[-1]}: {', '.join(words)}"
    return panel(heading, draw, subtitle=f"{label}, by step", alt=alt)


def _pictures(folder: Path) -> tuple[tuple[int, str], ...]:
    """Return at most `MOST_PICTURES` pictures, the last one among them."""
    paths = sorted(folder.glob("examples-*.png"))
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), MOST_PICTURES)).round().astype(int))
    return tuple(
        (int(path.stem.rpartition("-")[2]), f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}")
        for path in (paths[i] for i in chosen)
    )
