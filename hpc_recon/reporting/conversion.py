"""The tables of converters: decoding within a subject beside that of converted activity, by layer and image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import in_words
from hpc_recon.core.score_names import BASELINES, CROSS_VALIDATION
from hpc_recon.reporting.score_tables import IMAGE_METRICS, Cell, Line, Table, cell, method_title
from hpc_recon.reporting.words import METRIC_NAMES, NOTHING, Entry, dataset_title, number

#: The scores of layers that are compared.
LAYER_METRICS = ("profile_correlation", "identification")


def tables(summary: Mapping[str, Any], study: Study, *, roi: str) -> list[Table]:
    """Return one table of layers and one of images a dataset and target; none without converters.

    Of each layer or method the first line is the target's own activity, then one line a source, or number of sources.
    """
    if study.convert is None:
        return []
    layers = [e for e in summary["layers"] if e["roi"] == roi and e["split"] != CROSS_VALIDATION]
    images = [e for e in summary["images"] if e["roi"] == roi and e["variant"] not in BASELINES]
    found = []
    for dataset in study.test_datasets():
        for target in study.subjects:
            for what, entries, keys, metrics in (
                ("decoded features", layers, ("network", "layer"), LAYER_METRICS),
                ("reconstructions", images, ("variant",), IMAGE_METRICS),
            ):
                own = [e for e in entries if (e["subject"], e["dataset"]) == (target, dataset)]
                rows = _rows(own, study, keys, metrics)
                if len({e["split"] for e in own}) > 1:
                    columns = (*(METRIC_NAMES[m] for m in metrics), f"{METRIC_NAMES[metrics[0]]}, of within")
                    title = f"{dataset_title(study, dataset)}, {what}, decoders of {target}"
                    found.append(Table(title, "", columns, tuple(rows)))
    return found


def _rows(entries: Sequence[Entry], study: Study, keys: tuple[str, ...], metrics: tuple[str, ...]) -> list[Line]:
    grouped: dict[tuple[str, ...], dict[str, dict[str, Entry]]] = {}
    for entry in entries:
        by_split = grouped.setdefault(tuple(entry[key] for key in keys), {})
        by_split.setdefault(entry["split"], {})[entry["metric"]] = entry
    rows = []
    for key, by_split in grouped.items():
        name = method_title(study, key[0]) if keys == ("variant",) else key[-1]
        for split, found in by_split.items():
            note = "within" if split == "all" else in_words(split)
            kind = "baseline" if split == "all" else "reconstruction"
            cells = (*(cell(found.get(m)) for m in metrics), _share(found, by_split.get("all", {}), metrics[0]))
            rows.append(Line(name, note, kind, cells))
    return rows


def _share(found: Mapping[str, Entry], within: Mapping[str, Entry], metric: str) -> Cell:
    """Return a score as a share of the score within the subject; a dash where that is not above 0."""
    own, reference = (entries.get(metric, {"mean": None})["mean"] for entries in (found, within))
    return Cell(NOTHING) if own is None or reference is None or reference <= 0 else Cell(number(own / reference))
