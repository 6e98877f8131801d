"""Which images may be shown: a list of labels, or those of the datasets that are publishable.

Everything made from, or like, another stimulus is withheld.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError, MissingStore, StudyError
from hpc_recon.core.files import read_json
from hpc_recon.core.retrieval_options import RetrievalOptions
from hpc_recon.reporting import tables
from hpc_recon.stores import images


@dataclass(frozen=True)
class Publishable:
    """The labels that may be shown; None: all of them."""

    labels: frozenset[str] | None = None

    def allows(self, *labels: str) -> bool:
        """Return whether pictures of all these stimuli may be shown."""
        return self.labels is None or self.labels.issuperset(labels)


def read(study: Study, labels: Mapping[str, str]) -> Publishable:
    """Read the list of a study; without one, everything may be shown but datasets with `publishable: false`.

    Parameters
    ----------
    labels
        The dataset of each label of the workspace, and of each item that shows no stimulus, by its name.

    Raises
    ------
    StudyError
        If the file does not exist.
    DataError
        If it is no text, or names a label that nothing has: a list that is out of date must not be trusted.
    """
    path = study.report.publishable
    if path is None:
        withheld = {name for name, dataset in study.datasets.items() if not dataset.publishable}
        shown = frozenset(label for label, dataset in labels.items() if dataset not in withheld)
        return Publishable(shown if withheld else None)
    listed = labels_of(path)
    unknown = sorted(listed - set(labels))
    if unknown:
        raise DataError(
            f"every publishable label is that of a stimulus of the workspace, but {path} names "
            f"{', '.join(map(repr, unknown[:5]))}{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''}; "
            f"correct or remove these lines"
        )
    return Publishable(listed)


def copied(study: Study, variant: str, image: Path) -> list[str]:
    """Return the labels of the training stimuli whose pixels an image consists of: those that `retrieval` found.

    None of any other method, and none where everything may be shown.

    Raises
    ------
    MissingStore
        If the record beside the image is not there.
    """
    if not study.withholds or not isinstance(study.reconstruct[variant], RetrievalOptions):
        return []
    record = image.with_suffix(".json")
    if not record.exists():
        raise MissingStore(
            f"{record} does not exist, which says whose pixels the image shows; make it with "
            "`python -m hpc_recon.reconstruct --redo`"
        )
    return list(read_json(record)["retrieved"])


def known(workspace: Path) -> dict[str, str]:
    """Return the dataset of each label of a workspace, and of its test items, which may show no stimulus."""
    table = images.read_table(workspace)
    names: dict[str, str] = {}
    path = workspace / "scores" / "items.csv"
    if path.exists():
        frame = tables.read_items(path)
        for column in ("image", "label"):
            names |= dict(zip(frame[column], frame["dataset"], strict=True))
    return names | dict(zip(table.labels, table.dataset, strict=True))


def labels_of(path: Path) -> frozenset[str]:
    """Return the labels in a file: one a line, spaces around them and empty lines aside.

    Raises
    ------
    StudyError
        If the file does not exist.
    DataError
        If it is no text.
    """
    if not path.is_file():
        raise StudyError(
            "report.publishable", [f"the file {path} does not exist; give a text file with one label a line"]
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"a list of publishable labels is UTF-8 text, but {path} is not ({error}); save it as UTF-8"
        ) from error
    return frozenset(line.strip() for line in lines if line.strip())
