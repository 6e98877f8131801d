#!/usr/bin/env python3
"""Turn a published pickle of latents and samples into one .npz file; needs numpy alone, nothing of this package.

A pickle may run any code when it is loaded. This reads one that holds plain lists, tuples, dictionaries, numbers, text
and numpy arrays, and refuses every other content before anything of it runs. Parts are named in their order:

    python jobs/latents_from_pickle.py data_S1.dat S1.npz --names X_train T_train X_test T_test

which are those of the HYPER files (docs/latents.md); a dictionary has names of its own. Text of Python 2 is read too.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from pathlib import Path

import numpy as np

#: All that is looked up by name while a pickle of arrays and plain values is read, under numpy's old and new names.
ALLOWED = {
    *(("numpy", name) for name in ("ndarray", "dtype", "float32", "float64")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("_codecs", "encode"),
}


class PlainUnpickler(pickle.Unpickler):
    """Reads arrays and plain values, and looks up nothing else."""

    def find_class(self, module: str, name: str) -> object:
        """Return what a pickle names, if it belongs to arrays.

        Raises
        ------
        ValueError
            If it does not.
        """
        if (module, name) not in ALLOWED:
            raise ValueError(
                f"the pickle asks for {module}.{name}, which is no part of an array and could run code; nothing of it "
                "was run. Save its arrays where you trust it (docs/latents.md)"
            )
        return super().find_class(module, name)


def arrays_of(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Return the parts of a pickle by name, float32, a row for each stimulus.

    Raises
    ------
    ValueError
        If it holds something else than arrays, or not as many parts as names.
    """
    with path.open("rb") as stream:
        parts = PlainUnpickler(stream, encoding="latin1").load()
    if isinstance(parts, dict):
        parts, names = [*parts.values()], [str(name) for name in parts]
    if not isinstance(parts, (list, tuple)) or len(parts) != len(names):
        n = len(parts) if isinstance(parts, (list, tuple)) else 1
        raise ValueError(f"{path} holds {n} parts, but {len(names)} names are given; give --names in their order")
    found = {}
    for name, part in zip(names, parts, strict=True):
        try:
            found[name] = np.asarray(part, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: part {name} is no array of numbers ({error})") from error
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{path}: part {name} has values that are not finite; look at the file")
    return found


def main(argv: list[str] | None = None) -> int:
    """Convert one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pickle", type=Path)
    parser.add_argument("npz", type=Path)
    parser.add_argument("--names", nargs="+", default=["X_train", "T_train", "X_test", "T_test"])
    options = parser.parse_args(argv)
    if options.npz.suffix != ".npz":
        parser.error(f"{options.npz} does not end in .npz; give a name that does")
    if options.npz.exists():
        parser.error(f"{options.npz} exists already; give another name, or remove it")
    try:
        found = arrays_of(options.pickle, options.names)
    except (OSError, ValueError, pickle.UnpicklingError, EOFError) as error:
        parser.error(str(error))
    np.savez(options.npz, **found)
    shown = ", ".join(f"{name} {values.shape}" for name, values in found.items())
    sys.stdout.write(f"{options.npz}: {shown}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
