"""A paragraph for the Methods section of a paper: what a study does, with its own numbers, and what to cite.

Everything comes from the study file and the sizes of the stores; what is not there yet is said to be unknown, and a
step that was not run is marked. Settings that differ from their defaults and have no sentence of their own are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hpc_recon.core import receipts, reference_options, units
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.fit_options import AlphaGrid, VoxelGrid
from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.core.network_options import PIXEL_ARCHITECTURES, SHAPE_ARCHITECTURES
from hpc_recon.core.options import EndToEndOptions, IcnnOptions, PixelsOptions
from hpc_recon.core.retrieval_options import RetrievalOptions
from hpc_recon.core.section import in_words, listed
from hpc_recon.core.shape_options import ShapeSemanticOptions
from hpc_recon.reporting import recordings, score_tables
from hpc_recon.stores import layout, shapes

#: What may have to be cited, in the order of the list.
REFERENCES = {
    "shen2019": "Shen G, Horikawa T, Majima K, Kamitani Y (2019). Deep image reconstruction from human brain activity. "
    "PLOS Computational Biology 15(1): e1006633.",
    "horikawa2017": "Horikawa T, Kamitani Y (2017). Generic decoding of seen and imagined objects using hierarchical "
    "visual features. Nature Communications 8: 15037.",
    "ho2023": "Ho JK, Horikawa T, Majima K, Cheng F, Kamitani Y (2023). Inter-individual deep image reconstruction via "
    "hierarchical neural code conversion. NeuroImage 271: 120007.",
    "shen2019b": "Shen G, Dwivedi K, Majima K, Horikawa T, Kamitani Y (2019). End-to-end deep image reconstruction "
    "from human brain activity. Frontiers in Computational Neuroscience 13: 21.",
    "fang2020": "Fang T, Qi Y, Pan G (2020). Reconstructing perceptive images from brain activity by shape-semantic "
    "GAN. Advances in Neural Information Processing Systems 33.",
    "dado2022": "Dado T, Güçlütürk Y, Ambrogioni L, Ras G, Bosch S, van Gerven M, Güçlü U (2022). Hyperrealistic "
    "neural decoding for reconstructing faces from fMRI activations via the GAN latent space. Scientific "
    "Reports 12: 141.",
    "wang2004": "Wang Z, Bovik AC, Sheikh HR, Simoncelli EP (2004). Image quality assessment: from error visibility to "
    "structural similarity. IEEE Transactions on Image Processing 13(4): 600-612.",
}
OPTIMISERS = {"lbfgs": "L-BFGS", "momentum": "gradient descent with momentum", "adam": "Adam", "adamw": "AdamW"}
NOT_RUN = "[not run yet] "


class Sizes:
    """Sizes of the stores in words; `unknown` of what is not there yet."""

    def __init__(self, study: Study) -> None:
        self._shapes = shapes.read(study)

    def samples(self, splits: Iterable[str], dataset: str) -> str:
        """Return how many samples a dataset has of each."""
        return _each("samples", splits, lambda split: self._shapes.n_samples(split, dataset))

    def voxels(self, splits: Iterable[str], roi: str) -> str:
        """Return how many voxels an ROI has of each."""
        return _each("voxels", splits, lambda split: self._shapes.n_voxels(split, roi))

    def units(self, network: str, layer: str) -> str:
        """Return how many units a layer has, in brackets; nothing if that is not known."""
        try:
            return f" ({self._shapes.n_units(network, layer):,} units)"
        except MissingStore:
            return ""


def _each(what: str, splits: Iterable[str], read: Callable[[str], int]) -> str:
    try:
        return f"{what}: {listed(f'{read(split):,} ({split})' for split in splits)}"
    except MissingStore:
        return f"the number of {what} is not known before they are read"


def text(study: Study, *, version: str) -> str:
    """Return the paragraphs, Markdown.

    Parameters
    ----------
    version
        Of this program.
    """
    sizes, cited = Sizes(study), ["shen2019"]
    sections: list[tuple[str, str, list[str]]] = [
        (study.source_verb, "Data", _data(study, sizes)),
        ("extract", "Features", _features(study, sizes)),
    ]
    if study.convert is not None:
        cited.append("ho2023")
        sections.append(("convert", "Conversion between brains", _conversion(study)))
    sections.append(("fit", "Decoders", _decoders(study, cited)))
    if study.train:
        sections.append(("train", "Trained generators", [_entry(n, o, "method") for n, o in study.train.items()]))
    if study.reconstruct:
        methods = [_method(study, name, cited) for name in study.reconstruct]
        sections.append(("reconstruct", "Reconstruction", methods))
    sections.append(("evaluate", "Evaluation", _evaluation(study, cited)))
    parts = [f"# Methods: {study.report.title or study.name}"]
    for verb, heading, sentences in sections:
        mark = "" if _ran(study, verb) else NOT_RUN
        parts.append(f"**{heading}.** {mark}{' '.join(sentences)}")
    parts.append(
        f"**Software.** All steps were written as a study file for hpc_recon {version}; its fingerprints, the versions "
        "of numpy, zarr and torch on each worker, and times are in the report."
    )
    parts += ["## References", *(f"- {REFERENCES[key]}" for key in REFERENCES if key in cited)]
    return "\n\n".join(parts) + "\n"


def _ran(study: Study, verb: str) -> bool:
    return receipts.Listing(layout.workspace_of(study), verb).any_done(verb)


def _data(study: Study, sizes: Sizes) -> list[str]:
    n = len(study.subjects)
    found = [f"{n} {'subject' if n == 1 else 'subjects'} ({', '.join(study.subjects)})."]
    if study.simulate is not None:
        own = study.simulate
        found.append(
            f"Brain activity was simulated (preset {own.preset}, signal {own.signal}, noise scaled by "
            f"{own.noise_scale:g}), so nothing here is a statement about real brains."
        )
    for name, dataset in study.datasets.items():
        shown = [p for p in study.subjects if dataset.role == "training" or name in study.test_datasets(p)]
        found.append(f"Dataset {name} ({dataset.role}), {sizes.samples(shown, name)}.")
    found += recordings.sentences(study)
    found += [f"ROI {roi}, {sizes.voxels(study.subjects, roi)}." for roi in study.rois]
    average = study.decode.average
    kept = "were averaged before z-scoring" if average is True else f"were averaged {average} at a time"
    found.append(f"Repeats of a test stimulus {kept if average else 'were kept as single trials'}.")
    folds = None if study.ingest is None else study.ingest.cross_validation
    if folds is not None:
        found.append(
            f"Cross-validation: {folds.repeats} x {folds.folds} folds over the images of {folds.training_dataset}."
        )
    return found


def _features(study: Study, sizes: Sizes) -> list[str]:
    found = []
    for name, network in study.networks.items():
        weights = f"have weights {Path(network.weights).name if '/' in network.weights else network.weights}"
        if network.architecture in PIXEL_ARCHITECTURES + SHAPE_ARCHITECTURES:
            weights = "need no weights"
        source = "were read from files" if network.features is not None else weights
        size = "" if network.image_size is None else f", images of {network.image_size} pixels"
        all_units = listed(f"{layer}{sizes.units(name, layer)}" for layer in network.layers)
        sign = "; absolute values" if network.transform == "abs" else ""
        n = len(network.layers)
        layers = f"{n} layers: {all_units}" if n > 1 else f"layer {all_units}"
        found.append(f"Network {name}: {network.architecture}, whose features {source}{size}{sign}; {layers}.")
        told = ("architecture", "features", "weights", "sha256", "image_size", "layers", "transform", "reference")
        found.append(_others(network, *told))
    if study.units is not None:
        found.append(f"Only {units.in_words(study.units)} were decoded.")
    return [sentence for sentence in found if sentence]


def _conversion(study: Study) -> list[str]:
    own = study.convert
    assert own is not None
    pairs = [f"{source} to {target}" for source, target in own.ordered(study.subjects)]
    how = {
        "ridge": "ridge regression from the source's voxels to each of the target's",
        "procrustes": "an orthogonal map (Procrustes)",
        "hyperalignment": "orthogonal maps by way of a common template (hyperalignment)",
        "optimal_transport": "optimal transport between voxels",
        "content_loss": "a linear map trained so that the target's decoders give the features of the stimuli",
    }[own.method]
    how = "converters that were trained elsewhere" if own.files else how
    found = [f"Activity was converted by {how}: {listed(pairs)}; blocks {listed(own.blocks)}."]
    if own.method == "ridge" and not own.files:
        penalty = own.alpha if own.alpha == "published" else listed(f"{a:g}" for a in own.alpha)
        found.append(f"Penalty: {penalty}; voxels read by each: {own.n_voxels}.")
        if own.weighs:
            found.append("Source voxels were weighted by their reliability over repeats, where stimuli had repeats.")
        if own.matches_variance:
            found.append("What a block predicts was multiplied by one factor, so that it varies as much as the target.")
    found.append(_others(own, "pairs", "method", "blocks", "alpha", "n_voxels", "files"))
    return [sentence for sentence in found if sentence]


def _decoders(study: Study, cited: list[str]) -> list[str]:
    own, method = study.fit, study.decode.norm_correction
    corrected = []
    if method != "none":
        whose = listed(dict.fromkeys(reference_options.in_words(net.reference) for net in study.networks.values()))
        corrected = [f"The norm of decoded features was corrected ({method}) with the statistics of {whose}."]
    if study.decode.files:
        return ["Decoded features were computed elsewhere and read from files.", *corrected]
    if own.files:
        return ["Decoders were trained elsewhere and read from files.", *corrected]
    cited.append("horikawa2017")
    voxels, alpha = own.n_voxels, own.alpha
    if isinstance(voxels, VoxelGrid):
        chosen = f"as many voxels as cross-validation chose of {listed(map(str, voxels.grid))} for each layer"
    else:
        chosen = "all voxels" if voxels == "all" else f"the {voxels} voxels of largest |correlation| with the unit"
    if isinstance(alpha, AlphaGrid):
        penalty = f"penalty chosen of {listed(f'{a:g}' for a in alpha.grid)} for each {alpha.per}"
    else:
        penalty = f"penalty {alpha:g}"
    how = {
        "ridge": f"ridge regression ({penalty} on z-scored data{', intercept included' if own.penalize_bias else ''})",
        "ard": "sparse regression with automatic relevance determination",
        "gradient": "a linear layer trained by gradient descent",
    }[own.estimator]
    found = [f"Each unit had its own decoder: {how}, from {chosen} in the training samples."]
    found += [] if study.rois == ("VC",) else [f"There was one set for each ROI ({listed(study.rois)})."]
    if own.has_grids or own.out_of_fold:
        found.append(f"Cross-validation had {own.folds} folds that hold out stimuli.")
    found.append(_others(own, "n_voxels", "alpha", "estimator", "penalize_bias", "files", "folds"))
    return [sentence for sentence in [*found, *corrected] if sentence]


def _method(study: Study, name: str, cited: list[str]) -> str:
    own = study.reconstruct[name]
    title, layers = score_tables.method_title(study, name), listed(study.layers_of(own))
    if len(study.layers_of(own)) > 1 and study.layers_of(own) == study.networks[own.network].layers:
        layers = "all layers"
    common = ("method", "network", "title", "layers", "images_per_tile")
    if isinstance(own, IcnnOptions):
        what = "the input of a generator" if own.is_generator else "pixels"
        losses = listed(f"{of} {kind}" if len(own.loss) > 1 else kind for of, kind in own.loss.items())
        how = (
            f"deep image reconstruction: {what} optimised with {OPTIMISERS[own.optimiser.name]} for {own.iterations} "
            f"iterations from {own.first}, until features of {own.network} ({layers}) match the {own.source} ones "
            f"(loss {losses}, balance {own.balance})"
        )
        options = in_words(own.optimiser, "name")
        how += f"; optimiser: {options}" if options else ""
        skip = ("iterations", "source", "loss", "balance", "optimiser", "start", "start_file", "preset")
        return f"*{title}*: {how}. {_others(own, *common, *skip)}".strip()
    if isinstance(own, EndToEndOptions):
        cited.append("shen2019b")
        how = f"one pass of the generator {own.model}" if own.model else "one pass of published generators"
    elif isinstance(own, LatentOptions):
        cited.append("dado2022")
        how = f"decoded latents ({own.network}: {layers}) rendered by {own.generator.kind}"
    elif isinstance(own, ShapeSemanticOptions):
        cited.append("fang2020")
        how = f"shape and semantics joined by the generator {own.model}"
    elif isinstance(own, RetrievalOptions):
        nearest = "the training image" if own.mean_of == 1 else f"the mean of the {own.mean_of} training images"
        how = f"{nearest} nearest in features of {own.network} ({layers})"
    else:
        assert isinstance(own, PixelsOptions)
        how = f"decoded pixels ({own.network})"
    return f"*{title}*: {how}. {_others(own, *common, 'model', 'generator', 'mean_of')}".strip()


def _evaluation(study: Study, cited: list[str]) -> list[str]:
    cited.append("wang2004")
    own = study.evaluate
    found = [
        "Decoded features: profile correlation (each unit, over images), pattern correlation (each image, over units "
        "z-scored with the training statistics) and pairwise identification among the images of a dataset.",
    ]
    if study.reconstruct:
        found.append(
            "Images: pixel correlation, SSIM (Gaussian window of sigma 1.5 pixels; Wang et al. 2004), RMSE, PSNR and "
            "pairwise identification by pixels (ties are losses, chance is 50 %), beside the mean training image, the "
            "mean image of the true category and the training image nearest to the decoded features.",
        )
    found.append(
        f"Intervals: {100 * own.confidence:g} % percentile bootstrap over images ({own.resamples:,} resamples)."
    )
    found.append(_others(own, "confidence", "resamples", "networks", "ratings", "shapes"))
    return [sentence for sentence in found if sentence]


def _entry(name: str, options: Any, method: str) -> str:
    return f"*{name}* ({getattr(options, method)}): {in_words(options, method) or 'all options at their defaults'}."


def _others(options: Any, *told: str) -> str:
    found = in_words(options, *told)
    return f"Further settings: {found}." if found else ""
