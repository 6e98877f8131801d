"""How near does converted decoding come to decoding within a subject, and what does a converter of real size cost?

Two questions. `growth`: a study of two subjects or more whose chain ran through `decode`: S1 converted into S2 with
several numbers of paired samples and penalties, decoded with the decoders of S2 (`--pairs` for others), with source
voxels weighted by their reliability or not (`--weighting`): profile correlation of each layer and
identification (all layers' units, each z-scored over the items), and both as a share of S2's own. `pair`: random data
of the size of one hemisphere of two published subjects: seconds, seconds of processor and memory of fitting.

    python benchmarks/bench_convert.py pair --toy
    python benchmarks/bench_convert.py pair --whole
    python benchmarks/bench_convert.py growth --study STUDY.yaml --samples 300 600 1800 --alphas 1e3 1e4 1e5 --average
    python benchmarks/bench_convert.py growth --study STUDY.yaml --samples 6000 --pairs S5-S1 --average
"""

from __future__ import annotations

import argparse
import resource
import time
from itertools import product
from pathlib import Path

import numpy as np
from give import give
from machine import machine

from hpc_recon.core import sampling
from hpc_recon.core.loading import load_study
from hpc_recon.numerics import converter, decoder, scores, voxel_weights
from hpc_recon.numerics.stats import mean_and_scale, standardise

#: Samples, source voxels, target voxels: of two published subjects, and of a hemisphere, half of them.
WHOLE = (6000, 11_726, 11_114)
PAIR = {False: (6000, 5863, 5557), True: (120, 60, 50)}


def pair(toy, *, whole):
    """Return what fitting one hemisphere, or the whole block, of a pair takes; the memory has random data in it."""
    n, n_source, n_target = WHOLE if whole else PAIR[toy]
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((n, k), dtype=np.float32) for k in (n_source, n_target))
    started, processor = time.perf_counter(), time.process_time()
    block = converter.fit_block(X, Y, alpha=1000.0)
    fitted = time.perf_counter() - started, time.process_time() - processor
    some = X[: min(n, 1200)]
    started = time.perf_counter()
    found = block.predict(some)
    residual = float(np.corrcoef(found[:, 0], Y[: len(found), 0])[0, 1])
    return {
        "samples, source voxels, target voxels": [n, n_source, n_target],
        "seconds": fitted[0],
        "processor seconds": fitted[1],
        "seconds of converting": time.perf_counter() - started,
        "bytes of weights": block.weight.nbytes,
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "r of a training voxel": residual,
    }


def growth(study, samples, alphas, *, average, pair=None, weighting=("equal",)):
    """Return scores of converted decoding by number of samples and penalty, and those within the target."""
    from hpc_recon.conversion import fitting, pairing
    from hpc_recon.stores import brain

    source, target = pair.split("-") if pair else study.subjects[:2]
    split = f"{target}.from-{source}"
    training = {s: brain.read_brain(study.workspace, s, study.training_dataset).samples for s in (source, target)}
    dataset = study.test_datasets()[0]
    shown = {s: brain.read_items(study, s, dataset).samples for s in (source, target)}
    mean, scale = mean_and_scale(training[target])

    def score(patterns):
        return _scores(study, target, dataset, standardise(patterns, mean=mean, scale=scale, dtype=np.float32))

    own = score(shown[target])
    found = []
    for n in samples:
        some = study.model_copy(update={"convert": study.convert.model_copy(update={"samples": n})})
        paired = fitting.pairs(some, split)
        X, Y = training[source][paired.source], training[target][paired.target]
        share = voxel_weights.reliability(X, paired.stimulus, of_means=average)
        gains = {"equal": None, "reliability": None if share is None else voxel_weights.gains(share)}
        if average:
            X, Y = (pairing.averaged(side, paired.stimulus) for side in (X, Y))
        for alpha, kind in product(alphas, weighting):
            made = score(converter.fit_block(X, Y, alpha=alpha, gain=gains[kind]).predict(shown[source]))
            ratios = {layer: made["layers"][layer] / own["layers"][layer] for layer in own["layers"]}
            place = {"samples": n, "alpha": alpha, "weighting": kind}
            found.append({**place, "least ratio": min(ratios.values()), "ratios": ratios, **made})
    mean, scale = mean_and_scale(training[source])
    of_source = _scores(study, source, dataset, standardise(shown[source], mean=mean, scale=scale, dtype=np.float32))
    pair = f"{source}-{target}"
    return {"pair": pair, "within": own, "within the source": of_source, "average": average, "converted": found}


def _scores(study, target, dataset, Z):
    """Return the mean profile correlation of each layer, and identification over the units of all layers."""
    from hpc_recon.stores import arrays, items, layout

    (network,) = study.networks
    name, layers, decoded, true = study.decoded_name(network), {}, [], []
    rows = items.read_shown(study, target, dataset).rows
    for layer in study.networks[network].layers:
        parts = (
            arrays.read(study.workspace, layout.decoder(target, "VC", name, layer, part))
            for part in ("voxel", "weight", "stats")
        )
        predicted = decoder.predict_units(Z, decoder.from_table(*parts))
        n_units = arrays.describe(study.workspace, layout.features(network, layer)).shape[1]
        units = sampling.unit_sample(study, network, layer, n_units)
        wanted = items.true_features(study, network, layer, rows, units)
        known = scores.profile_correlation(predicted, wanted)
        layers[layer] = float(np.nanmean(known))
        usable = np.isfinite(known)
        decoded.append(_profiles(predicted[:, usable]))
        true.append(_profiles(wanted[:, usable]))
    similarity = np.corrcoef(np.hstack(decoded), np.hstack(true))[: len(Z), len(Z) :]
    found = scores.pairwise_identification(similarity)
    return {"layers": layers, "identification": float(np.mean(found.accuracy))}


def _profiles(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def main(argv=None):
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", choices=("pair", "growth"))
    parser.add_argument("--toy", action="store_true", help="tiny data, to see that it runs")
    parser.add_argument("--whole", action="store_true", help="`pair` without hemispheres")
    parser.add_argument("--study", help="of `growth`")
    parser.add_argument("--samples", type=int, nargs="+", default=[300, 600, 1200])
    parser.add_argument("--alphas", type=float, nargs="+", default=[1e2, 1e3, 1e4, 1e5])
    parser.add_argument("--average", action="store_true", help="means of repeats are paired, not single samples")
    parser.add_argument("--pairs", nargs="+", metavar="SOURCE-TARGET", default=[None], help="of `growth`")
    parser.add_argument("--weighting", nargs="+", choices=("equal", "reliability"), default=["equal"])
    parser.add_argument("--output", type=Path)
    args = parser.parse_args(argv)
    if args.question == "pair":
        found = pair(args.toy, whole=args.whole)
    else:
        study, options = load_study(Path(args.study), []), {"average": args.average, "weighting": args.weighting}
        found = [growth(study, args.samples, args.alphas, pair=pair, **options) for pair in args.pairs]
        found = found if len(found) > 1 else found[0]
    return give({"machine": machine(), args.question: found}, args.output)


if __name__ == "__main__":
    raise SystemExit(main())
