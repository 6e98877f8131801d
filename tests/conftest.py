"""Fixtures that every folder of tests shares: studies in a temporary folder, and a verb without a cluster."""

from __future__ import annotations

import importlib
import itertools
import logging
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import settings

from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.files import write_json
from hpc_recon.core.loading import load_study
from hpc_recon.core.tiles import Group, Tile, digest

MakeStudy = Callable[..., Study]
RunVerb = Callable[[ModuleType, Study], list[Tile]]

#: The smallest valid study; `make_study` merges a test's own keys into it.
MINIMAL: dict[str, Any] = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 8, "n_natural": 2, "n_voxels": 50},
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
}

# Drawn examples are the same each time, and a busy machine is no failure.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")

#: Tests that mostly wait, for schedulers and for processes that are killed.
WAITING = {"slurm", "sge", "faults"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that wait between files that compute, so that processes side by side are busy (make test)."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [found for path, found in files.items() if path.parent.name in WAITING]
    computing = sorted(
        (found for path, found in files.items() if path.parent.name not in WAITING), key=len, reverse=True
    )
    pairs = itertools.zip_longest(waiting, computing, fillvalue=[])
    items[:] = [item for pair in pairs for found in pair for item in found]


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs that this process begins here have threads as workers, not processes, which take seconds to start."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "run"))
    with importlib.import_module("in_threads").used():
        yield


#: A cluster file of this machine without web pages, which take a second to start, of controllers and of workers.
PLAIN_CLUSTER = Path(__file__).parent / "faults" / "cluster.yaml"


@pytest.fixture(scope="session")
def plain_cluster() -> list[str]:
    """Options of a command for workers on this machine, in processes of their own, without web pages."""
    return ["--cluster-file", str(PLAIN_CLUSTER)]


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """Return a function that writes a study file and loads it.

    `make_study(key=value, ...)` replaces top-level keys of `MINIMAL` (a value None removes the key);
    `make_study(content, ...)` starts at `content` instead; `set_=[...]` are `--set` assignments. The file
    is `tmp_path/study.yaml`, the workspace `tmp_path/runs` unless the study names one.
    """

    def make(content: dict[str, Any] | None = None, *, set_: list[str] | None = None, **changes: Any) -> Study:
        merged = {**(MINIMAL if content is None else content), **changes}
        merged.setdefault("workspace", str(tmp_path / "runs"))
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in merged.items() if v is not None}, sort_keys=False))
        return load_study(path, set_ or [])

    return make


def _write_group(workspace: Path, group: Group, tiles: list[Tile]) -> None:
    """Write group.json as `run.ledger` does: the fingerprint, its digest, the number of tiles of each stage."""
    upstream = {}
    for key in group.upstream:
        found = receipts.group_digests(workspace, key)
        assert found, f"{group.key} names the upstream group {key}, but there is none below receipts/"
        upstream[key] = digest(dict(found))
    fingerprint = group.fingerprint(upstream)
    counts = Counter(tile.stage for tile in tiles if tile.group.key == group.key)
    content = {**fingerprint, "digest": digest(fingerprint), "tiles": dict(counts)}
    write_json(receipts.group_folder(workspace, group) / receipts.GROUP_FILE, content)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Return the URL of a real S3 server on loopback, which lives as long as the tests."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else it logs every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a new bucket, with its server and credentials in the environment as on a cluster."""
    import boto3

    name = f"lab-{uuid.uuid4().hex[:12]}"
    for key, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key-of-the-test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
    }.items():
        monkeypatch.setenv(key, value)
    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def run_verb() -> RunVerb:
    """Return a function that runs all tiles of a verb in this process and writes their receipts, as the runner does."""

    def run(module: ModuleType, study: Study) -> list[Tile]:
        from hpc_recon.stores import shapes

        assert study.workspace is not None
        tiles: list[Tile] = module.plan(study, shapes.read(study))
        module.prepare(study)
        done = set()
        for tile in tiles:
            if tile.group.key not in done:
                _write_group(study.workspace, tile.group, tiles)
                done.add(tile.group.key)
            receipts.remove(study.workspace, tile)
            with warnings.catch_warnings(record=True) as caught:  # as the runner does: they become part of the receipt
                warnings.simplefilter("default")
                files = module.work(study, tile)
            for warning in caught:
                logging.getLogger("tests").warning("%s", warning.message)
            receipts.write(study.workspace, tile, files, {})
        return tiles

    return run


@pytest.fixture
def fill_workspace() -> Callable[..., None]:
    """Return a function that writes everything `evaluate` reads, with decoded features = truth + noise.

    `fill(study, noise=1.0)`: random stimuli (those of one category look alike), two brain samples each,
    features, decoder statistics, decoded features and reconstructions of every split, with their receipts.
    """

    def fill(
        study: Study,
        *,
        noise: float = 1.0,
        per_dataset: int = 4,
        n_training: int = 12,
        unit_shapes: dict[tuple[str, str], tuple[int, ...]] | None = None,
    ) -> None:
        fake = _Fake(study, noise=noise, sizes={**dict.fromkeys(study.datasets, per_dataset), "training": n_training})
        fake.shape |= unit_shapes or {}
        fake.fill()

    return fill


class _Fake:
    def __init__(self, study: Study, *, noise: float, sizes: dict[str, int]) -> None:
        import numpy as np

        self.study, self.noise, self.rng = study, noise, np.random.default_rng(5)
        self.dataset = [name for name in study.datasets for _ in range(sizes[name])]
        self.labels = [f"{name}{i:03d}" for name in study.datasets for i in range(sizes[name])]
        self.category = [f"c{i % 2}" for i in range(len(self.labels))]
        self.shape = {
            (network, layer): (3, 16, 16) if described.architecture == "pixels" else (20 * (i + 1),)
            for network, described in study.networks.items()
            for i, layer in enumerate(described.layers)
        }

    def fill(self) -> None:
        import numpy as np

        from hpc_recon.stores import images

        n = len(self.labels)
        base = self.rng.random((2, 4, 4, 3))
        pictures = np.stack([0.5 * base[i % 2] + 0.5 * self.rng.random((4, 4, 3)) for i in range(n)])
        self.images = (pictures.repeat(4, axis=1).repeat(4, axis=2) * 255).astype(np.uint8)
        columns = (tuple(self.labels), tuple(self.dataset), tuple(self.category), tuple(self.labels))
        self._receipt(
            (self.study.source_verb, "stimuli"),
            images.write_stimuli(self._workspace, images.Stimuli(self.images, *columns), made_by=self._key("stimuli")),
        )
        self.features = {key: self._features(*key) for key in self.shape}
        for split in self.study.splits():
            self._split(split)

    @property
    def _workspace(self) -> Path:
        assert self.study.workspace is not None
        return self.study.workspace

    def _key(self, name: str) -> str:
        return f"{self.study.source_verb}/{name}"

    def _receipt(self, path: tuple[str, ...], files: list[Path]) -> None:
        from hpc_recon.core.tiles import Group

        tile = Tile(Group(path[0], path[1:]), "fake", 0, 1)
        _write_group(self._workspace, tile.group, [tile])
        receipts.write(self._workspace, tile, files, {"seconds": 1.5, "peak_bytes": 2**28, "warnings": []})

    def _array(self, ref: Any, values: Any, made_by: str, **attributes: Any) -> list[Path]:
        from hpc_recon.stores import arrays, layout

        geometry = layout.whole_geometry(*values.shape)
        arrays.create(
            self._workspace, ref, shape=values.shape, dtype="float32", geometry=geometry, made_by=made_by,
            attributes=attributes,
        )  # fmt: skip
        return arrays.write(self._workspace, ref, [0] * values.ndim, values.astype("float32"))

    def _features(self, network: str, layer: str) -> Any:
        import numpy as np

        from hpc_recon.stores import layout

        shape = self.shape[network, layer]
        flat = (self.images / 255.0).transpose(0, 3, 1, 2).reshape(len(self.images), -1)  # (n, 768)
        n_units = int(np.prod(shape))
        if n_units != flat.shape[1]:
            flat = flat @ np.random.default_rng(n_units).normal(size=(flat.shape[1], n_units))
        made_by = f"extract/{network}/{layer}"
        files = self._array(layout.features(network, layer), flat, made_by, unit_shape=list(shape))
        self._receipt(("extract", network, layer), files)
        return flat

    def _members(self, split: str) -> dict[str, list[int]]:
        """Rows of the stimuli of each dataset in a split; fold f holds out every n-th stimulus."""
        if split in self.study.subjects:
            return {d: [i for i, own in enumerate(self.dataset) if own == d] for d in self.study.datasets}
        assert self.study.ingest is not None
        assert self.study.ingest.cross_validation is not None
        fold, folds = int(split[-2:]) - 1, self.study.ingest.cross_validation
        test = list(range(fold, len(self.labels), folds.folds))
        rest = [i for i in range(len(self.labels)) if i not in test]
        return {folds.test_dataset: test, folds.training_dataset: rest}

    def _split(self, split: str) -> None:
        import numpy as np

        from hpc_recon.stores import brain

        members = self._members(split)
        files = []
        for dataset, rows in members.items():
            labels = tuple(self.labels[row] for row in rows for _ in range(2))
            made = brain.Brain(self.rng.normal(size=(len(labels), 6)).astype("float32"), labels)
            files += brain.write_brain(self._workspace, split, dataset, made, made_by=self._key(split))
        for roi in [roi for roi in self.study.rois if roi != brain.ALL_VOXELS]:
            mask = np.arange(6) % 2 == 0
            files += brain.write_roi(self._workspace, split, roi, mask, made_by=self._key(split))
        self._receipt((self.study.source_verb, split), files)
        for roi in self.study.rois:
            for network, layer in self.shape:
                self._decode(split, roi, network, layer, members)
        for variant in self.study.reconstruct:
            for _, roi, dataset in [place for place in self.study.image_sets(variant) if place[0] == split]:
                self._reconstruct(variant, split, roi, dataset, members[dataset])

    def _decode(self, split: str, roi: str, network: str, layer: str, members: dict[str, list[int]]) -> None:
        import numpy as np

        from hpc_recon.core.sampling import unit_sample
        from hpc_recon.stores import layout

        units = unit_sample(self.study, network, layer, self.features[network, layer].shape[1])
        true = self.features[network, layer][:, slice(None) if units is None else units]
        training = true[members[self.study.training_dataset]]
        scale = training.std(axis=0, ddof=1)
        place = (split, roi, self.study.decoded_name(network), layer)
        stats = np.stack([0 * scale, training.mean(axis=0), scale], axis=1)
        self._receipt(("fit", *place), self._array(layout.decoder(*place, "stats"), stats, f"fit/{'/'.join(place)}"))
        files = []
        for dataset in self.study.test_datasets(split):
            shown = np.repeat(members[dataset], 1 if self.study.decode.average else 2)
            decoded = true[shown] + self.noise * scale * self.rng.normal(size=true[shown].shape)
            ref = layout.decoded(split, roi, dataset, *place[2:])
            files += self._array(ref, decoded, f"decode/{'/'.join(place)}")
        self._receipt(("decode", *place), files)

    def _reconstruct(self, variant: str, split: str, roi: str, dataset: str, rows: list[int]) -> None:
        from hpc_recon.stores import images, layout

        files = []
        for row in rows:
            path = layout.image_file(self.study, variant, split, roi, dataset, self.labels[row])
            noisy = self.images[row] / 255 + 0.2 * self.noise * self.rng.normal(size=self.images[row].shape)
            files += images.write_picture(path, noisy.clip(0, 1))
        self._receipt(("reconstruct", variant, split, roi, dataset), files)


#: A study whose decoders the tests of `fit` and `decode` compute, on data that `decodable` writes.
DECODABLE: dict[str, Any] = {
    "name": "tiny",
    "subjects": ["S1"],
    "rois": ["VC"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}, "shapes": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 24, "n_natural": 6, "n_shapes": 3, "n_voxels": 50},
    "networks": {"net": {"architecture": "vgg11_quarter", "layers": ["conv", "fc"]}},
    "fit": {"n_voxels": 12, "alpha": 5.0},
}


@pytest.fixture
def decodable(make_study: MakeStudy) -> Callable[..., tuple[Study, Any]]:
    """Return a function that makes a study of layers `conv` (4, 5, 5) and `fc` (30,) with brain samples and features.

    `decodable(key=value, ...)` changes top-level keys of `DECODABLE`; `data={...}` are arguments of `_Decodable`:
    n_voxels, n_training, repeats, constant_voxels, shapes. Returns the study, and what was written as an object.
    """

    def make(*, data: dict[str, Any] | None = None, **changes: Any) -> tuple[Study, Any]:
        study = make_study({**DECODABLE, **changes})
        return study, _Decodable(study, **(data or {}))

    return make


class _Decodable:
    """Brain samples that read out six latent numbers of each stimulus, and features that are made of them."""

    def __init__(
        self,
        study: Study,
        *,
        n_voxels: int = 40,
        n_training: int = 24,
        repeats: int = 3,
        constant_voxels: int = 0,
        shapes: dict[str, tuple[int, ...]] | None = None,
    ) -> None:
        import numpy as np

        from hpc_recon.stores import brain, images

        rng = np.random.default_rng(0)
        assert study.workspace is not None
        self.workspace = study.workspace
        sizes = {"training": n_training, "natural": 6, "shapes": 3}
        names = [(d, f"{d}{i:02d}") for d in ("natural", "training", "shapes") for i in range(sizes[d])]
        self.dataset = np.array([d for d, _ in names])
        self.labels = tuple(label for _, label in names)
        pictures = rng.integers(0, 255, (len(names), 16, 16, 3)).astype(np.uint8)
        columns = (self.labels, tuple(self.dataset), ("c",) * len(names), self.labels)
        self.receipt(
            ("simulate", "stimuli"),
            images.write_stimuli(self.workspace, images.Stimuli(pictures, *columns), made_by="simulate/stimuli"),
        )
        self.latent = rng.normal(size=(len(names), 6))
        self.features: dict[str, Any] = {}
        self.brain: dict[tuple[str, str], tuple[Any, Any]] = {}
        #: Session of each training sample: 1, 2 or 3.
        self.session: dict[str, Any] = {}
        for layer, shape in (shapes or {"conv": (4, 5, 5), "fc": (30,)}).items():
            self.write_features(layer, shape, rng)
        self.mask = rng.random(n_voxels) < 0.5
        for split in study.splits():
            readout = rng.normal(size=(6, n_voxels))
            files = []
            for d in study.datasets:
                rows = rng.permutation(np.repeat(np.flatnonzero(self.dataset == d), repeats if d == "training" else 2))
                samples = self.latent[rows] @ readout + rng.normal(size=(len(rows), n_voxels)) + 30
                samples[:, np.flatnonzero(self.mask)[:constant_voxels]] = 7.0
                columns = {}
                if d == "training":
                    self.session[split] = np.arange(len(rows)) % 3 + 1.0  # `rows` are in random order
                    columns["session"] = self.session[split].tolist()
                made = brain.Brain(samples.astype(np.float32), tuple(self.labels[r] for r in rows), columns)
                files += brain.write_brain(self.workspace, split, d, made, made_by=f"simulate/{split}")
                self.brain[split, d] = (made.samples, rows)
            files += brain.write_roi(self.workspace, split, "V1", self.mask, made_by=f"simulate/{split}")
            self.receipt(("simulate", split), files)

    def receipt(self, path: tuple[str, ...], files: list[Path]) -> None:
        tile = Tile(Group(path[0], path[1:]), "fake", 0, 1)
        _write_group(self.workspace, tile.group, [tile])
        receipts.write(self.workspace, tile, files, {})

    def write_features(self, layer: str, shape: tuple[int, ...], rng: Any) -> None:
        import numpy as np

        from hpc_recon.numerics.corrections import reference_statistics
        from hpc_recon.stores import arrays, layout

        n, n_units = len(self.labels), int(np.prod(shape))
        values = (self.latent @ rng.normal(size=(6, n_units)) + 0.2 * rng.normal(size=(n, n_units)) + 3).astype("f4")
        values[:, 3] = 0.25  # a constant unit
        self.features[layer] = values
        files = []
        for ref, content, geometry, more in (
            (layout.features("net", layer), values, layout.feature_geometry(n, n_units), {"unit_shape": list(shape)}),
            (
                layout.norms("net", layer),
                reference_statistics(values, shape).astype("f4"),
                layout.row_geometry(n, 3),
                {},
            ),
        ):
            arrays.create(
                self.workspace, ref, shape=content.shape, dtype="float32", geometry=geometry,
                made_by=f"extract/net/{layer}", attributes=more,
            )  # fmt: skip
            step = geometry.shards
            for i in range(0, n, step[0]):
                for j in range(0, content.shape[1], step[1]):
                    files += arrays.write(self.workspace, ref, (i, j), content[i : i + step[0], j : j + step[1]])
        self.receipt(("extract", "net", layer), files)

    def voxels(self, roi: str) -> Any:
        import numpy as np

        return np.flatnonzero(self.mask) if roi == "V1" else np.arange(len(self.mask))

    def training(self, split: str, roi: str, layer: str, units: Any = None) -> tuple[Any, Any, Any]:
        """Return X, Y and stimulus as `fit_decoder` takes them."""
        import numpy as np

        samples, rows = self.brain[split, "training"]
        distinct, codes = np.unique(rows, return_inverse=True)
        Y = self.features[layer][distinct]
        return samples[:, self.voxels(roi)], Y if units is None else Y[:, units], codes

    def test(self, split: str, roi: str, dataset: str) -> Any:
        """Return raw test samples, repeats averaged, in the order of the stimuli."""
        import numpy as np

        samples, rows = self.brain[split, dataset]
        return np.array([samples[rows == r].astype(np.float64).mean(0) for r in np.unique(rows)])[:, self.voxels(roi)]


@pytest.fixture
def latent_study(tmp_path: Path, make_study: MakeStudy) -> Callable[..., Study]:
    """Return a function that writes a lab's files of latents and makes a study of them: 40 + 6 images of 16 pixels.

    `latent_study(reconstruct={...}, **keys)`; latents of 6 numbers, rendered by the small generator `g.pt`, seen by a
    brain of 20 voxels that are linear in them; directions `smile.npy` and `age.npy`.
    """

    def make(reconstruct: dict[str, Any] | None = None, **keys: Any) -> Study:
        import numpy as np
        import torch
        from PIL import Image

        from hpc_recon.nets import pggan

        n_training, n_test, rng = 40, 6, np.random.default_rng(0)
        generator = pggan.Pggan(pggan.Design(6, (6, 6, 4)))
        pggan.fill_normal(generator, 1)
        torch.save(generator.state_dict(), tmp_path / "g.pt")
        z = rng.standard_normal((n_training + n_test, 6)).astype(np.float32)
        brain = z @ rng.standard_normal((6, 20)) + 0.5 * rng.standard_normal((n_training + n_test, 20))
        with torch.no_grad():
            made = ((generator(torch.from_numpy(z)) + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        for i, image in enumerate(made):
            folder = tmp_path / ("test" if i >= n_training else "training")
            folder.mkdir(exist_ok=True)
            Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(folder / f"s{i:03d}.png")
        np.savez(tmp_path / "lab.npz", X=brain[:n_training], X_test=brain[n_training:], T=z[:n_training])
        np.save(tmp_path / "test.npy", z[n_training:])
        np.save(tmp_path / "smile.npy", rng.standard_normal(6))
        np.save(tmp_path / "age.npy", rng.standard_normal((1, 6)))
        arrays = [
            {"file": "lab.npz", "key": "T", "dataset": "training"},
            {"file": "test.npy", "dataset": "natural", "unit_shape": [6]},
        ]
        own = {
            "datasets": {
                "training": {"samples": {"file": "lab.npz", "key": "X"}},
                "natural": {"samples": {"file": "lab.npz", "key": "X_test"}, "repeats": "keep"},
            }
        }
        content = {
            "simulate": None,
            "ingest": {
                "image_size": 16,
                "subjects": {"S1": own},
                "stimuli": {"training": {"folder": "training"}, "natural": {"folder": "test"}},
            },
            "networks": {"z": {"architecture": "features", "features": {"arrays": {"z": arrays}}, "layers": ["z"]}},
            "fit": {"n_voxels": 20, "alpha": 1.0, "folds": 4, "out_of_fold": True},
            "reconstruct": reconstruct or {},
        }
        return make_study(**{**content, **keys})

    return make


#: Sixteen training, four test and four more images of two categories, called so that their names sort otherwise than
#: their numbers; two areas see them.
SHAPES: dict[str, Any] = {
    "name": "shapes",
    "subjects": ["S1"],
    "rois": ["V1", "V2", "VC"],
    "datasets": {"training": {"role": "training"}, "test": {"role": "test"}, "extra": {"role": "test"}},
    "networks": {
        "shape": {"architecture": "pixels_gray", "image_size": 8, "layers": ["pixels"]},
        "embedding": {"architecture": "shape_gray", "layers": ["grid8"]},
    },
    "fit": {"n_voxels": 10, "alpha": 5.0, "folds": 4, "out_of_fold": True},
    "train": {
        "fused": {
            "method": "shape_semantic",
            "profile": "tiny",
            "rois": ["VC"],
            "shape": {"network": "shape", "rois": ["V1", "V2"]},
            "semantic": {"target": "labels", "roi": "VC", "hidden": [8, 4], "epochs": 3},
            "augmentation": {"dataset": "extra", "weight": 0.5, "noise": 0.1},
            "folds": 4,
            "image_size": 16,
            "width": 0.0625,
            "patch_layers": 2,
            "batch": 4,
            "steps": 4,
            "steps_per_tile": 2,
            "checkpoint_every": 1,
            "log_every": 1,
        }
    },
    "reconstruct": {"fused": {"method": "shape_semantic", "network": "shape", "model": "fused", "rois": ["VC"]}},
}


def write_shapes(folder: Path) -> dict[str, Any]:
    """Write the images and samples of `SHAPES` to a folder; return the study's content."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    weights, basis = rng.normal(size=(64, 30)), rng.random((4, 64))
    ingest: dict[str, Any] = {}
    for dataset, n in (("training", 16), ("test", 4), ("extra", 4)):
        (folder / dataset).mkdir(parents=True)
        coarse = (rng.normal(scale=0.6, size=(n, 4)) @ (basis - basis.mean(axis=0)) + 0.5).reshape(n, 8, 8)
        names = [f"{'ab'[i % 2]}_{dataset}{i + 1}" for i in range(n)]  # a_training1, b_training10, b_training2
        for i, name in enumerate(names):
            coarse[i] += np.linspace(-0.2, 0.2, 8) * (1 if i % 2 else -1)
            image = (255 * coarse[i].clip(0, 1)).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
            Image.fromarray(np.stack([image] * 3, axis=-1)).save(folder / dataset / f"{name}.png")
        seen = rng.permutation(np.repeat(np.arange(n), 2))
        samples = coarse.reshape(n, -1)[seen] @ weights + 0.3 * rng.normal(size=(2 * n, 30))
        np.savez(folder / f"{dataset}.npz", samples=samples, labels=np.array([names[i] for i in seen]))
        ingest[dataset] = {
            part: {"file": str(folder / f"{dataset}.npz"), "key": part} for part in ("samples", "labels")
        }
    masks = {"V1": np.arange(30) < 15, "V2": np.arange(30) >= 15, "VC": np.ones(30, bool)}
    np.savez(folder / "rois.npz", **masks)
    del ingest["extra"]  # no subject saw them
    rois = {name: {"file": str(folder / "rois.npz"), "key": name} for name in masks}
    stimuli = {name: {"folder": str(folder / name), "categories": "before_underscore"} for name in SHAPES["datasets"]}
    return {**SHAPES, "ingest": {"subjects": {"S1": {"rois": rois, "datasets": ingest}}, "stimuli": stimuli}}


@pytest.fixture(scope="session")
def shape_study(tmp_path_factory: pytest.TempPathFactory, run_verb: RunVerb) -> Study:
    """Return a study of shape-semantic reconstruction whose data are decoded and whose generator is trained."""
    from hpc_recon import decode, extract, fit, ingest, train

    folder = tmp_path_factory.mktemp("shapes")
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**write_shapes(folder), "workspace": str(folder / "runs")}, sort_keys=False))
    study = load_study(path)
    for verb in (ingest, extract, fit, decode, train):
        run_verb(verb, study)
    return study
