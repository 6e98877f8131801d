"""Run the chain of verbs on one cluster and under one lease: each is planned when the one before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from hpc_recon.run import cli


def chain(
    source: str,
    *,
    start: str | None,
    through: str | None,
    trains: bool = False,
    converts: bool = False,
    after_fit: bool = False,
) -> list[str]:
    """Return the verbs of a pipeline from `start` through `through`, both included.

    Parameters
    ----------
    source
        `simulate` or `ingest`: what the study says makes the brain data.
    trains, converts
        Whether the study has a section `train`, `convert`; without it that verb is left out.
    after_fit
        Whether converters need decoders: `convert` then comes after `fit`, not before it.

    Raises
    ------
    StudyError
        If a name is unknown, is the source that this study does not use, or comes after the end; or the study is a
        control.
    """
    from hpc_recon.core.errors import StudyError
    from hpc_recon.run.verbs import STEPS, step

    if source == "control":
        raise StudyError("--study", ["this study was derived by `control`; run `python -m hpc_recon.control` instead"])
    other = {"simulate": "ingest", "ingest": "simulate"}[source]
    names = [
        verb.name
        for verb in STEPS
        if verb.name != other and (trains or verb.name != "train") and (converts or verb.name != "convert")
    ]
    if after_fit and converts:
        names.remove("convert")
        names.insert(names.index("fit") + 1, "convert")
    for option, name in (("--from", start), ("--through", through)):
        if name is not None and step(name, where=option).name == other:
            raise StudyError(option, [f"this study makes its data with {source!r}, not {name!r}"])
        if name == "train" and not trains:
            raise StudyError(option, ["this study trains nothing; give it a section train, or name another verb"])
        if name == "convert" and not converts:
            raise StudyError(option, ["this study converts nothing; give it a section convert, or name another verb"])
    first = names.index(start) if start else 0
    last = names.index(through) if through else len(names) - 1
    if first > last:
        raise StudyError("--from/--through", [f"{start!r} comes after {through!r}; the order is {', '.join(names)}"])
    return names[first : last + 1]


def _run(values: dict[str, Any]) -> int:
    start, through = values.pop("start"), values.pop("through")

    def action() -> int:
        from hpc_recon.core.loading import load_study

        options = cli.options_of(values)
        study = load_study(options.study, options.assignments)
        has = {"trains": bool(study.train), "converts": study.convert is not None}
        has["after_fit"] = study.convert is not None and study.convert.after_fit
        return cli.run(chain(study.source_verb, start=start, through=through, **has), values)

    return cli.guarded(action)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pipeline from the command line."""

    @click.command(help="Run the chain of all verbs on one cluster.")
    @click.option("--from", "start", metavar="VERB", default=None, help="first verb  [default: simulate or ingest]")
    @click.option("--through", metavar="VERB", default=None, help="last verb  [default: report]")
    @cli.common_options
    @partial(cli.more_options, "pipeline")
    def command(**values: Any) -> int:
        return _run(values)

    return cli.execute("python -m hpc_recon.pipeline", command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
