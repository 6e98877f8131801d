"""How much faster than the published programs are we, on the same machine and data, and how far from its limit?

Fits the same units with `numerics.decoder.fit_units`, FastL2LiR 0.11 and a scikit-learn pipeline a unit, each in a
process of its own, taking turns; medians over repetitions. The time of a unit is marginal, the difference between
two numbers of units divided by their difference, because FastL2LiR has a fixed cost a call (its Gram matrix); that
rest is `fixed_seconds`. Ours is `statistics_seconds`, once a subject and ROI.

The limit is the arithmetic alone, 2 n_stimuli n_voxels (product) + k^3 / 3 (factorisation) operations a unit, at the
rate of a 2048^3 float32 product on one thread, measured in the same run.

    python benchmarks/bench_peers.py --toy
    python benchmarks/bench_peers.py --peer-python /tmp/peers/bin/python --output benchmarks/results/peers.json

FastL2LiR needs an interpreter with NumPy < 2 (benchmarks/peers/README.md); without one it is left out, and the result
says so. Needs Linux (peak memory). Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import machine
from scipy.ndimage import gaussian_filter

TIMED = Path(__file__).resolve().parent / "peers" / "timed.py"
#: The interpreter that has FastL2LiR, for the tests and as default of --peer-python.
VARIABLE = "HPC_RECON_PEER_PYTHON"
#: Variables that would change how many BLAS threads the peers take: they run as they ship.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

#: name: data, repeats of each stimulus, stimuli, voxels
CASES = {
    f"{data}, {repeats * 1200:,} x {n_voxels:,}": (data, repeats, 1200, n_voxels)
    for data in ("retinotopic", "noise")
    for repeats in (1, 5)
    for n_voxels in (8000, 11726)
}
TOY = {"retinotopic, toy": ("retinotopic", 2, 70, 90), "noise, toy": ("noise", 1, 300, 90)}
#: Numbers of units between which the marginal time is taken: multiples of 512, so that two threads of ours
#: get equal shares.
UNITS = {"ours": (512, 1536), "fastl2lir": (512, 1536), "scikit-learn": (1, 5)}
TOY_UNITS = {"ours": (256, 1280), "fastl2lir": (20, 60), "scikit-learn": (1, 3)}
K, ALPHA = 500, 100.0
TOY_K = 20
N_TEST = 50
SGEMM, TOY_SGEMM = 2048, 128
#: Retinotopic data: image features on a map of this side, this many channels, smooth over so many places.
SIDE, CHANNELS, SMOOTHNESS = 28, 8, 1.0
#: Standard deviation of a trial's noise, of a voxel's own signal.
NOISE = 1.5


#: Marginal times that differ by more than this part of their median are called too noisy.
NOISY = 0.25


def simulate(data, repeats, n_stimuli, n_voxels, n_units):
    """Return raw float32 samples (n_samples, n_voxels), units (n_stimuli, n_units), test samples, stimulus codes."""
    rng = np.random.default_rng(0)
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    total = n_stimuli + N_TEST
    if data == "noise":
        signal, Y = np.zeros((total, 1), np.float32), rng.standard_normal((n_stimuli, n_units), np.float32)
    else:
        signal, Y = retinotopic(rng, total, n_stimuli, n_voxels, n_units)
    shown = np.concatenate([stimulus, np.arange(n_stimuli, total)])
    X = rng.standard_normal((len(shown), n_voxels), np.float32)
    X *= NOISE
    X += signal[shown]
    X += 100
    return X[: len(stimulus)], Y, X[len(stimulus) :], stimulus


def retinotopic(rng, total, n_stimuli, n_voxels, n_units):
    """Return noiseless voxels (total, n_voxels) and units (n_stimuli, n_units) that see the same places of images.

    A stimulus is maps of image features, smooth in space. A voxel weighs them with a Gaussian receptive field; voxels
    are numbered along a sheet, so neighbours see neighbouring places. Units are channels of a convolutional layer,
    numbered channel by channel and row by row: neighbours see neighbouring places too, and choose many of the same
    voxels.
    """
    maps = rng.standard_normal((total, CHANNELS, SIDE, SIDE), np.float32)
    maps = gaussian_filter(maps, (0, 0, SMOOTHNESS, SMOOTHNESS), mode="wrap")
    maps /= maps.std()
    sheet = int(np.ceil(np.sqrt(n_voxels)))
    row, column = (axis.astype(np.float32) * (SIDE / sheet) for axis in np.divmod(np.arange(n_voxels), sheet))
    centre = np.stack([row, column]) + rng.normal(0, 0.5, (2, n_voxels)).astype(np.float32)
    width = rng.uniform(0.8, 2.5, n_voxels).astype(np.float32)[:, None]
    place = np.arange(SIDE, dtype=np.float32)
    fields = [np.exp(-((place - c[:, None]) ** 2) / (2 * width**2)) for c in centre]  # each (n_voxels, SIDE)
    taste = rng.standard_normal((n_voxels, CHANNELS), np.float32)
    signal = np.empty((total, n_voxels), np.float32)
    flat = maps.reshape(total, -1)
    for start in range(0, n_voxels, 512):
        v = slice(start, start + 512)
        weight = np.einsum("vc,vy,vx->vcyx", taste[v], fields[0][v], fields[1][v], optimize=True)
        signal[:, v] = flat @ weight.reshape(len(weight), -1).T
    signal /= signal.std(axis=0)
    n_channels = -(-n_units // SIDE**2)
    mix = rng.standard_normal((n_channels, CHANNELS), np.float32) / CHANNELS**0.5
    features = np.einsum("oc,scyx->soyx", mix, maps[:n_stimuli], optimize=True).reshape(n_stimuli, -1)[:, :n_units]
    return signal, features + 0.3 * rng.standard_normal(features.shape, np.float32)


def store(folder, X, Y, test, stimulus):
    """Write raw and z-scored data as `peers/timed.py` reads them."""
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", Y)
    np.save(folder / "test.npy", test)
    np.save(folder / "stimulus.npy", stimulus)
    for name, values, of in (("z", X, X), ("t", Y, Y), ("z_test", test, X)):
        mean, scale = of.mean(axis=0, dtype=np.float64), of.std(axis=0, ddof=1, dtype=np.float64)
        np.save(folder / f"{name}.npy", ((values - mean) / scale).astype(np.float32))


class Program:
    """A program in a process of its own, which answers requests one at a time."""

    def __init__(self, name, python, folder, settings):
        environment = {key: value for key, value in os.environ.items() if key not in THREAD_VARIABLES}
        self.messages = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in `close`
        self.name = name
        self.process = subprocess.Popen(
            [str(python), str(TIMED), name, str(folder), json.dumps(settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.messages, text=True, env=environment,
        )  # fmt: skip
        self.hello = self._answer()

    def ask(self, do, **more):
        with contextlib.suppress(BrokenPipeError):  # the program has ended: `_answer` says why
            self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.messages.seek(0)
            said = self.messages.read()[-3000:]
            self.close()
            raise RuntimeError(f"{self.name} ended with {code} instead of answering:\n{said}")
        return json.loads(line)

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.messages.close()


def run_case(case, *, units, peer_python, n_threads, repetitions, toy, say):
    """Return the figures of one case."""
    data, repeats, n_stimuli, n_voxels = case
    k = TOY_K if toy else K
    settings = {"k": k, "alpha": ALPHA}
    labels = {
        f"ours, {n} thread{'s' * (n > 1)}": ("ours", sys.executable, {**settings, "threads": n}) for n in n_threads
    }
    if peer_python:
        labels["FastL2LiR"] = ("fastl2lir", peer_python, settings)
    labels["scikit-learn"] = ("scikit-learn", sys.executable, settings)
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as name:
        folder, programs = Path(name), {}
        store(folder, *simulate(data, repeats, n_stimuli, n_voxels, max(most for _, most in units.values())))
        try:
            programs["sgemm"] = Program("sgemm", sys.executable, folder, {})
            for label, (program, python, given) in labels.items():
                programs[label] = Program(program, python, folder, given)
            rates, timed = take_turns(
                programs, units, repetitions=repetitions, size=TOY_SGEMM if toy else SGEMM, say=say
            )
            results = {}
            for label, program in programs.items():
                if label != "sgemm":
                    answer = program.ask("result", file=str(folder / f"{label}.npz"))
                    threads = {"threads": labels[label][2]["threads"]} if program.name == "ours" else {}
                    measured = figures(timed[label], units[program.name])
                    results[label] = {**program.hello, **threads, **measured, **answer}
        finally:
            for program in programs.values():
                program.close()
        found = {label: dict(np.load(folder / f"{label}.npz")) for label in results}
    rate, flops = statistics.median(rates), 2 * n_stimuli * n_voxels + k**3 / 3
    compare(results, found, flops=flops, rate=rate)
    for label, result in results.items():
        if result["too_noisy"] and not toy:
            say(f"  {label}: too noisy to be quoted, {result['microseconds_per_unit_range']} us a unit; run it alone")
    return {
        "data": data,
        "n_samples": repeats * n_stimuli,
        "n_stimuli": n_stimuli,
        "n_voxels": n_voxels,
        "k": k,
        "alpha": ALPHA,
        "flops_per_unit": flops,
        "sgemm_gflops_one_thread": {"median": round(rate / 1e9, 2), "all": [round(r / 1e9, 2) for r in rates]},
        "voxels_shared_by_neighbours": shared(next(iter(found.values()))["voxel"]),
        "programs": results,
    }


def compare(results, found, *, flops, rate):
    """Add to each program's figures: ours the share of the limit, others the ratio to ours; all but the first, which
    is ours, how far its predictions are from the first one's.
    """
    first = next(iter(results))
    ours = {label: result["microseconds_per_unit"] for label, result in results.items() if label.startswith("ours")}
    for label, result in results.items():
        if label in ours:
            result["share_of_limit"] = round(flops / (ours[label] * 1e-6 * result["threads"]) / rate, 4)
        else:
            result["ratio_to"] = {other: round(result["microseconds_per_unit"] / ours[other], 2) for other in ours}
        if label != first:
            result["agreement"] = {"with": first, **agreement(found[first], found[label])}


def take_turns(programs, units, *, repetitions, size, say):
    """Return the sgemm rates and, for each program, its timings of each repetition."""
    rates, timed = [], {label: [] for label in programs if label != "sgemm"}
    for repetition in range(repetitions):
        rates.append(programs["sgemm"].ask("sgemm", size=size)["rate"])
        for label, turns in timed.items():
            program, turn = programs[label], {}
            if program.name == "ours":
                turn["statistics"] = program.ask("statistics")["seconds"]
            few, many = units[program.name]
            turn["few"] = program.ask("fit", units=few)["seconds"]
            answer = program.ask("fit", units=many)
            turn["many"], turn["peak"] = answer["seconds"], answer["peak_bytes"]
            turns.append(turn)
            say(f"  {repetition + 1} of {repetitions}, {label}: {turn['few']:.2f} s, {turn['many']:.2f} s")
    return rates, timed


def figures(turns, units):
    """Return medians over repetitions, the range of the marginal time, and peak memory.

    `too_noisy` says that the marginal times differ by more than `NOISY` of their median, or that one is not even
    positive: other work on the machine outweighs them, and the figures should not be quoted.
    """
    few, many = units
    marginal = [(turn["many"] - turn["few"]) / (many - few) for turn in turns]
    fixed = [turn["few"] - few * each for turn, each in zip(turns, marginal, strict=True)]
    result = {
        "units": [few, many],
        "microseconds_per_unit": round(1e6 * statistics.median(marginal), 2),
        "microseconds_per_unit_range": [round(1e6 * min(marginal), 2), round(1e6 * max(marginal), 2)],
        "fixed_seconds": round(statistics.median(fixed), 3),
        "peak_bytes": max(turn["peak"] for turn in turns),
    }
    result["too_noisy"] = min(marginal) <= 0 or max(marginal) - min(marginal) > NOISY * statistics.median(marginal)
    if "statistics" in turns[0]:
        result["statistics_seconds"] = round(statistics.median(turn["statistics"] for turn in turns), 3)
    return result


def agreement(ours, other):
    """Return how far apart two programs' predictions are, in units of each unit's SD, and on how many units they agree
    about the voxels: where the scores of two voxels differ by less than float32 keeps, either may be chosen.
    """
    n_units = min(ours["predicted"].shape[1], other["predicted"].shape[1])
    difference = np.abs(ours["predicted"][:, :n_units] - other["predicted"][:, :n_units])
    chosen = [np.sort(each["voxel"][:n_units].astype(np.int64), axis=1) for each in (ours, other)]
    same = (chosen[0] == chosen[1]).all(axis=1)
    both = difference[:, same]
    return {
        "units": n_units,
        "units_with_the_same_voxels": int(same.sum()),
        "prediction_difference_max": float(difference.max()),
        "prediction_difference_rms": float(np.sqrt((difference**2).mean())),
        "prediction_difference_max_same_voxels": float(both.max()) if both.size else None,
    }


def shared(voxel):
    """Return the mean share of a unit's voxels that the next unit reads too."""
    shares = [len(np.intersect1d(a, b)) / len(a) for a, b in itertools.pairwise(voxel)]
    return round(float(np.mean(shares)), 3)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny sizes, seconds in all")
    parser.add_argument("--peer-python", default=os.environ.get(VARIABLE), help=f"has FastL2LiR (default: ${VARIABLE})")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of ours (default: 1 2)")
    parser.add_argument("--units", type=int, nargs=2, metavar=("FEW", "MANY"), help="of ours and FastL2LiR, for trials")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--case", action="append", help="a case by name (default: all); may be given again")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and end")
    parser.add_argument("--output", type=Path, default=None, help="write JSON here (default: standard output only)")
    options = parser.parse_args(argv)
    cases = TOY if options.toy else CASES
    if options.list:
        print("\n".join(cases))
        return 0
    unknown = set(options.case or ()) - set(cases)
    if unknown:
        parser.error(f"no case is named {', '.join(sorted(unknown))}; the cases are: {'; '.join(cases)}")

    def say(text):
        print(text, file=sys.stderr, flush=True)

    if not options.peer_python:
        say(f"FastL2LiR is left out: no --peer-python, and ${VARIABLE} is not set")
    units = dict(TOY_UNITS if options.toy else UNITS)
    if options.units:
        if not 0 < options.units[0] < options.units[1]:
            parser.error(f"--units needs a smaller and a larger number, got {options.units}")
        units.update(ours=tuple(options.units), fastl2lir=tuple(options.units))
    content = {"machine": machine(), "left_out": [] if options.peer_python else ["FastL2LiR"], "cases": {}}
    for name in options.case or cases:
        say(name)
        content["cases"][name] = run_case(
            cases[name],
            units=units,
            peer_python=options.peer_python,
            n_threads=options.threads,
            repetitions=options.repetitions,
            toy=options.toy,
            say=say,
        )
        if options.output is not None:  # after each case: an interrupted run keeps what it has
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
