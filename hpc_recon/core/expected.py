"""What decoding a sample of units says about all units: a small file that `evaluate` writes, `scores/expected.json`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import read_json, write_json

#: Name of the file in `scores/`, and of the parts that it is joined from.
NAME = "expected.json"


@dataclass(frozen=True)
class Expected:
    """Mean profile correlation of one layer, estimated from the units that were decoded."""

    split: str
    roi: str
    dataset: str
    network: str
    #: The name of the decoders, which says which units were decoded: `vgg@1000`.
    decoded_name: str
    layer: str
    #: Mean over the decoded units that are not constant, and its standard error as an estimate for all units of the
    #: layer; None where there are too few.
    mean: float | None
    error: float | None
    n_decoded: int
    n_units: int


def path_of(workspace: Path) -> Path:
    """Return where the file lies."""
    return workspace / "scores" / NAME


def write(path: Path, entries: Iterable[Expected]) -> Path:
    """Write entries as JSON, atomically."""
    return write_json(path, {"layers": [asdict(entry) for entry in entries]})


def read(path: Path) -> list[Expected]:
    """Read what `write` wrote; nothing where the file does not exist.

    Raises
    ------
    DamagedStore
        If the file is garbled.
    """
    if not path.exists():
        return []
    try:
        content: dict[str, Any] = read_json(path)
        return [Expected(**entry) for entry in content["layers"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStore(
            f"{path} is damaged ({error}); make it anew with python -m hpc_recon.evaluate --redo"
        ) from error
