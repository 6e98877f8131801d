"""Draw what imports what, from the code: `python docs/pictures/architecture.py` writes architecture.svg beside it.

A box is a command (a file) or a library (a folder); the small boxes in it name the libraries that it imports, all but
`core`, which everything imports.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "hpc_recon"
#: Commands in the order of the data, then those that look at what is there.
STEPS = ("simulate", "ingest", "extract", "convert", "fit", "decode", "train", "reconstruct", "evaluate", "report")
#: The lowest libraries, by layer; all others are of layer 2.
LAYERS = {
    "1": ("numerics", "stores", "nets", "formats", "bold", "run"),
    "0": ("core",),
}
COLOURS = {"3": "#2f6f8f", "2": "#7a5c99", "1": "#4f8a5b", "0": "#8a6d3b"}
WIDTH, MARGIN, GAP, BOX, CHIP = 1200, 20, 10, 185, 17


def imported(files: Sequence[Path], own: str) -> list[str]:
    """Return the libraries that files import, sorted, without their own and `core`."""
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hpc_recon"):
                parts = (node.module or "").split(".")
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return sorted(found - {own, "core", "__version__"})


def rows() -> list[tuple[str, str, list[tuple[str, list[str]]]]]:
    """Return layers from the top: number, heading, and (name, imports) of each box."""
    commands = sorted(p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("_"))
    commands = [*STEPS, *(name for name in commands if name not in STEPS)]
    libraries = sorted(p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists())
    lower = [name for names in LAYERS.values() for name in names]
    middle = [name for name in libraries if name not in lower]

    def library(name: str) -> tuple[str, list[str]]:
        return name, imported(sorted((PACKAGE / name).glob("*.py")), name)

    return [
        ("3", "Commands: python -m hpc_recon.NAME", [(n, imported([PACKAGE / f"{n}.py"], n)) for n in commands]),
        (
            "2",
            "Libraries of one step each",
            [library(n) for n in sorted(middle, key=lambda n: (-len(library(n)[1]), n))],
        ),
        ("1", "Strangers to each other", [library(n) for n in LAYERS["1"]]),
        ("0", "The study, tiles, receipts, errors: imported by all", [library(n) for n in LAYERS["0"]]),
    ]


def draw() -> str:
    """Return the picture as SVG."""
    layers = rows()
    layer_of = {name: layer for layer, _, boxes in layers for name, _ in boxes}
    parts, y = [], MARGIN
    for layer, heading, boxes in layers:
        parts.append(_text(MARGIN, y + 12, f"Layer {layer} · {heading}", size=13, fill="#333", weight="bold"))
        y += 22
        a_line = (WIDTH - 2 * MARGIN + GAP) // (BOX + GAP)
        for start in range(0, len(boxes), a_line):
            line = boxes[start : start + a_line]
            height = 30 + CHIP * max((len(names) + 1) // 2 for _, names in line) + (4 if any(n for _, n in line) else 0)
            for i, (name, names) in enumerate(line):
                x = MARGIN + i * (BOX + GAP)
                parts.append(_rectangle(x, y, BOX, height, fill=COLOURS[layer], opacity=0.12, stroke=COLOURS[layer]))
                parts.append(_text(x + 8, y + 19, name, size=14, fill=COLOURS[layer], weight="bold"))
                for k, target in enumerate(names):
                    cx, cy = x + 6 + (k % 2) * (BOX - 10) // 2, y + 29 + CHIP * (k // 2)
                    parts.append(
                        _rectangle(cx, cy, BOX // 2 - 9, CHIP - 3, fill=COLOURS[layer_of[target]], opacity=0.85)
                    )
                    parts.append(_text(cx + 3, cy + 10.5, target, size=9.5, fill="#fff"))
            y += height + GAP
        y += 12
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="Helvetica, Arial, sans-serif">'
    )
    title = "<title>Commands and libraries of hpc_recon, and what each imports</title>"
    return "\n".join([head, title, _rectangle(0, 0, WIDTH, y, fill="#fff", opacity=1), *parts, "</svg>", ""])


def _rectangle(
    x: float, y: float, width: float, height: float, *, fill: str, opacity: float, stroke: str = "none"
) -> str:
    look = f'fill="{fill}" fill-opacity="{opacity}" stroke="{stroke}"'
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" {look}/>'


def _text(x: float, y: float, text: str, *, size: float, fill: str, weight: str = "normal") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-weight="{weight}" fill="{fill}">{escape(text)}</text>'


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), encoding="utf-8")
