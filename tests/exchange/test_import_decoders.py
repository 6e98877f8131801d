"""Decoders of others are read as they are: what they predict, what does not fit, and that nothing has to be fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon import decode, fit
from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import Ingest
from hpc_recon.core.sampling import unit_sample
from hpc_recon.exchange import export_decoders, exporting, import_decoders
from hpc_recon.exchange.exporting import Selection
from hpc_recon.formats import matlab, sparse
from hpc_recon.stores import arrays, brain, layout, shapes, statistics

SHAPES = {"conv": (4, 5, 5), "fc": (30,)}
N_VOXELS = 40
FILES = {"net": {"folders": "lab", "subjects": {"S1": "sub-01"}, "rois": {"VC": "ROI_VC"}}}


class Lab:
    """A bdmodel tree with dense weights, of which a unit has 0 to 7 that are not 0, and what it predicts."""

    def __init__(self, root: Path, *, sparse_files: bool = True, chunked: bool = True, most: int = 7) -> None:
        rng = np.random.default_rng(4)
        self.x_mean = rng.normal(30, 5, N_VOXELS).astype("f4")
        self.x_norm = rng.uniform(1, 3, N_VOXELS).astype("f4")
        self.weights, self.bias, self.y_mean, self.y_norm = {}, {}, {}, {}
        for layer, shape in SHAPES.items():
            n = int(np.prod(shape))
            dense = rng.normal(size=(N_VOXELS, n)).astype("f4")
            rank = rng.permuted(np.tile(np.arange(N_VOXELS)[:, None], (1, n)), axis=0)
            self.weights[layer] = np.where(rank < rng.integers(0, most + 1, n), dense, 0).astype("f4")
            self.weights[layer][:, 1] = np.where(rank[:, 1] < most, dense[:, 1], 0)
            self.bias[layer], self.y_mean[layer] = rng.normal(size=(2, n)).astype("f4")
            self.y_norm[layer] = rng.uniform(0, 2, n).astype("f4")
            self.y_norm[layer][3] = 0  # constant in training
            self.write(root / layer / "sub-01" / "ROI_VC" / "model", layer, sparse_files, chunked)

    def write(self, folder: Path, layer: str, sparse_files: bool, chunked: bool) -> None:
        shape = SHAPES[layer]
        for name, value in (("x_mean", self.x_mean), ("x_norm", self.x_norm)):
            matlab.write_v73(folder / f"{name}.mat", {name: value[None]})
        for name, value in (("y_mean", self.y_mean[layer]), ("y_norm", self.y_norm[layer])):
            matlab.write_v73(folder / f"{name}.mat", {name: value.reshape(1, *shape)})
        W, b = self.weights[layer].reshape(N_VOXELS, *shape), self.bias[layer].reshape(1, *shape)
        parts = {"": (W, b)}
        if chunked and len(shape) > 1:
            parts = {f"/{c:08d}": (W[:, c : c + 1], b[:, c : c + 1]) for c in range(shape[0])}
        for ending, (weights, bias) in parts.items():
            if sparse_files:
                sparse.write_sparse(folder / f"W{ending}.mat", "W", sparse.from_dense(weights))
            else:
                matlab.write_v73(folder / f"W{ending}.mat", {"W": weights})
            matlab.write_v73(folder / f"b{ending}.mat", {"b": bias})

    def predict(self, samples: np.ndarray, layer: str) -> np.ndarray:
        """The formula of bdpy's `ModelTest`, in float64."""
        z = (samples.astype(float) - self.x_mean) / self.x_norm
        return (z @ self.weights[layer].astype(float) + self.bias[layer]) * self.y_norm[layer] + self.y_mean[layer]


def make(decodable, **changes):
    return decodable(fit={"files": FILES}, **changes)


def decoded(study, dataset, layer, *, roi="VC"):
    return arrays.read(study.workspace, layout.decoded("S1", roi, dataset, study.decoded_name("net"), layer))


@pytest.mark.parametrize(
    ("units", "sparse_files", "chunked", "most"),
    [
        (None, True, True, 7),
        (11, True, True, 7),
        (None, False, True, 7),
        (None, True, False, 7),
        (None, False, True, 40),
    ],
)
def test_test_data_are_decoded_as_the_files_predict(
    decodable, run_verb, tmp_path, units, sparse_files, chunked, most
) -> None:
    lab = Lab(tmp_path / "lab", sparse_files=sparse_files, chunked=chunked, most=most)
    study, data = make(decodable, units=units)
    planned = run_verb(fit, study)
    assert [tile.stage for tile in planned] == ["statistics", "count", "count", "fit", "fit"]
    run_verb(decode, study)
    name = study.decoded_name("net")
    for layer in SHAPES:
        sample = unit_sample(study, "net", layer, lab.bias[layer].size)
        chosen = np.arange(lab.bias[layer].size) if sample is None else sample
        for dataset in ("natural", "shapes"):
            expected = lab.predict(data.test("S1", "VC", dataset), layer)[:, chosen]
            found = decoded(study, dataset, layer)
            assert (np.abs(found - expected) <= 1e-5 * (1 + np.abs(expected))).all()  # float32 sums of 7 to 40 products
        voxel, weight, stats = (
            arrays.read(study.workspace, layout.decoder("S1", "VC", name, layer, part))
            for part in ("voxel", "weight", "stats")
        )
        assert weight.shape == voxel.shape == (len(chosen), most)
        whole = np.zeros((len(chosen), N_VOXELS), "f4")
        row, slot = np.nonzero(voxel != np.iinfo(voxel.dtype).max)
        whole[row, voxel[row, slot]] = weight[row, slot]
        np.testing.assert_array_equal(whole, lab.weights[layer].T[chosen])
        assert not weight[voxel == np.iinfo(voxel.dtype).max].any()
        table = (lab.bias, lab.y_mean, lab.y_norm)
        np.testing.assert_array_equal(stats, np.stack([part[layer][chosen] for part in table], axis=1))
    np.testing.assert_array_equal(statistics.read(study.workspace, "S1", "VC", "scale"), lab.x_norm)


def test_wide_decoders_are_read_in_tiles_of_fewer_units(decodable, run_verb, tmp_path, monkeypatch) -> None:
    lab = Lab(tmp_path / "lab")
    monkeypatch.setattr(layout, "WEIGHT_BYTES_PER_SHARD", 4 * 7 * 64)
    study, _ = make(decodable)
    tiles = run_verb(fit, study)
    assert [(t.start, t.stop) for t in tiles if t.stage == "fit"] == [(0, 64), (64, 100), (0, 30)]
    found = [layout.decoder("S1", "VC", "net", "conv", part) for part in ("stats", "voxel", "weight")]
    assert {arrays.describe(study.workspace, ref).shards[0] for ref in found} == {64}
    np.testing.assert_array_equal(arrays.read(study.workspace, found[0])[:, 0], lab.bias["conv"])
    assert fit.plan(study, shapes.read(study)) == tiles


def test_what_was_fitted_and_exported_is_read_back(decodable, run_verb, tmp_path: Path) -> None:
    study, _ = decodable(rois=["V1", "VC"], data={"constant_voxels": 2})
    run_verb(fit, study)
    run_verb(decode, study)
    batches = list(export_decoders.decoders(study, Selection()))
    exporting.run(exporting.plan(tmp_path / "lab", batches, overwrite=False, workspace=study.workspace))
    other, _ = decodable(
        rois=["V1", "VC"],
        workspace=str(tmp_path / "other"),
        fit={"files": {"net": {"folders": "lab"}}},
        data={"constant_voxels": 2},
    )
    run_verb(fit, other)
    run_verb(decode, other)
    for roi in study.rois:
        for layer in SHAPES:
            stats = arrays.read(study.workspace, layout.decoder("S1", roi, "net", layer, "stats"))
            for dataset in ("natural", "shapes"):
                apart = decoded(other, dataset, layer, roi=roi) - decoded(study, dataset, layer, roi=roi)
                assert (np.abs(apart) <= 1e-5 * stats[:, 2] + 1e-6).all()
            found, known = (
                {
                    part: arrays.read(made.workspace, layout.decoder("S1", roi, "net", layer, part))
                    for part in ("stats", "weight", "voxel")
                }
                for made in (other, study)
            )
            np.testing.assert_array_equal(found["stats"], known["stats"])
            np.testing.assert_array_equal(found["weight"], known["weight"])
            used = known["weight"] != 0  # a constant unit's voxels have weight 0, and no place in the files
            np.testing.assert_array_equal(found["voxel"][used], known["voxel"][used])
    again = list(export_decoders.decoders(other, Selection()))
    exporting.run(exporting.plan(tmp_path / "again", again, overwrite=False, workspace=other.workspace))
    written = sorted(path.relative_to(tmp_path / "lab") for path in (tmp_path / "lab").rglob("*.mat"))
    assert len(written) == 2 * ((4 + 2 * 4) + (4 + 2))
    assert all((tmp_path / "again" / path).read_bytes() == (tmp_path / "lab" / path).read_bytes() for path in written)


def test_no_training_sample_is_read(decodable, run_verb, tmp_path, monkeypatch) -> None:
    Lab(tmp_path / "lab")
    study, data = make(decodable)
    monkeypatch.setattr(brain, "read_brain", None)
    run_verb(fit, study)
    rows = statistics.read(study.workspace, "S1", "VC", "rows")
    np.testing.assert_array_equal(rows, np.flatnonzero(data.dataset == "training"))
    assert not statistics.has(study.workspace, "S1", "VC", "gram")


def test_a_norm_correction_restores_the_spread_of_training_stimuli(decodable, run_verb, tmp_path) -> None:
    Lab(tmp_path / "lab")
    study, _ = make(decodable, decode={"norm_correction": "channel_std"})
    run_verb(fit, study)
    run_verb(decode, study)
    gain = arrays.read(study.workspace, layout.decoded("S1", "VC", "natural", "net", "conv", "gain"))
    assert np.isfinite(gain).all()
    assert (gain > 0).all()


def test_without_training_stimuli_a_norm_correction_is_refused_before_anything(decodable, run_verb, tmp_path) -> None:
    Lab(tmp_path / "lab")
    study, _ = make(decodable, decode={"norm_correction": "channel_std"})
    run_verb(fit, study)
    subject = {"datasets": {"natural": {"samples": {"file": "x.npy"}, "labels": {"file": "y.npy"}}}}
    ingest = Ingest.model_validate({"subjects": {"S1": subject}, "stimuli": {}})
    kinds = {**study.datasets, "absent": study.datasets["training"]}
    del kinds["training"]
    without = study.model_copy(update={"simulate": None, "ingest": ingest, "datasets": kinds})
    with pytest.raises(DataError, match=r"'absent' has neither samples nor stimuli.*no spread to restore"):
        decode.prepare(without)
    assert not (study.workspace / "decoded.zarr").exists()


def model(tmp_path: Path, layer: str = "conv") -> Path:
    return tmp_path / "lab" / layer / "sub-01" / "ROI_VC" / "model"


def test_other_voxels_units_and_statistics_are_refused(decodable, run_verb, tmp_path) -> None:
    lab = Lab(tmp_path / "lab")
    study, _ = make(decodable)
    matlab.write_v73(model(tmp_path, "fc") / "x_mean.mat", {"x_mean": lab.x_mean[None] + 0.1})
    with pytest.raises(
        DataError, match=r"fc/.*differ from those in .*conv.* in 40 of 40 voxels, by up to 0\.\d+ standard"
    ):
        fit.prepare(study)
    matlab.write_v73(model(tmp_path, "fc") / "x_mean.mat", {"x_mean": lab.x_mean[None, :39]})
    matlab.write_v73(model(tmp_path, "fc") / "x_norm.mat", {"x_norm": lab.x_norm[None, :39]})
    with pytest.raises(DataError, match=r"is of 39 voxels, but VC of S1 has 40.*in their order"):
        import_decoders.require_alike(study)
    Lab(tmp_path / "lab")
    tiles = {tile.group.path[-1]: tile for tile in run_verb(fit, study) if tile.stage == "count"}
    for name in ("y_mean", "y_norm"):
        matlab.write_v73(model(tmp_path) / f"{name}.mat", {name: np.ones((1, 5, 5, 4), "f4")})
    with pytest.raises(DataError, match=r"y_mean in .* is of units \(5, 5, 4\), but net/conv has \(4, 5, 5\)"):
        fit.work(study, tiles["conv"])
    lab = Lab(tmp_path / "lab")
    wrong = lab.weights["conv"].reshape(N_VOXELS, 4, 5, 5)[:39, :1]
    sparse.write_sparse(model(tmp_path) / "W" / "00000000.mat", "W", sparse.from_dense(wrong))
    with pytest.raises(DataError, match=r"has W \(39, 1, 5, 5\), but 40 voxels and units \(1, 5, 5\)"):
        fit.work(study, tiles["conv"])
    wrong = lab.weights["conv"].reshape(N_VOXELS, 4, 5, 5)[:, :1].copy()
    wrong[2, 0, 1, :2] = np.nan
    matlab.write_v73(model(tmp_path) / "W" / "00000000.mat", {"W": wrong})
    with pytest.raises(DataError, match=r"has 2 of 1000 weights and .* 0 of 25 biases that are not finite"):
        fit.work(study, tiles["conv"])


def test_files_that_changed_between_the_count_and_their_reading(decodable, run_verb, tmp_path) -> None:
    Lab(tmp_path / "lab")
    study, _ = make(decodable)
    tiles = run_verb(fit, study)
    Lab(tmp_path / "lab", most=9)
    with pytest.raises(DataError, match=r"has a unit with 9 weights, after 7 were counted; it changed"):
        fit.work(study, next(tile for tile in tiles if tile.stage == "fit"))
    assert {t.group.key for t in fit.plan(study, shapes.read(study))} == {t.group.key for t in tiles}
    before = {t.group.key: t.group.settings for t in tiles}
    after = {t.group.key: t.group.settings for t in fit.plan(study, shapes.read(study))}
    assert [key for key in before if before[key] != after[key]] == ["fit/S1/VC/net/conv", "fit/S1/VC/net/fc"]
