"""Which cluster each stimulus is of, for the control that holds clusters out; found once, then kept as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.errors import DamagedStore, StudyError
from hpc_recon.core.files import read_json, write_json
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import digest
from hpc_recon.stores import arrays, brain, layout

NAME = "clusters.json"
#: Units of the layer that clusters are made by, at random: more change little, and cost memory.
UNITS = 1000


@dataclass(frozen=True)
class Clusters:
    """The cluster of each training and each test stimulus.

    Attributes
    ----------
    made_of
        Digest of all that they depend on.
    network, layer
        Whose features made them.
    training, test
        By label: the number of its cluster, from 0. A test stimulus that was trained on stands in both.
    """

    made_of: str
    network: str
    layer: str
    training: dict[str, int]
    test: dict[str, int]


def layer_of(study: Study) -> tuple[str, str]:
    """Return network and layer that stimuli are clustered by: those chosen, else the first network's last layer.

    Raises
    ------
    StudyError
        If the study has no such layer.
    """
    chosen = study.controls.cluster_layer
    if chosen is None:
        network = next(iter(study.networks))
        return network, study.networks[network].layers[-1]
    network, _, layer = chosen.partition("/")
    if network not in study.networks or layer not in study.networks[network].layers:
        known = [f"{name}/{layer}" for name, own in study.networks.items() for layer in own.layers]
        raise StudyError(
            study.name, [f"controls.cluster_layer: there is no layer {chosen!r}; there are {', '.join(known)}"]
        )
    return network, layer


def find(study: Study, folder: Path, made_of: Mapping[str, str], test: Sequence[str]) -> Clusters:
    """Return the clusters of a study: those kept in a folder, if they are of the same stimuli, else found anew.

    Parameters
    ----------
    made_of
        Digests of stimuli, brains and features.
    test
        Labels of the test stimuli.

    Raises
    ------
    StudyError, DataError
        If there is no such layer, or there are more clusters than stimuli.
    DamagedStore
        If the file kept cannot be read.
    """
    network, layer = layer_of(study)
    own = {"clusters": study.controls.clusters, "layer": [network, layer], "seed": study.seed, "test": sorted(test)}
    key = digest({"made_of": dict(made_of), **own})
    kept = _kept(folder / NAME)
    return kept if kept is not None and kept.made_of == key else _found(study, key, test)


def read(folder: Path, *, of: str | None) -> Clusters:
    """Return the clusters kept in a folder, which have the digest `of`.

    Raises
    ------
    DamagedStore
        If there are none, or others.
    """
    found = _kept(folder / NAME)
    if found is None or digest_of(found) != of:
        what = "is missing" if found is None else f"has the digest {digest_of(found)}, not {of}"
        raise DamagedStore(f"{folder / NAME} holds the clusters of this control, but it {what}; run control again")
    return found


def _kept(path: Path) -> Clusters | None:
    if not path.is_file():
        return None
    try:
        return Clusters(**read_json(path))
    except (ValueError, TypeError) as error:
        raise DamagedStore(f"{path} cannot be read ({error!r}); remove it, and run control again") from error


def digest_of(found: Clusters) -> str:
    """Return a digest of the cluster of every stimulus."""
    return digest(asdict(found))


def keep(found: Clusters, folder: Path) -> Path:
    """Write clusters into a folder, where `find` finds them."""
    return write_json(folder / NAME, asdict(found))


def _found(study: Study, key: str, test: Sequence[str]) -> Clusters:
    from hpc_recon.numerics import clusters  # scikit-learn: not for every plan

    workspace, (network, layer) = layout.workspace_of(study), layer_of(study)
    read = (brain.read_labels(workspace, subject, study.training_dataset) for subject in study.subjects)
    training = sorted({label for labels in read for label in labels})
    rows = brain.stimulus_rows(workspace, [*training, *test])
    ref = layout.features(network, layer)
    n_units = arrays.describe(workspace, ref).shape[1]
    rng = np.random.default_rng(seed_of(study.seed, "clusters", network, layer))
    units = np.sort(rng.choice(n_units, size=min(UNITS, n_units), replace=False))
    distinct, place = np.unique(rows, return_inverse=True)
    features = arrays.read(workspace, ref, distinct, units)[place]  # (stimuli, units)
    made, placed = clusters.assign(
        features[: len(training)], features[len(training) :], k=study.controls.clusters, seed=int(rng.integers(2**32))
    )
    return Clusters(
        key,
        network,
        layer,
        dict(zip(training, map(int, made), strict=True)),
        dict(zip(test, map(int, placed), strict=True)),
    )
