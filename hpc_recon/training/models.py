"""The files of a trained network: checkpoints, tables of losses, pictures."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hpc_recon.core import receipts
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import checksum, write_atomic
from hpc_recon.methods import trainers
from hpc_recon.stores import checks, layout
from hpc_recon.training.data import Scaling, scaling_from

#: The table of losses has these columns before the trainer's own.
STEP = "step"


@dataclass(frozen=True)
class Model:
    """Where the files of one trained network are: an entry of `train`, a split and an ROI."""

    study: Study
    name: str
    split: str
    roi: str

    @property
    def key(self) -> str:
        """Key of the group whose tiles train it."""
        return f"train/{self.name}/{self.split}/{self.roi}"

    @property
    def folder(self) -> Path:
        """Its folder."""
        return layout.model_folder(self.study, self.name, self.split, self.roi)

    @property
    def made_by(self) -> str:
        """Digest of the settings and inputs that its training began with.

        Raises
        ------
        MissingStore
            If it never began.
        """
        found = receipts.group_fingerprint(layout.workspace_of(self.study), self.key)
        if found is None:
            raise MissingStore(f"{self.key} was never trained; run {layout.command('train')}")
        return str(found["digest"])

    def checkpoint(self, step: int) -> Path:
        """Return the checkpoint after so many steps, at which a tile ends."""
        return self.folder / f"step-{step:08d}.pt"

    def running(self, start: int) -> Path:
        """Return the checkpoint of a part that is being trained, by its first step."""
        return self.folder / f"running-{start:08d}.pt"

    def losses(self, start: int) -> Path:
        """Return the table of losses of the part that begins at a step."""
        return self.folder / f"losses-{start:08d}.csv"

    def grid(self, step: int) -> Path:
        """Return the picture of examples after so many steps."""
        return self.folder / f"examples-{step:08d}.png"

    def require(self, step: int) -> receipts.FileRecord:
        """Return what the receipt of a tile says of its checkpoint.

        Raises
        ------
        MissingStore
            If no receipt lists it; names the command.
        """
        workspace = layout.workspace_of(self.study)
        record = checks.group_records(workspace, self.key).get(self.checkpoint(step).relative_to(workspace).as_posix())
        if record is None:
            raise MissingStore(f"{self.key} was not trained to step {step}; run {layout.command('train')}")
        return record

    def read(self, step: int) -> trainers.Checkpoint:
        """Read the checkpoint at the end of a tile, after comparing it with the tile's receipt.

        Raises
        ------
        MissingStore
            If no receipt lists it.
        DamagedStore
            If it is not what the receipt says, or of another training.
        """
        path, record = self.checkpoint(step), self.require(step)
        remedy = f"make it anew with {checks.redo_command(self.key)}"
        if not path.is_file():
            raise DamagedStore(f"the checkpoint {path} is absent; {remedy}")
        if (path.stat().st_size, checksum(path)) != (record.length, record.crc32):
            raise DamagedStore(f"the checkpoint {path} is not the one that its receipt describes; {remedy}")
        found = trainers.read(path, remedy=remedy)
        if (found.step, found.made_by) != (step, self.made_by):
            raise DamagedStore(f"the checkpoint {path} belongs to another training, or to step {found.step}; {remedy}")
        return found


def scaling_of(checkpoint: trainers.Checkpoint) -> Scaling:
    """Return the scaling that a checkpoint holds."""
    return scaling_from(checkpoint.arrays)


def write_losses(path: Path, rows: Sequence[Sequence[float]], *, columns: Sequence[str]) -> Path:
    """Write the table of losses as CSV; what was not computed is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([STEP, *columns])
    for row in rows:
        writer.writerow([int(row[0]), *("" if math.isnan(value) else f"{value:.8g}" for value in row[1:])])
    return write_atomic(path, stream.getvalue().encode())


def write_grid(path: Path, pictures: Array) -> Path:
    """Write pictures (n, 2, H, W, 3) uint8 as one PNG: what was shown above, what was made below."""
    n, _, height, width, _ = pictures.shape
    sheet = pictures.transpose(1, 2, 0, 3, 4).reshape(2 * height, n * width, 3)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(sheet)).save(stream, format="PNG")
    return write_atomic(path, stream.getvalue())
