"""How a study's samples were made, in sentences for a Methods section: from BOLD runs, betas of trials, or arrays."""

from __future__ import annotations

from collections.abc import Iterator

from hpc_recon.core.config import Study
from hpc_recon.core.image_options import BetasSource, BoldSource
from hpc_recon.core.ingest_options import Exclude, IngestDataset
from hpc_recon.core.section import listed


def sentences(study: Study) -> list[str]:
    """Return how the samples of each dataset were made, subjects of whom the same is true together; none if simulated.

    Of arrays and BData only what is done with their samples: what they hold was made before.
    """
    if study.ingest is None:
        return []
    found = []
    for name in study.datasets:
        told: dict[str, list[str]] = {}
        for subject in study.subjects:
            mapping = study.ingest.subjects.get(subject)
            if mapping is not None and name in mapping.datasets:
                told.setdefault("; ".join(_steps(mapping.datasets[name])), []).append(subject)
        for words, subjects in told.items():
            whose = f" of {listed(subjects)}" if len(told) > 1 else ""
            found += [f"Samples of {name}{whose}: {words}."] if words else []
    dropped = [s for s in study.subjects if s in study.ingest.subjects and study.ingest.subjects[s].drop_nan_voxels]
    if dropped:
        found.append(f"Voxels that are NaN in some sample were left out ({', '.join(dropped)}).")
    return found


def _steps(dataset: IngestDataset) -> Iterator[str]:
    """Yield what is done to the samples of one dataset, in its order."""
    if dataset.bold is not None:
        yield from _of_runs(dataset.bold)
    if dataset.betas is not None:
        yield from _of_betas(dataset.betas)
    out = dataset.exclude
    if out != Exclude():
        parts = [f"{len(out.labels)} labels"] * bool(out.labels) + [f"{len(out.trials)} samples"] * bool(out.trials)
        yield f"{listed(parts)} excluded"
    if dataset.repeats is not None:
        yield {"keep": "repeats kept as single samples", "average": "repeats averaged when they were read"}[
            dataset.repeats
        ]
    if dataset.average_groups_of is not None:
        yield f"samples of a stimulus averaged {dataset.average_groups_of} at a time"


def _of_runs(source: BoldSource) -> Iterator[str]:
    yield f"from BOLD runs{f', the first {source.drop_s:g} s of each dropped' if source.drop_s else ''}"
    removed = [*(["linear trend"] if source.linear_trend else []), *source.confounds]
    if removed:
        yield f"{listed(removed)} regressed out"
    yield f"percent of the mean of the {source.baseline_s:g} s of rest that follow"
    if source.despike_sd is not None:
        yield f"values beyond {source.despike_sd:g} standard deviations clipped (at most {source.despike_passes} times)"
    window = "8 s (training), 12 s (test) or 16 s (imagery)" if source.window_s is None else f"{source.window_s:g} s"
    yield f"mean over {window} from {source.shift_s:g} s after each event"
    if source.drop_repetitions:
        yield "events that repeat the one before left out"
    if source.normalise != "none":
        yield f"z-scored within each {source.normalise}"


def _of_betas(source: BetasSource) -> Iterator[str]:
    scaled = f", stored values divided by {source.scale:g}" if source.scale != 1 else ""
    yield f"betas of single trials{scaled}"
