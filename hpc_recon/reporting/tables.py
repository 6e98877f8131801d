"""Tidy tables of scores: one row a subject, split, ROI, dataset, layer or variant, image and metric.

`split` is `all` for a subject's own training and test sets and `r1f03` for a fold of its cross-validation.

Within the program a score of a published preset is called `<preset>.<metric>`; tables for readers (`write_scores`) have
both in columns of their own.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DamagedStore, StudyError
from hpc_recon.core.files import write_atomic

FEATURE_COLUMNS = ("subject", "split", "roi", "dataset", "network", "layer", "image", "metric", "value", "n")
IMAGE_COLUMNS = ("subject", "split", "roi", "dataset", "variant", "network", "image", "metric", "value", "n")
ITEM_COLUMNS = ("subject", "split", "dataset", "image", "label", "shows", "n_averaged")
#: Last column of tables for readers: the published preset that a metric belongs to, empty for the project's own.
PRESET = "preset"
Row = Mapping[str, str | float | int]


def split_fields(split: str) -> dict[str, str]:
    """Return the columns `subject` and `split` of a split's name.

    >>> split_fields("S1"), split_fields("S1.r1f03")
    ({'subject': 'S1', 'split': 'all'}, {'subject': 'S1', 'split': 'r1f03'})
    """
    subject, _, fold = split.partition(".")
    return {"subject": subject, "split": fold or "all"}


def item_rows(
    place: Row, images: Sequence[str], *, metrics: Mapping[str, tuple[Iterable[float], int | Array]]
) -> list[dict[str, str | float | int]]:
    """Return one row an image and metric.

    Parameters
    ----------
    place
        The columns that all rows share.
    metrics
        By name: one value an image, and `n`, how many numbers each value was computed from: one count, or one an image
        (an image whose count is 0 then has no row: there was nothing to compare it with).
    """
    return [
        {**place, "image": name, "metric": metric, "value": float(value), "n": int(count)}
        for metric, (values, n) in metrics.items()
        for name, value, count in zip(images, values, np.broadcast_to(n, len(images)), strict=True)
        if count or np.ndim(n) == 0
    ]


def write_rows(path: Path, rows: Iterable[Row], *, columns: tuple[str, ...]) -> Path:
    """Write rows as CSV, atomically; columns in their order, floats so that they read back exactly."""
    return write_frame(path, pd.DataFrame(list(rows), columns=list(columns)))


def write_frame(path: Path, frame: pd.DataFrame) -> Path:
    """Write a table as CSV, atomically; NaN is an empty field."""
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, lineterminator="\n")
    return write_atomic(path, buffer.getvalue().encode())


def read_frame(path: Path, *, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table that `write_frame` wrote. Names stay text, whatever they look like (`007`, `NA`, `nan`).

    Raises
    ------
    DamagedStore
        If the file is absent, empty or has other columns.
    """
    try:
        kinds = {"value": "float64", "n": "int64"}
        text = {column: "str" for column in columns if column not in kinds}
        frame = pd.read_csv(path, dtype={**text, **kinds}, keep_default_na=False, na_values={"value": [""]})
    except (OSError, ValueError) as error:
        raise DamagedStore(
            f"the table {path} cannot be read ({error}); make it anew with python -m hpc_recon.evaluate --redo"
        ) from error
    if tuple(frame.columns) != columns:
        raise DamagedStore(
            f"the table {path} has the columns {', '.join(map(str, frame.columns))}, not {', '.join(columns)}; "
            f"make it anew with python -m hpc_recon.evaluate --redo"
        )
    return frame


def with_presets(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores whose metrics `<preset>.<metric>` are in two columns: `metric`, and `preset` at the end.

    >>> with_presets(pd.DataFrame({"metric": ["ssim", "mindeye.ssim"], "n": [1, 2]})).to_dict("list")
    {'metric': ['ssim', 'ssim'], 'n': [1, 2], 'preset': ['', 'mindeye']}
    """
    named = [str(metric).rpartition(".") for metric in scores["metric"]]
    return scores.assign(metric=[name for _, _, name in named], **{PRESET: [preset for preset, _, _ in named]})


def write_scores(path: Path, scores: pd.DataFrame) -> Path:
    """Write scores for readers, atomically, as `path` says: `.csv`, or `.parquet`; with the column `preset`.

    Raises
    ------
    StudyError
        If it is Parquet and pyarrow is not installed.
    """
    if path.suffix != ".parquet":
        return write_frame(path, with_presets(scores))
    require_parquet()
    buffer = io.BytesIO()
    with_presets(scores).to_parquet(buffer, engine="pyarrow", index=False)
    return write_atomic(path, buffer.getvalue())


def require_parquet() -> None:
    """Raise unless pyarrow is installed, without importing it.

    Raises
    ------
    StudyError
        With the command that installs it.
    """
    if importlib.util.find_spec("pyarrow") is None:
        problem = (
            "writes Parquet files, which needs the package pyarrow; it is not installed: run `pip install "
            "'hpc_recon[parquet]'`, or leave the option out (the tables are written as CSV in any case)"
        )
        raise StudyError("evaluate.parquet", [problem])


def read_scores(path: Path, *, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV table that `write_scores` wrote, with `columns`; metrics of presets are `<preset>.<metric>` again.

    Raises
    ------
    DamagedStore
        If the file is absent, empty or has other columns.
    """
    frame = read_frame(path, columns=(*columns, PRESET))
    pairs = zip(frame[PRESET], frame["metric"], strict=True)
    named = [f"{preset}.{metric}" if preset else metric for preset, metric in pairs]
    return frame.assign(metric=named)[list(columns)]


def read_items(path: Path) -> pd.DataFrame:
    """Read `scores/items.csv`: names as text, `n_averaged` and the columns of samples (vividness) as numbers.

    Raises
    ------
    DamagedStore
        If the file is absent, empty or lacks a column.
    """
    try:
        text = {column: "str" for column in ITEM_COLUMNS if column != "n_averaged"}
        frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"n_averaged": [""]})
        missing = [column for column in ITEM_COLUMNS if column not in frame.columns]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        more = [column for column in frame.columns if column not in ITEM_COLUMNS]
        return frame.assign(**{column: pd.to_numeric(frame[column].replace("", None)) for column in more})
    except (OSError, ValueError) as error:
        raise DamagedStore(
            f"the table {path} cannot be read ({error}); make it anew with python -m hpc_recon.evaluate --redo"
        ) from error


def join(paths: Iterable[Path], *, columns: tuple[str, ...]) -> pd.DataFrame:
    """Join parts into one table in a fixed order; a baseline that several parts hold is kept once."""
    frames = [read_frame(path, columns=columns) for path in paths]
    if not frames:
        return pd.DataFrame(columns=list(columns))
    keys = [column for column in columns if column not in ("value", "n")]
    return pd.concat(frames, ignore_index=True).drop_duplicates(subset=keys, ignore_index=True)
