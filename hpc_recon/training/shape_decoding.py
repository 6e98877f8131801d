"""The semantic vector: learnt from training images alone, cross-fitted for these, applied to new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.methods import semantic
from hpc_recon.numerics import semantics
from hpc_recon.numerics.semantics import Linear, Voxels
from hpc_recon.stores import arrays, images, items, layout
from hpc_recon.training import Place
from hpc_recon.training import shape_sources as sources

_PREFIX = "semantic."


@dataclass(frozen=True)
class Semantics:
    """How semantic vectors are made.

    Attributes
    ----------
    decoder
        From raw voxels to a vector; None: the vector is the embedding that the engine decodes.
    mean, scale
        (n_semantic,) of the cross-fitted vectors of training images: vectors are z-scored by them.
    centres
        Of clusters of training images, None for another target.
    names
        Of the categories, () for another target.
    """

    decoder: semantic.Network | Linear | None
    mean: Array
    scale: Array
    centres: Array | None
    names: tuple[str, ...]

    @classmethod
    def learnt(cls, study: Study, place: Place, rows: Array, held: Sequence[Array]) -> tuple[Semantics, Array]:
        """Learn from the training images of a split; return also their own vectors, z-scored, without their own part.

        Parameters
        ----------
        rows
            Of the training images, ascending.
        held
            Which of them each fold holds out.

        Raises
        ------
        DataError
            If categories are asked for, and an image has none.
        """
        options = sources.options_of(study, place)
        own = options.semantic
        names, centres, targets, n_outputs = _targets(study, place, rows)
        roi = own.roi or place.roi
        decoder: semantic.Network | Linear | None = None
        if own.target == "embedding" and own.decoder == "linear":
            assert own.network is not None, "validated"
            layer = sources.layer_of(study, own.network, own.layer)
            vectors = sources.out_of_fold(study, place.split, roi, own.network, layer, len(rows)).astype(np.float64)
        else:
            patterns = sources.training_patterns(study, place.split, roi, rows)
            seed = seed_of(study.seed, "semantics", options.seed, place.split, roi)

            def fit(some: Array) -> semantic.Network | Linear:
                if own.decoder == "linear":
                    return semantics.logistic(patterns[some], targets[some], n_classes=n_outputs, penalty=own.penalty)
                return semantic.fit(patterns[some], targets[some], own, n_outputs=n_outputs, seed=seed)

            decoder = fit(np.arange(len(rows)))
            vectors = semantics.crossed(patterns, held, fit=fit, whole=decoder)
        mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
        found = cls(decoder, mean, scale, centres, names)
        return found, found.scaled(vectors)

    def scaled(self, vectors: Array) -> Array:
        """Return z-scored vectors, float32; a number that never varied in training is 0."""
        varies = self.scale > 0
        return np.where(varies, (vectors - self.mean) / np.where(varies, self.scale, 1.0), 0.0).astype(np.float32)

    def of_items(self, study: Study, place: Place, dataset: str) -> Array:
        """Return the z-scored vectors of all items of a test dataset, (n, n_semantic) float32."""
        own = sources.options_of(study, place).semantic
        roi = own.roi or place.roi
        if self.decoder is not None:
            return self.scaled(self.decoder.vectors(sources.item_patterns(study, place.split, roi, dataset)))
        assert own.network is not None, "an embedding"
        ref = layout.decoded(
            place.split, roi, dataset, study.decoded_name(own.network), sources.layer_of(study, own.network, own.layer)
        )
        return self.scaled(arrays.read(layout.workspace_of(study), ref))

    def classes(self, study: Study, place: Place, dataset: str) -> Array | None:
        """Return the class that is decoded of each item, (n,) int64; None where the target is no class."""
        own = sources.options_of(study, place).semantic
        if self.decoder is None or own.target == "embedding":
            return None
        patterns = sources.item_patterns(study, place.split, own.roi or place.roi, dataset)
        logits = self.decoder.vectors if isinstance(self.decoder, Linear) else self.decoder.outputs
        return np.asarray(logits(patterns).argmax(axis=1), np.int64)

    def of_class_means(self, study: Study, place: Place, vectors: Array, *, rows: Array, extra: Array) -> Array:
        """Return for each image without brain data the mean vector of the training images of its class, with noise.

        The class is its category; for clusters, that of the nearest centre of its own embedding.

        Raises
        ------
        DataError
            If no training image is of its class.
        """
        options = sources.options_of(study, place)
        if not extra.size:
            return np.empty((0, vectors.shape[1]), np.float32)
        augments = options.augments
        assert augments is not None, "there are such images"
        table = images.read_table(layout.workspace_of(study))
        if self.centres is not None:
            known, wanted = (
                semantics.nearest(_embedding(study, options, of), self.centres).tolist() for of in (rows, extra)
            )
        else:
            known, wanted = ([table.category[row] for row in of] for of in (rows, extra))
        absent = sorted({str(x) for x in wanted} - {str(x) for x in known if x != ""})
        if absent:
            raise DataError(
                f"train.{place.name}.augmentation: {len(absent)} classes of images without brain data are those of no "
                f"training image: {images.examples(absent)}; leave these images out of {augments.dataset!r}"
            )
        members = np.array(known)
        means = np.stack([vectors[members == x].mean(axis=0) for x in wanted])
        rng = np.random.default_rng(seed_of(study.seed, "augmentation", options.seed, place.split))
        noisy: Array = means + augments.noise * rng.standard_normal(means.shape)
        return noisy.astype(np.float32)

    def arrays(self) -> dict[str, Array]:
        """Return everything as named arrays."""
        found = {"mean": self.mean, "scale": self.scale, "names": np.array(self.names, dtype=str)}
        if self.centres is not None:
            found["centres"] = self.centres
        if isinstance(self.decoder, Linear):
            found |= {"weights": self.decoder.weights, "offset": self.decoder.offset}
            found |= {"voxel_mean": self.decoder.voxels.mean, "voxel_scale": self.decoder.voxels.scale}
        elif self.decoder is not None:
            found |= {"voxel_mean": self.decoder.mean, "voxel_scale": self.decoder.scale}
            for i, (weights, bias) in enumerate(self.decoder.layers):
                found |= {f"weights{i}": weights, f"bias{i}": bias}
        return {_PREFIX + name: values for name, values in found.items()}

    @classmethod
    def from_arrays(cls, options: ShapeSemanticTraining, stored: Mapping[str, Array]) -> Semantics:
        """Return what `arrays` gave."""
        found = {name.removeprefix(_PREFIX): v for name, v in stored.items() if name.startswith(_PREFIX)}
        decoder: semantic.Network | Linear | None = None
        if "weights" in found:
            decoder = Linear(Voxels(found["voxel_mean"], found["voxel_scale"]), found["weights"], found["offset"])
        elif "weights0" in found:
            n = sum(name.startswith("weights") for name in found)
            layers = tuple((found[f"weights{i}"], found[f"bias{i}"]) for i in range(n))
            decoder = semantic.Network(found["voxel_mean"], found["voxel_scale"], layers, options.semantic.feature)
        names = tuple(str(name) for name in found["names"])
        return cls(decoder, found["mean"], found["scale"], found.get("centres"), names)


def _targets(study: Study, place: Place, rows: Array) -> tuple[tuple[str, ...], Array | None, Array, int]:
    """Return names of classes, centres of clusters, the targets of the training images, and the decoder's outputs."""
    options = sources.options_of(study, place)
    if options.semantic.target == "labels":
        table = images.read_table(layout.workspace_of(study))
        own = [table.category[row] for row in rows]
        nameless = [table.labels[row] for row, category in zip(rows, own, strict=True) if not category]
        if nameless:
            raise DataError(
                f"train.{place.name}.semantic: target: labels needs the category of every training image, but "
                f"{len(nameless)} have none: {images.examples(nameless)}; give categories under ingest.stimuli, or "
                "target: kmeans"
            )
        names, targets = np.unique(own, return_inverse=True)
        return tuple(names.tolist()), None, targets.astype(np.int64), len(names)
    embedding = _embedding(study, options, rows)
    if options.semantic.target == "kmeans":
        n, seed = options.semantic.clusters, seed_of(study.seed, "clusters", options.seed)
        centres = semantics.clusters(embedding, n, seed=seed)
        return (), centres, semantics.nearest(embedding, centres), n
    mean, scale = embedding.mean(axis=0), embedding.std(axis=0)
    return (), None, (embedding - mean) / np.where(scale > 0, scale, 1.0), embedding.shape[1]


def _embedding(study: Study, options: ShapeSemanticTraining, rows: Array) -> Array:
    """Return the true embedding of images, (n, n_numbers)."""
    own = options.semantic
    assert own.network is not None, "validated"
    return items.true_features(study, own.network, sources.layer_of(study, own.network, own.layer), rows)
