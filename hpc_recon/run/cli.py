"""The command line that every verb shares. Only click and the standard library at import: `--help` is quick."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--study", metavar="FILE", help="study file  [default: $HPC_RECON_STUDY, else ./study.yaml]", default=None
    ),
    click.option(
        "--cluster", metavar="NAME", default="local", show_default=True, help="where to run: local, slurm, ..."
    ),
    click.option("--cluster-file", metavar="FILE", default=None, help="cluster file to use instead of one by name"),
    click.option("--jobs", metavar="N|N:M", default=None, help="jobs (workers), or a range of them"),
    click.option(
        "--max-jobs",
        metavar="N",
        type=click.IntRange(1),
        default=None,
        help="submit at most N jobs, replacements included",
    ),
    click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="override the study: fit.alpha=10"),
    click.option("--xp", type=click.Choice(["auto", "numpy", "cupy"]), default="auto", help="CPU or GPU arrays"),
    click.option("--only", metavar="PATTERN", default=None, help="only tiles whose id matches, e.g. 'S1/V1/*conv5*'"),
    click.option("--limit", metavar="N", type=click.IntRange(1), default=None, help="only the first N tiles left"),
    click.option(
        "--units",
        metavar="N/layer|every:N|file:PATH",
        default=None,
        help="some units of each layer: N at random, every N-th, or those in a file",
    ),
    click.option("--retry-failed", is_flag=True, help="only tiles that failed last time"),
    click.option("--redo", is_flag=True, help="discard existing results of the selected tiles, compute again"),
    click.option(
        "--verify", is_flag=True, help="read every file of finished tiles first; compute again what is damaged"
    ),
    click.option(
        "--strict-device",
        is_flag=True,
        help="use only nodes of the kind (device, BLAS kernels) that made the results so far",
    ),
    click.option("--memory", metavar="SIZE", default=None, help="memory of a worker, e.g. 16GiB"),
    click.option("--dry-run", is_flag=True, help="show tiles, bytes, memory, time and the job script; touch nothing"),
)


def common_options(function: Function) -> Function:
    """Add the options that all verbs have."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


#: Options that are short for a setting of how test repeats are averaged, and the verbs whose results depend on it.
_AVERAGING = (
    click.option("--single-trial", is_flag=True, help="decode single trials, no averages; decode.average=false"),
    click.option(
        "--average",
        metavar="N",
        type=click.IntRange(2),
        default=None,
        help="average N repeats of a test stimulus at a time; decode.average=N",
    ),
)
AVERAGING_VERBS = ("fit", "decode", "reconstruct", "evaluate", "report", "pipeline")
#: Where the spread of natural images comes from, and the verbs that measure it or use it.
_REFERENCE = click.option(
    "--reference",
    metavar="PATH",
    default=None,
    help="folder of natural images (or the lab's .mat) whose spread decode.norm_correction restores",
)
REFERENCE_VERBS = ("extract", "decode", "pipeline")
#: Human judgements.
_RATINGS = click.option(
    "--ratings",
    metavar="PATH",
    multiple=True,
    help="files that raters of a page of `rate` saved, or folders of them; evaluate.ratings",
)
#: Another form of the tables of scores.
_PARQUET = click.option("--parquet", is_flag=True, help="tables of scores also as Parquet; evaluate.parquet=true")
#: Whose images may be shown.
_PUBLISHABLE = click.option(
    "--publishable",
    metavar="LIST",
    default=None,
    help="text file, a label a line: whose images the report may show; report.publishable",
)
PUBLISHABLE_VERBS = ("report", "pipeline")
#: Converted samples among the training samples, and the verbs whose results depend on it.
_POOL = click.option(
    "--pool",
    metavar="N",
    type=click.IntRange(1),
    multiple=True,
    help="decoders on a subject's own and N others' converted samples too (may be repeated); convert.pool",
)
POOL_VERBS = ("convert", "fit", "decode", "reconstruct", "evaluate", "report", "pipeline")
#: One pair of a study with converters.
_VIA = click.option(
    "--via",
    metavar="SOURCE-TARGET",
    default=None,
    help="only the samples of SOURCE that were converted into TARGET, with the decoders of TARGET",
)
#: Entries of one method.
_METHOD = click.option(
    "--method",
    metavar="NAME",
    default=None,
    help="only the entries of this method: icnn, end_to_end, latent, shape_semantic, retrieval or pixels",
)


def more_options(verb: str, function: Function) -> Function:
    """Add the options of some verbs that are short for settings of the study."""
    options = [*(_AVERAGING if verb in AVERAGING_VERBS else ()), *([_REFERENCE] if verb in REFERENCE_VERBS else ())]
    options += [_RATINGS, _PARQUET] if verb == "evaluate" else []
    options += [_PUBLISHABLE] if verb in PUBLISHABLE_VERBS else []
    options += [_POOL] if verb in POOL_VERBS else []
    options += [_VIA] if verb == "decode" else []
    options += [_METHOD] if verb == "reconstruct" else []
    for option in reversed(options):
        function = option(function)
    return function


def execute(program: str, command: click.Command, argv: Sequence[str] | None) -> int:
    """Run a click command and turn its end into an exit code: 0 done, 1 some tiles failed, 2 bad input."""
    try:
        result = command.main(args=None if argv is None else list(argv), prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        click.echo("stopped", err=True)
        return 1
    return result if isinstance(result, int) else 0


def guarded(action: Callable[[], int]) -> int:
    """Run `action`; an error written for the user becomes its message without a traceback and exit code 2."""
    from hpc_recon.core.errors import ReconError
    from hpc_recon.core.redaction import for_terminal

    try:
        return action()
    except ReconError as error:
        click.echo(f"error: {for_terminal(str(error))}", err=True)
        return 2
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        return 1


def options_of(values: dict[str, Any]) -> Any:
    """Return the common options as one `Options` value.

    Raises
    ------
    StudyError
        With every option that is wrong.
    """
    from hpc_recon.core.errors import StudyError
    from hpc_recon.core.text import parse_bytes
    from hpc_recon.run import conversion_flags, method_flag
    from hpc_recon.run.options import (
        Jobs,
        Options,
        default_study,
        publishable_assignment,
        ratings_assignment,
        reference_assignments,
        units_assignment,
    )

    problems: list[str] = []

    def read(option: str, parse: Callable[[str], Any]) -> Any:
        text = values[option]
        if text is None:
            return None
        try:
            return parse(text)
        except StudyError as error:
            problems.extend(f"--{option} {problem}" for problem in error.problems)
        except ValueError as error:
            problems.append(f"--{option}: {error}")
        return None

    study = Path(values["study"]) if values["study"] else default_study()
    jobs, units, memory = read("jobs", Jobs.parse), read("units", units_assignment), read("memory", parse_bytes)
    average, single = values.get("average"), values.get("single_trial")
    if average and single:
        problems.append(f"--single-trial and --average {average} exclude each other; give one of them")
    averaging = ["decode.average=false"] if single else [f"decode.average={average}"] if average else []
    if values.get("via") and values["only"]:
        problems.append(f"--via {values['via']} and --only {values['only']} both choose tiles; give one of them")
    if problems:
        raise StudyError("command line", problems)
    reference = reference_assignments(values["reference"], study) if values.get("reference") else ()
    ratings = [ratings_assignment(values["ratings"])] if values.get("ratings") else []
    shown = [publishable_assignment(values["publishable"])] if values.get("publishable") else []
    pooled = [conversion_flags.pool_assignment(values["pool"])] if values.get("pool") else []
    stored = ["evaluate.parquet=true"] if values.get("parquet") else []
    more = (*([units] if units else []), *averaging, *reference, *ratings, *stored, *shown, *pooled)
    assignments = [*values["assignments"], *more]
    if values.get("method"):
        assignments.append(method_flag.method_assignment(values["method"], study, assignments))
    only = conversion_flags.via_pattern(values["via"], study, assignments) if values.get("via") else values["only"]
    return Options(
        study=study,
        cluster=values["cluster"],
        cluster_file=Path(values["cluster_file"]) if values["cluster_file"] else None,
        jobs=jobs,
        max_jobs=values["max_jobs"],
        assignments=tuple(assignments),
        xp=values["xp"],
        only=only,
        limit=values["limit"],
        retry_failed=values["retry_failed"],
        redo=values["redo"],
        verify=values["verify"],
        strict_device=values["strict_device"],
        memory=memory,
        dry_run=values["dry_run"],
    )


def run(verbs: Sequence[str], values: dict[str, Any]) -> int:
    """Run steps by name with the values of the common options."""

    def action() -> int:
        options = options_of(values)
        from hpc_recon.run import outlook
        from hpc_recon.run.session import DONE, run_verbs
        from hpc_recon.run.verbs import computing

        steps = [computing(name) for name in verbs]
        if options.dry_run:
            return outlook.dry_run(steps, options)
        code = run_verbs(steps, options)
        if code == DONE:
            outlook.after_run(steps, options)
        return code

    return guarded(action)


def main(
    verb: str,
    argv: Sequence[str] | None = None,
    *,
    instead: Mapping[str, tuple[str, Callable[[Any], int]]] | None = None,
    after: Callable[[Any], int] | None = None,
) -> int:
    """Run one verb from the command line.

    Parameters
    ----------
    verb
        Name of a step of the pipeline.
    argv
        Arguments; None: those of the process.
    instead
        Flags that do something else than to run the verb, by name: help, and a function of the `Options` that
        returns the exit code.
    after
        Called with the `Options` once everything is computed; not in a dry run. Returns the exit code.
    """
    from hpc_recon.run.verbs import computing

    @click.command(
        help=f"{computing(verb).summary.capitalize()}.", context_settings={"help_option_names": ["-h", "--help"]}
    )
    @common_options
    @partial(more_options, verb)
    def command(**values: Any) -> int:
        for flag in ("decode", "out_of_fold"):
            if values.pop(flag, False):
                values["assignments"] = (*values["assignments"], f"fit.{flag}=true")
        chosen = [action for flag, (_, action) in (instead or {}).items() if values.pop(flag.replace("-", "_"))]
        if chosen:
            return guarded(lambda: chosen[0](options_of(values)))
        code = run([verb], values)
        return code if after is None or code or values["dry_run"] else guarded(lambda: after(options_of(values)))

    if verb == "fit":
        decode = click.option("--decode", is_flag=True, help="decode while fitting; store predictions, no decoders")
        predict = click.option("--out-of-fold", is_flag=True, help="predict training stimuli too, held out in turn")
        command = decode(predict(command))
    for flag, (text, _) in (instead or {}).items():
        command = click.option(f"--{flag}", is_flag=True, help=text)(command)
    return execute(f"python -m hpc_recon.{verb}", command, argv)
