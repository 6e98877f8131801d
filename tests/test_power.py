"""How accuracy grows with the data: the verb from samples to the printed answer."""

from __future__ import annotations

import csv
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hpc_recon import power, report, simulate
from hpc_recon.core.errors import StudyError
from hpc_recon.core.sampling import seed_of
from hpc_recon.decoding import inputs, power_plan
from hpc_recon.nets import costs
from hpc_recon.numerics import learning
from hpc_recon.numerics.choice import deal_folds
from hpc_recon.numerics.decoder import fit_decoder
from hpc_recon.numerics.scores import profile_correlation
from hpc_recon.stores import arrays, brain, layout, shapes

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 30, "n_natural": 5, "n_voxels": 60, "training_repeats": 3},
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 20, "alpha": 10},
    "power": {
        "units": 24, "draws": 2, "folds": 3, "resamples": 100, "images": [0.3, 0.4, 0.5, 1], "voxels": [0.2, 1],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("power")


@pytest.fixture
def study(make_study, run_verb, kept):
    made = make_study(CONTENT, workspace=str(kept / "runs"))
    if not made.workspace.exists():
        run_verb(simulate, made)
        tiles = run_verb(power, made)
        assert [tile.stage for tile in tiles] == ["features", "draws", "draws", "trials", "curves", "tables"]
    return made


def _options(tmp_path, **changes):
    return SimpleNamespace(
        **{"study": tmp_path / "study.yaml", "assignments": (), "only": None, "limit": None} | changes
    )


def _read(study, dataset, part):
    return arrays.read(study.workspace, power_plan.scores("image", "S1", "VC", dataset, part))


def test_curves_from_samples_to_the_printed_answer(study, tmp_path, capsys):
    assert power._show(_options(tmp_path, limit=3)) == 0
    assert "no curves before all tiles are done" in capsys.readouterr().out
    assert not (study.workspace / "features.zarr").exists()
    (found,) = json.loads((study.workspace / "power" / "power.json").read_text())["sets"]
    curves = {(c["curve"], c["metric"]): c for c in found["curves"]}
    metrics = ("profile_correlation", "identification_zscored")
    assert set(curves) == {(c, m) for c in ("images", "repeats", "voxels", "trials") for m in metrics}
    assert curves["images", "identification_zscored"]["x"] == [6, 8, 10, 20]
    assert curves["repeats", "profile_correlation"]["x"] == [1, 2, 3]
    assert curves["voxels", "profile_correlation"]["x"] == [12, 60]
    assert curves["trials", "profile_correlation"]["dataset"] == "natural"
    own = curves["images", "profile_correlation"]
    assert own["mean"][-1] == pytest.approx(curves["repeats", "profile_correlation"]["mean"][-1])  # one setting
    assert own["mean"][-1] == pytest.approx(curves["voxels", "profile_correlation"]["mean"][-1])
    assert own["mean"][-1] > own["mean"][0] > 0.05  # preset easy
    assert own["now"]["x"] == 30
    assert found["session"] == {"column": "session", "samples": 90, "sessions": 1}
    assert [(one["steps"], one["x"]) for one in own["ahead"]] == [(1, 60), (2, 90), (4, 150)]
    assert own["ahead"][0]["low"] <= own["ahead"][0]["value"] <= own["ahead"][0]["high"]
    assert own["foretold"]["n_sizes"] == 3
    assert (own["n_units"], curves["images", "identification_zscored"]["n_units"]) == (24, 30)

    with (study.workspace / "power" / "power.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"measured", "now", "ahead"}
    assert sum(row["kind"] == "measured" and row["curve"] == "images" for row in rows) == 8
    assert len(list((study.workspace / "power" / "figures").glob("*.png"))) == 4

    assert power._show(_options(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "image, S1, VC: 30 training images, 90 samples in 1 sessions of 90" in printed
    assert "four more sessions (360 samples) of new images: pixels r" in printed
    assert "training images 1 of 1" in printed or "training images 0 of 1" in printed


def test_the_report_has_a_section_once_there_are_curves(study, make_study):
    (tile,) = report.plan(study, shapes.read(study))
    assert "power/tables" in tile.group.upstream
    found = report._power(study, tile, roi="VC")
    assert len(found.panels) == 4
    assert found.sentences[0].startswith("Check: ")
    assert tile.group.settings == report.plan(make_study(CONTENT), shapes.read(study))[0].group.settings
    without = make_study({key: value for key, value in CONTENT.items() if key != "power"})
    (other,) = report.plan(without, shapes.read(study))
    assert "power" not in other.group.settings  # older pages stay done
    assert report._power(without, other, roi="VC") is None


def test_training_curves_do_not_read_test_data(study, monkeypatch):
    before, read = _read(study, power_plan.TRAINING, "units"), brain.read_brain
    assert all(tile.need.host_bytes > costs.TORCH_BYTES for tile in power.plan(study, shapes.read(study))[:-1])

    def guarded(workspace, split, dataset, *more):
        assert dataset == "training", "samples of a test dataset are read"
        return read(workspace, split, dataset, *more)

    monkeypatch.setattr(brain, "read_brain", guarded)
    tiles = power.plan(study, shapes.read(study))
    before_it = time.process_time()
    power.work(study, tiles[1])
    # In a fresh worker it also imports and compiles, for seconds: what was projected was a tenth of what it took.
    assert 3 < tiles[1].need.seconds < 30
    assert time.process_time() - before_it < 3 * tiles[1].need.seconds
    np.testing.assert_array_equal(_read(study, power_plan.TRAINING, "units"), before)
    with pytest.raises(AssertionError, match="samples of a test dataset are read"):  # the guard works
        power.work(study, tiles[3])


def test_scores_are_those_of_decoders_of_the_subset(study):
    """The smallest number of images, one repeat, and few voxels, written out; then all test trials, as `decode`."""
    found, design = inputs.training(study, "S1", "VC"), power_plan.design(study, "S1", "VC")
    at = np.searchsorted(power_plan.stimulus_rows(study), found.rows)
    Y = arrays.read(study.workspace, layout.powered("image", "pixels"), at)
    seed = seed_of(study.seed, "power", "S1", 1)  # the second draw
    dealt = deal_folds(30, 3, seed=seed)
    predicted = {curve: np.empty_like(Y) for curve in ("images", "repeats", "voxels")}
    for fold in range(3):
        rng = np.random.default_rng(seed_of(seed, fold))
        test = np.flatnonzero(dealt == fold)
        order = rng.permutation(np.setdiff1d(np.arange(30), test))
        voxels, turn = np.sort(rng.permutation(60)[:12]), learning.turns(found.codes, rng)
        shown = np.stack([found.samples[found.codes == i].mean(axis=0) for i in test])
        subsets = {
            "images": (np.isin(found.codes, order[:6]), np.arange(60)),
            "repeats": (np.isin(found.codes, order) & (turn == 0), np.arange(60)),
            "voxels": (np.isin(found.codes, order), voxels),
        }
        for curve, (kept, chosen) in subsets.items():
            rows, codes = np.unique(found.codes[kept], return_inverse=True)
            X = found.samples[kept][:, chosen]
            decoder = fit_decoder(X, Y[rows], n_voxels=min(20, len(chosen)), alpha=10.0, stimulus=codes)
            predicted[curve][test] = decoder.predict(shown[:, chosen])
    scores = _read(study, power_plan.TRAINING, "units")[1]
    starts = {"images": 0, "repeats": len(design.images), "voxels": len(design.images) + len(design.repeats)}
    for curve, values in predicted.items():
        p, y = (np.concatenate([v[dealt == f] - v[dealt == f].mean(axis=0) for f in range(3)]) for v in (values, Y))
        oracle = (p * y).sum(axis=0) / np.sqrt((p * p).sum(axis=0) * (y * y).sum(axis=0))
        np.testing.assert_allclose(scores[starts[curve]], oracle, atol=2e-3)  # float32 systems

    items = brain.read_items(study, "S1", "natural", "VC")
    at = np.searchsorted(power_plan.stimulus_rows(study), items.rows)
    true = arrays.read(study.workspace, layout.powered("image", "pixels"), at)
    decoder = fit_decoder(found.samples, Y, n_voxels=20, alpha=10.0, stimulus=found.codes)
    trials = _read(study, "natural", "units")
    for draw in trials[:, -1]:  # all trials: every draw is the mean that `decode` decodes
        np.testing.assert_allclose(draw, profile_correlation(decoder.predict(items.samples), true), atol=1e-4)
    assert np.abs(trials[0, 0] - trials[1, 0]).max() > 0.01  # single trials, another one in each draw


def test_what_power_cannot_fit_is_refused(make_study):
    wrong = {"fit.alpha": {"grid": [1, 10]}, "units": {"every": 3}}
    study = make_study(CONTENT | {"fit": {"n_voxels": 20, "alpha": wrong["fit.alpha"]}, "units": wrong["units"]})
    with pytest.raises(StudyError, match=r"--set fit\.n_voxels=500 --set fit\.alpha=100") as caught:
        power_plan.require_possible(study)
    assert "units: power draws units at random" in str(caught.value)
    with pytest.raises(StudyError, match="power fits ridge on selected voxels"):
        power_plan.require_possible(make_study(CONTENT | {"fit": {"n_voxels": "all", "alpha": 1}}))
