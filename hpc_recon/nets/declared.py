"""Sizes of a study whose data are not there yet: from the study file and the networks' architectures alone.

`--dry-run` asks for them where the workspace holds nothing. Layers are measured on the meta device: nothing is
allocated, and no weights are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpc_recon.core.config import Study, Train
from hpc_recon.core.convert_options import is_converted
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.icnn_options import GeneratorLatent
from hpc_recon.core.latent_options import LatentGenerator, LatentOptions
from hpc_recon.core.network_options import FEATURES_ONLY, Network
from hpc_recon.core.options import EndToEndOptions, IcnnOptions
from hpc_recon.core.sizes import Sizes
from hpc_recon.core.train_options import Comparator
from hpc_recon.formats.feature_trees import FeatureTree
from hpc_recon.formats.row_arrays import RowArray
from hpc_recon.nets import zoo
from hpc_recon.nets.identity import weights_kind

#: Instead of weights that are not there.
_RANDOM = {"weights": "random:0", "sha256": None}


@dataclass(frozen=True)
class DeclaredShapes:
    """Implements `core.tiles.Shapes` from declared sizes.

    Folds of a cross-validation cannot be declared: ingest decides their sizes.
    """

    networks: Mapping[str, Network]
    sizes: Sizes
    #: Whether, or how many at a time, repeats of test stimuli are averaged into one item (`decode.average`).
    average: bool | int

    def n_stimuli(self) -> int:
        """Return the number of distinct stimuli of all datasets."""
        return sum(dataset.stimuli for dataset in self.sizes.datasets.values() if dataset.own_stimuli)

    def image_size(self) -> tuple[int, int]:
        """Return height and width of the stimuli, pixels."""
        return self.sizes.image_size

    def n_samples(self, split: str, dataset: str) -> int:
        """Return the number of brain samples of a dataset.

        Raises
        ------
        MissingStore
            If they are not declared, or the split is a fold of a cross-validation, whose sizes ingest decides.
        """
        self._require_whole(split)
        return self.sizes.dataset(dataset).samples

    def n_voxels(self, split: str, roi: str) -> int:
        """Return the number of voxels of an ROI."""
        return self.sizes.n_voxels(roi)

    def n_items(self, split: str, dataset: str) -> int:
        """Return the number of test items: distinct stimuli and conditions, or means of some samples, or samples.

        Every stimulus is taken to have as many samples as any other.
        """
        self._require_whole(split)
        return self.sizes.dataset(dataset).n_items(self.average)

    def n_units(self, network: str, layer: str) -> int:
        """Return the number of units of a layer."""
        return zoo.n_units(self.unit_shape(network, layer))

    def unit_shape(self, network: str, layer: str) -> tuple[int, ...]:
        """Return (channels, height, width) or (n_units,) of a layer; that of its files where nothing else is known."""
        described = self.networks[network]
        if described.architecture == FEATURES_ONLY:
            assert described.features is not None, "the study was validated"
            for array in described.features.arrays.get(layer, ()):
                return array.unit_shape or RowArray(array.file, array.key).shape()[1:]
            return FeatureTree(described.features.folders[0]).shape(layer)
        return zoo.unit_shapes(described, image_size=self.image_size())[layer]

    def made_by(self, network: str, layer: str) -> str:
        """Return the key below which the groups lie that make a network's features."""
        return f"extract/{network}"

    def _require_whole(self, split: str) -> None:
        if "." in split and not is_converted(split):
            raise MissingStore(
                f"nothing is stored of {split}, and the sizes of folds of a cross-validation cannot be declared; run "
                "ingest first"
            )


def read(study: Study, sizes: Sizes) -> DeclaredShapes:
    """Return the declared shapes of a study; nothing is computed before a size is asked for."""
    return DeclaredShapes(study.networks, sizes, study.decode.average)


def without_weights(study: Study) -> tuple[Study, list[str]]:
    """Return the study with random weights and no reference where theirs are not there, and these networks' names.

    For projections only: what a network costs does not depend on its weights. Reference images that are not there
    cannot be counted.
    """
    changes: dict[str, dict[str, object]] = {}
    for name, network in study.networks.items():
        if weights_kind(network.weights) == "file" and not Path(network.weights).is_file():
            changes[name] = {"weights": "random:0", "sha256": None}
        given = network.reference
        if given is not None and not (given.folder or given.file or Path()).exists():
            changes[name] = {**changes.get(name, {}), "reference": None}
    networks = {name: network.model_copy(update=changes.get(name, {})) for name, network in study.networks.items()}
    if changes:
        study = study.model_copy(update={"networks": networks})
    compared: dict[str, Train] = {}
    for name, options in study.train.items():
        drawn = {
            key: part.model_copy(update=_RANDOM)
            for key, part in options
            if isinstance(part, Comparator) and _is_absent(part.weights)
        }
        if drawn:
            compared[name] = options.model_copy(update=drawn)
    if compared:
        study = study.model_copy(update={"train": {**study.train, **compared}})
    return study, [*changes, *(f"train.{name}" for name in compared)]


def _is_absent(weights: Path | str) -> bool:
    return isinstance(weights, Path) and not weights.is_file()


def _drawn(generator: LatentGenerator) -> LatentGenerator:
    """Return a generator of random weights in place of one whose file is not there; others as they are."""
    if generator.file is None or generator.file.is_file():
        return generator
    return generator.model_copy(update={"kind": "pggan", "weights": "random:0", "sha256": None})


def without_generators(study: Study) -> tuple[Study, list[str]]:
    """Return the study without generators' files that are not there, and the names of these entries.

    For projections only: weights become random and bounds one number, on which no cost depends.
    """
    changed = dict(study.reconstruct)
    for name, options in study.reconstruct.items():
        if isinstance(options, EndToEndOptions):
            absent = [s for s, given in options.weights.items() if isinstance(given, Path) and not given.is_file()]
            if absent:
                weights = {**options.weights, **dict.fromkeys(absent, "random:0")}
                changed[name] = options.model_copy(update={"weights": weights})
            continue
        if isinstance(options, LatentOptions):
            if _drawn(options.generator) is not options.generator:
                changed[name] = options.model_copy(update={"generator": _drawn(options.generator)})
            continue
        if not isinstance(options, IcnnOptions) or not isinstance(options.latent, GeneratorLatent):
            continue
        latent, changes = options.latent, dict[str, object]()
        if isinstance(latent.weights, Path) and not latent.weights.is_file():
            changes |= {"weights": "random:0", "sha256": None}
        if latent.upper_file is not None and not latent.upper_file.is_file():
            changes["upper_file"] = None
        if changes:
            changed[name] = options.model_copy(update={"latent": latent.model_copy(update=changes)})
    different = [name for name, options in changed.items() if options is not study.reconstruct[name]]
    trained: dict[str, Train] = {}
    for name, entry in study.train.items():
        rendered = {key: part for key, part in entry if isinstance(part, LatentGenerator) and _drawn(part) is not part}
        if rendered:
            trained[name] = entry.model_copy(update={key: _drawn(part) for key, part in rendered.items()})
    if not different and not trained:
        return study, []
    changes = {"reconstruct": changed, "train": {**study.train, **trained}}
    return study.model_copy(update=changes), [*different, *(f"train.{name}" for name in trained)]
