"""Make a generator from a study's own images, with their latents, or render latents into image files.

`make` learns from the training stimuli alone and encodes all stimuli; what it writes are the files that a study names
under `features.arrays` and `reconstruct.<entry>.generator` (docs/latents.md). Runs here, without a cluster.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hpc_recon.run import cli

KINDS = ("linear", "decoder", "pggan")
#: Mean deviation of a latent's numbers over images below which they say nothing of the image; useful ones are near 1.
COLLAPSED = 0.1


def _make(kind: str, folder: Path, values: dict[str, Any]) -> int:
    """Train, and write `<kind>.pt`, `<kind>_latents.npy` and `labels.txt`."""
    from typing import cast

    import numpy as np

    from hpc_recon.core.errors import StudyError
    from hpc_recon.core.files import sha256, write_atomic, write_npy
    from hpc_recon.core.loading import load_study
    from hpc_recon.methods import autoencoder
    from hpc_recon.nets import latent_generators
    from hpc_recon.run.options import default_study
    from hpc_recon.stores import images, layout

    if kind == "linear" and values["size"] is not None:
        raise StudyError("command line", ["--size is there for decoder and pggan: linear makes the stimuli's pixels"])
    study = load_study(Path(values["study"]) if values["study"] else default_study(), values["assignments"])
    workspace = layout.workspace_of(study)
    table = images.read_table(workspace)
    rows = np.flatnonzero(np.array(table.dataset) == study.training_dataset)
    _make_folder(folder)
    made = autoencoder.make(
        cast("autoencoder.Kind", kind),
        images.read_images(workspace),
        rows,
        n_latents=values["latents"],
        epochs=values["epochs"],
        size=values["size"],
        width=values["width"],
        seed=study.seed,
    )
    file = write_atomic(folder / f"{kind}.pt", latent_generators.state_bytes(made.state))
    write_npy(folder / f"{kind}_latents.npy", made.latents)
    write_atomic(folder / "labels.txt", ("\n".join(table.labels) + "\n").encode())
    click.echo(
        f"{file}: {kind} of {len(rows):,} training images, {values['latents']} numbers a latent; images come back with "
        f"a root mean squared error of {made.error:.3f} (0-1); sha256 {sha256(file)}"
    )
    spread = float(made.latents[rows].std(axis=0).mean())
    if spread < COLLAPSED:
        click.echo(
            f"warning: latents of different images are nearly the same (mean deviation of a number {spread:.3f}): the "
            "encoder learnt nothing of them, and nothing can be decoded; give more --epochs or more images",
            err=True,
        )
    return 0


def _make_folder(folder: Path) -> None:
    from hpc_recon.core.errors import DataError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made a folder ({error.strerror}); give another with --to") from error


def _labels(path: Path) -> list[str]:
    """Read the names of the images, which are distinct."""
    from hpc_recon.core.errors import DataError
    from hpc_recon.core.text import checked_name

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the labels {path} cannot be read ({error}); give a text file") from error
    labels = [line.strip() for line in lines if line.strip()]
    for label in labels:
        try:
            checked_name(label)
        except ValueError as error:
            raise DataError(f"{path}: the label {label!r} cannot name an image: {error}; rename it") from error
    twice = sorted({label for label in labels if labels.count(label) > 1}) if len(set(labels)) < len(labels) else []
    if twice:
        raise DataError(f"{path} names {twice[0]!r} twice; each image has a name of its own")
    return labels


def _render(folder: Path, values: dict[str, Any]) -> int:
    """Render each latent into `<label>.png`."""
    import io

    import numpy as np
    from PIL import Image

    from hpc_recon.core.errors import StudyError
    from hpc_recon.core.files import write_atomic
    from hpc_recon.core.latent_options import LatentGenerator
    from hpc_recon.core.validation import validate
    from hpc_recon.formats.row_arrays import RowArray
    from hpc_recon.nets import devices, latent_generators

    labels = _labels(Path(values["labels"]))
    array = RowArray(Path(values["file"]))
    latents = array.read(range(array.shape()[0]))
    if latents.ndim != 2 or len(labels) != len(latents):
        raise StudyError(
            "command line", [f"{len(labels):,} labels, but latents {latents.shape}; give one for each row"]
        )
    options = validate(
        LatentGenerator, {"kind": values["kind"], "weights": Path(values["weights"])}, where="command line"
    )
    _make_folder(folder)
    absent = [i for i, label in enumerate(labels) if not (folder / f"{label}.png").exists()]
    for i in absent:
        image = latent_generators.render(latents[i : i + 1], options, size=None, device=devices.choose())[0]
        stream = io.BytesIO()
        Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(stream, format="PNG")
        write_atomic(folder / f"{labels[i]}.png", stream.getvalue())  # a picture that is there is whole
    click.echo(f"{len(absent):,} images written to {folder}, {len(labels) - len(absent):,} were there")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    settings = {"help_option_names": ["-h", "--help"]}

    @click.group(
        help="Make a generator from a study's images (make KIND --study FILE), or render latents.",
        context_settings=settings,
    )
    def command() -> None:
        """Hold the two subcommands."""

    @command.command("make", help="Train on the training stimuli, encode all stimuli. KIND: linear, decoder or pggan.")
    @click.argument("kind", type=click.Choice(KINDS))
    @click.option("--to", "folder", metavar="FOLDER", required=True, help="where the files go")
    @click.option("--study", metavar="FILE", default=None, help="study file  [default: $HPC_RECON_STUDY, ./study.yaml]")
    @click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="override the study")
    @click.option("--latents", type=click.IntRange(1), default=64, show_default=True, help="numbers of a latent")
    @click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="passes through the images")
    @click.option(
        "--size",
        type=click.IntRange(8, 256),
        default=None,
        help="pixels of trained generators  [default: stimuli]",
    )
    @click.option("--width", type=click.IntRange(4), default=32, show_default=True, help="channels of the largest maps")
    def make(kind: str, folder: str, **values: Any) -> int:
        return cli.guarded(lambda: _make(kind, Path(folder), values))

    @command.command("render", help="Render latents (.npy, a row each) into PNG files named by labels.")
    @click.argument("file", metavar="LATENTS")
    @click.option("--labels", metavar="FILE", required=True, help="text file, the name of each row")
    @click.option(
        "--kind", metavar="KIND", default="pggan", show_default=True, help="linear, decoder, pggan or python:"
    )
    @click.option("--weights", metavar="FILE", required=True, help="of the generator")
    @click.option("--to", "folder", metavar="FOLDER", required=True, help="where the images go")
    def render(folder: str, **values: Any) -> int:
        return cli.guarded(lambda: _render(Path(folder), values))

    return cli.execute("python -m hpc_recon.generator", command, argv)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
