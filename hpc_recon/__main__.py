"""`python -m hpc_recon`: the verbs in pipeline order; `python -m hpc_recon fit ...` runs one of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """List the verbs, or hand the arguments to one of them."""
    from hpc_recon.run.verbs import ANALYSES, OTHERS, STEPS

    arguments = list(sys.argv[1:] if argv is None else argv)
    verbs = {verb.name: verb for verb in (*STEPS, *ANALYSES, *OTHERS)}
    if not arguments or arguments[0] in ("-h", "--help"):
        _list([(verb.name, verb.summary) for verb in verbs.values()])
        return 0
    if arguments[0] == "--version":
        from hpc_recon import __version__

        sys.stdout.write(f"hpc-recon {__version__}\n")
        return 0
    if arguments[0] not in verbs:
        from hpc_recon.core.text import closest

        sys.stderr.write(f"error: unknown command {arguments[0]!r}{closest(arguments[0], verbs)}\n")
        return 2
    return int(importlib.import_module(verbs[arguments[0]].module).main(arguments[1:]))


def _list(rows: list[tuple[str, str]]) -> None:
    lines = [f"  {name:<12} {summary}" for name, summary in rows]
    sys.stdout.write(
        "Decode deep-network features from fMRI and turn them back into images.\n\n"
        "Commands, in the order of the pipeline (each: hpc-recon <command> --help):\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
