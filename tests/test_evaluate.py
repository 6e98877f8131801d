"""The verb `evaluate` on a small workspace, against scores computed here from the same arrays."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hpc_recon import evaluate
from hpc_recon.core.errors import DamagedStore, DataError, MissingStore, StudyError

CONTENT = {
    "name": "tiny",
    "subjects": ["S1", "S2"],
    "datasets": {
        "training": {"role": "training"},
        "natural": {"role": "test"},
        "imagery": {"role": "test", "identification": False},
    },
    "simulate": {"image_size": 16},
    "networks": {
        "pixels": {"architecture": "pixels", "layers": ["pixels"]},
        "vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]},
    },
    "reconstruct": {
        "direct": {"method": "pixels", "network": "pixels"},
        "deep": {"method": "icnn", "network": "vgg", "subjects": ["S1"], "datasets": ["natural"]},
        "again": {"method": "icnn", "network": "vgg", "subjects": ["S1"], "datasets": ["natural"]},
    },
    "evaluate": {"resamples": 100},
}
FOLDS = {
    **{key: CONTENT[key] for key in ("name", "networks", "evaluate")},
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "test": {"role": "test"}},
    "simulate": None,
    "ingest": {
        "subjects": {"S1": {"datasets": {d: {"samples": {"file": "x.npy"}} for d in ("training", "test")}}},
        "stimuli": {d: {"array": {"file": "x.npy"}} for d in ("training", "test")},
        "cross_validation": {"folds": 4, "repeats": 2},
    },
    "reconstruct": {"direct": {"method": "pixels", "network": "pixels"}},
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Workspaces already evaluated, by their study: making one takes seconds of fsync."""
    return tmp_path_factory.mktemp("evaluated"), {}


@pytest.fixture
def tables(make_study, fill_workspace, run_verb, evaluated):
    """Return a function that evaluates a study and gives its two tables and summary."""
    folder, known = evaluated

    def run(content, *, noise=1.0, **changes):
        key = json.dumps([content, noise, changes])
        study = make_study(content, workspace=str(folder / str(known.setdefault(key, len(known)))), **changes)
        scores = study.workspace / "scores"
        if not scores.exists():
            fill_workspace(study, noise=noise)
            run_verb(evaluate, study)
        read = {"keep_default_na": False, "na_values": {"value": [""]}}
        return (
            pd.read_csv(scores / "features.csv", **read),
            pd.read_csv(scores / "images.csv", **read),
            json.loads((scores / "summary.json").read_text()),
            study,
        )

    return run


def _one(frame, **where):
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def test_features_are_scored_as_numpy_scores_them(tables):
    from hpc_recon.stores import arrays, brain, layout

    features, _, _, study = tables(CONTENT)
    items = brain.read_items(study, "S1", "natural")
    decoded = arrays.read(study.workspace, layout.decoded("S1", "VC", "natural", "vgg", "conv2_1")).astype(float)
    true = arrays.read(study.workspace, layout.features("vgg", "conv2_1")).astype(float)
    training, true = true[:12], true[items.rows]
    here = _one(features, subject="S1", dataset="natural", network="vgg", layer="conv2_1")
    profile = np.mean([np.corrcoef(decoded[:, j], true[:, j])[0, 1] for j in range(40)])
    row = _one(here, metric="profile_correlation")
    # the stores hold float32: 1e-6
    assert row["value"].item() == pytest.approx(profile, abs=1e-6)
    assert (row["n"].item(), row["image"].item(), row["split"].item()) == (40, "", "all")
    mean, scale = training.mean(axis=0), training.std(axis=0, ddof=1)
    pattern = [np.corrcoef((a - mean) / scale, (b - mean) / scale)[0, 1] for a, b in zip(decoded, true, strict=True)]
    found = _one(here, metric="pattern_correlation").set_index("image")["value"]
    np.testing.assert_allclose(found[list(items.names)], pattern, atol=1e-5)
    similarity = np.corrcoef(decoded, true)[:4, 4:]
    won = [(similarity[i] < similarity[i, i]).sum() / 3 for i in range(4)]
    found = _one(here, metric="identification").set_index("image")["value"]
    np.testing.assert_allclose(found[list(items.names)], won)


def test_images_and_baselines_are_scored(tables):
    from hpc_recon.stores import brain, images, layout

    _, scored, _, study = tables(CONTENT)
    items = brain.read_items(study, "S1", "natural")
    stimuli = images.read_images(study.workspace) / 255.0
    true, training = stimuli[items.rows], stimuli[:12]
    here = _one(scored, subject="S1", dataset="natural", metric="pixel_correlation")
    made = [
        np.load(layout.image_file(study, "deep", "S1", "VC", "natural", name).with_suffix(".npy"))
        for name in items.names
    ]
    for variant, pictures in {
        "deep": made,
        "mean_training_image": [training.mean(axis=0)] * 4,
        "true_class_mean": [training[i % 2 :: 2].mean(axis=0) for i in items.rows],
    }.items():
        oracle = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(pictures, true, strict=True)]
        found = _one(here, variant=variant).set_index("image")["value"]
        np.testing.assert_allclose(found[list(items.names)], oracle, atol=1e-6, err_msg=variant)


def test_the_nearest_training_image_is_the_one_most_like_the_decoded_features(tables):
    from hpc_recon.stores import arrays, brain, images, layout

    *_, study = tables(CONTENT)
    items = brain.read_items(study, "S1", "natural")
    total = np.zeros((4, 12))
    for layer in ("conv1_1", "conv2_1"):
        true = arrays.read(study.workspace, layout.features("vgg", layer))[:12].astype(float)
        decoded = arrays.read(study.workspace, layout.decoded("S1", "VC", "natural", "vgg", layer))
        mean, scale = true.mean(axis=0), true.std(axis=0, ddof=1)
        total += np.corrcoef((decoded - mean) / scale, (true - mean) / scale)[:4, 4:]
    part = study.workspace / "scores" / "parts" / "images" / "deep" / "S1" / "VC" / "natural" / "retrieved.json"
    labels = images.read_table(study.workspace).labels
    retrieved = json.loads(part.read_text())
    assert retrieved["images"] == list(items.names)
    assert retrieved["nearest"] == [labels[i] for i in total.argmax(axis=1)]


def test_a_baseline_that_two_methods_share_is_listed_once(tables):
    _, scored, summary, _ = tables(CONTENT)
    assert not scored.duplicated(["subject", "split", "roi", "dataset", "variant", "network", "image", "metric"]).any()
    nearest = _one(scored, variant="nearest_training_image", subject="S1", dataset="natural")
    assert set(nearest["network"]) == {"pixels", "vgg"}
    compared = {(d["variant"], d["network"], d["baseline"]) for d in summary["differences"]}
    assert ("deep", "vgg", "nearest_training_image") in compared
    assert ("again", "vgg", "mean_training_image") in compared


def test_only_the_sets_that_a_method_makes_are_scored(tables):
    _, scored, _, _ = tables(CONTENT)
    sets = scored[["variant", "subject", "dataset"]].drop_duplicates().to_records(index=False).tolist()
    assert [s for s in sets if s[0] == "deep"] == [("deep", "S1", "natural")]
    assert len([s for s in sets if s[0] == "direct"]) == 4


def test_a_dataset_without_identification_has_none(tables):
    features, scored, _, _ = tables(CONTENT)
    for frame in (features, scored):
        assert "identification" not in set(_one(frame, dataset="imagery")["metric"])
        assert "identification" in set(_one(frame, dataset="natural")["metric"])


def test_single_trials_are_scored_one_by_one(tables):
    features, _, _, _ = tables(CONTENT, subjects=["S1"], reconstruct={}, decode={"average": False})
    trials = _one(features, dataset="natural", subject="S1", layer="pixels", metric="identification")
    assert len(trials) == 8
    # among the distinct stimuli, not among the trials
    assert set(trials["n"]) == {3}


def test_sampled_units_are_compared_with_the_same_units(tables):
    features, _, _, _ = tables(CONTENT, subjects=["S1"], reconstruct={}, units=10, noise=0.01)
    row = _one(features, subject="S1", dataset="natural", layer="conv2_1", metric="profile_correlation")
    assert row["n"].item() == 10
    # noise of 1 % of a standard deviation leaves r above .99 only if units are matched
    assert row["value"].item() > 0.99
    assert set(features["network"]) == {"pixels", "vgg"}


def test_sampled_units_say_what_to_expect_of_all(tables):
    """Oracle: numpy on the stored arrays; and the mean over all units lies within a few standard errors."""
    from hpc_recon.core import expected
    from hpc_recon.core.sampling import unit_sample
    from hpc_recon.stores import arrays, brain, layout

    *_, study = tables(CONTENT, subjects=["S1"], reconstruct={}, units=10)
    entries = {(e.dataset, e.layer): e for e in expected.read(expected.path_of(study.workspace))}
    assert len(entries) == 2 * 3
    found = entries["natural", "conv2_1"]
    assert (found.decoded_name, found.n_decoded, found.n_units) == ("vgg@10", 10, 40)
    units = unit_sample(study, "vgg", "conv2_1", 40)
    rows = brain.read_items(study, "S1", "natural").rows
    true = arrays.read(study.workspace, layout.features("vgg", "conv2_1"))[rows][:, units].astype(float)
    decoded = arrays.read(study.workspace, layout.decoded("S1", "VC", "natural", "vgg@10", "conv2_1")).astype(float)
    profile = [np.corrcoef(decoded[:, j], true[:, j])[0, 1] for j in range(10)]
    # the stores hold float32: 1e-6
    assert found.mean == pytest.approx(np.mean(profile), abs=1e-6)
    assert found.error == pytest.approx(np.std(profile, ddof=1) / np.sqrt(10) * np.sqrt(30 / 40), abs=1e-6)
    *_, whole = tables(CONTENT, subjects=["S1"], reconstruct={})
    assert not expected.path_of(whole.workspace).exists()


def test_folds_are_pooled_into_one_interval_over_images(tables):
    features, scored, summary, _ = tables(FOLDS)
    assert set(scored["split"]) == {"all", *(f"r{r}f{f:02d}" for r in (1, 2) for f in (1, 2, 3, 4))}
    rows = [
        e for e in summary["images"]
        if (e["split"], e["variant"], e["metric"]) == ("cross_validation", "direct", "pixel_correlation")
    ]  # fmt: skip
    assert len(rows) == 1
    # 16 stimuli, each held out once a repeat
    assert rows[0]["n"] == 16
    folds = _one(scored[scored["split"] != "all"], variant="direct", metric="pixel_correlation")
    assert len(folds) == 32
    assert rows[0]["mean"] == pytest.approx(folds.groupby("image")["value"].mean().mean())
    assert rows[0]["low"] < rows[0]["mean"] < rows[0]["high"]
    assert {e["split"] for e in summary["layers"]} == {"all", "cross_validation"}
    assert len(features) == len(features.drop_duplicates())


def test_differences_are_paired_by_image(tables):
    _, scored, summary, _ = tables(CONTENT)
    wanted = {"subject": "S1", "dataset": "natural", "variant": "deep", "metric": "pixel_correlation"}
    found = [e for e in summary["differences"] if e["baseline"] == "mean_training_image"]
    found = [e for e in found if all(e[key] == value for key, value in wanted.items())]
    values = {
        variant: _one(scored, **{**wanted, "variant": variant}).set_index("image")["value"]
        for variant in ("deep", "mean_training_image")
    }
    assert len(found) == 1
    assert found[0]["mean"] == pytest.approx((values["deep"] - values["mean_training_image"]).mean())


def test_random_predictions_score_at_chance(tables):
    _, _, summary, _ = tables(CONTENT, reconstruct={}, noise=1e6)
    values = [e["mean"] for e in summary["layers"] if e["metric"] == "identification"]
    # 2 subjects x 3 layers x 4 items of accuracy about uniform: standard error .3 / sqrt(24) = .06
    assert abs(np.mean(values) - 0.5) < 0.2


def test_the_same_study_gives_the_same_bytes(make_study, fill_workspace, run_verb, tmp_path):
    contents = []
    for name in ("a", "b"):
        study = make_study(CONTENT, workspace=str(tmp_path / name), subjects=["S1"], reconstruct={})
        fill_workspace(study)
        run_verb(evaluate, study)
        contents.append({p.name: p.read_bytes() for p in (study.workspace / "scores").glob("*.*")})
    assert contents[0] == contents[1]


def test_features_without_reconstructions_are_scored_too(tables):
    features, scored, summary, _ = tables(CONTENT, subjects=["S1"], reconstruct={})
    assert len(features)
    assert scored.empty
    assert summary["images"] == []


def test_a_missing_reconstruction_names_the_command(make_study, fill_workspace, run_verb):
    study = make_study(CONTENT)
    fill_workspace(study)
    receipt = (
        study.workspace / "receipts" / "reconstruct" / "deep" / "S1" / "VC" / "natural" / "fake-00000000-00000001.json"
    )
    receipt.unlink()
    with pytest.raises(MissingStore, match=r"hpc_recon\.reconstruct"):
        run_verb(evaluate, study)


def test_a_torn_reconstruction_is_refused(make_study, fill_workspace, run_verb):
    from hpc_recon.stores import layout

    study = make_study(CONTENT)
    fill_workspace(study)
    path = layout.image_file(study, "direct", "S2", "VC", "imagery", "imagery001").with_suffix(".npy")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DamagedStore, match="imagery001"):
        run_verb(evaluate, study)


def test_decoded_features_of_another_number_of_items_are_refused(make_study, fill_workspace, run_verb):
    study = make_study(CONTENT, subjects=["S1"], reconstruct={})
    fill_workspace(study)  # averaged items
    study = study.model_copy(update={"decode": study.decode.model_copy(update={"average": False})})
    with pytest.raises(DataError, match=r"4 rows.*8 items"):
        run_verb(evaluate, study)


def test_the_plan_names_what_it_reads_and_what_it_needs(make_study, fill_workspace):
    from hpc_recon.stores import shapes

    study = make_study(CONTENT)
    fill_workspace(study)
    tiles = evaluate.plan(study, shapes.read(study))
    assert [t.stage for t in tiles] == ["features"] * 6 + ["images"] * 6 + ["voxels"] * 2 + ["tables"]
    by_key = {t.group.key: t for t in tiles}
    assert by_key["evaluate/features/S1/VC/vgg/conv1_1"].group.upstream == ("decode/S1/VC/vgg/conv1_1",)
    assert "reconstruct/deep/S1/VC/natural" in by_key["evaluate/images/deep/S1/VC/natural"].group.upstream
    assert all(t.need.host_bytes > 0 and t.need.seconds > 0 and t.need.files_out > 0 for t in tiles)


def test_published_presets_are_scored_beside_the_projects_own(make_study, fill_workspace, run_verb):
    chosen = {"resamples": 100, "presets": ["kamitani", "takagi"], "ssim_identification": True, "n_way": [5, 50]}
    study = make_study(reconstruct={"direct": {"method": "pixels", "network": "pixels"}}, evaluate=chosen)
    fill_workspace(study)
    run_verb(evaluate, study)
    summary = json.loads((study.workspace / "scores/summary.json").read_text())
    direct = {e["metric"]: e for e in summary["images"] if e["variant"] == "direct"}
    assert {"rmse", "psnr", "ssim_identification", "kamitani.rmse", "kamitani.identification_euclidean"} <= set(direct)
    assert direct["kamitani.rmse"]["mean"] == pytest.approx(255 * direct["rmse"]["mean"])
    assert not [metric for metric in direct if metric.endswith("way")]  # there are two stimuli
    assert direct["kamitani.ssim"]["mean"] == direct["ssim"]["mean"]
    tidy = pd.read_csv(study.workspace / "scores/images.csv", keep_default_na=False)
    pairs = {(p, m) for p, m in zip(tidy["preset"], tidy["metric"], strict=True) if m in ("rmse", "pixel_correlation")}
    assert pairs == {(p, m) for p in ("", "kamitani") for m in ("rmse", "pixel_correlation")}
    assert list(tidy.columns)[-4:] == ["metric", "value", "n", "preset"]
    tests = pd.read_csv(study.workspace / "scores/tests.csv", keep_default_na=False)
    assert {("", "ssim"), ("kamitani", "ssim")} <= set(zip(tests["preset"], tests["metric"], strict=True))
    absent = {(e["preset"], e["metric"]) for e in summary["absent"]}
    assert {("takagi", "inception"), ("takagi", "clip"), ("kamitani", "alexnet_conv1")} <= absent
    assert not [metric for metric in direct if metric.startswith("takagi.")]


def test_parquet_is_written_beside_csv_or_refused_before_anything_is_written(
    make_study, fill_workspace, run_verb, monkeypatch
):
    from hpc_recon.reporting import tables
    from hpc_recon.stores import shapes

    study = make_study(reconstruct={}, evaluate={"resamples": 100, "parquet": True})
    fill_workspace(study)
    missing = StudyError("evaluate.parquet", ["pyarrow is not installed"])
    with monkeypatch.context() as without:
        without.setattr(tables, "require_parquet", lambda: (_ for _ in ()).throw(missing))
        with pytest.raises(StudyError, match="pyarrow"):
            evaluate.plan(study, shapes.read(study))
    assert not (study.workspace / "scores").exists()
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'hpc_recon[parquet]')")
    run_verb(evaluate, study)
    for name in ("features", "images"):
        read = pd.read_parquet(study.workspace / f"scores/{name}.parquet")
        tidy = pd.read_csv(study.workspace / f"scores/{name}.csv", keep_default_na=False, na_values={"value": [""]})
        pd.testing.assert_frame_equal(read, tidy, check_dtype=False)


def test_settings_name_the_metrics_only_where_they_are_not_the_default(make_study, fill_workspace, tmp_path):
    from hpc_recon.stores import shapes

    def settings(**options):
        study = make_study(reconstruct={"direct": {"method": "pixels", "network": "pixels"}}, evaluate=options)
        if not study.workspace.exists():
            fill_workspace(study)
        return {t.stage: json.loads(t.group.settings) for t in evaluate.plan(study, shapes.read(study))}

    plain = settings()
    assert plain["images"] == {"identification": True}
    intervals = {"confidence": 0.95, "resamples": 2000}
    holds = ["tests", "validity", "winning by split", "anova", "warnings", "preset", "columns"]
    assert plain["tables"] == {"evaluate": intervals, "seed": 0, "holds": holds}
    weights = tmp_path / "alexnet.pth"
    with pytest.raises(StudyError, match=r"alexnet\.pth cannot be read"):
        settings(presets=["takagi"], networks={"alexnet": str(weights)})
    weights.write_bytes(b"weights")
    chosen = settings(presets=["takagi"], networks={"alexnet": str(weights)})
    # the sha256 of those seven bytes: the file may be moved
    expected = {"alexnet": hashlib.sha256(b"weights").hexdigest()}
    assert chosen["images"] == {"identification": True, "presets": ["takagi"], "networks": expected}
    assert chosen["tables"] == {**plain["tables"], "presets": ["takagi"], "networks": expected}
    assert chosen["features"] == plain["features"]


def test_joining_tables_is_projected_with_the_samples_that_warnings_read(make_study, fill_workspace):
    from hpc_recon.stores import shapes

    study = make_study()
    fill_workspace(study)
    known = shapes.read(study)
    sizes = SimpleNamespace(
        **{name: getattr(known, name) for name in ("n_units", "n_items", "n_stimuli", "image_size")},
        n_samples=lambda subject, dataset: 3000,
        n_voxels=lambda subject, roi: 15000,
    )
    found = {tile.stage: tile.need.host_bytes for tile in evaluate.plan(study, sizes)}
    assert found["tables"] >= found["voxels"] > 8 * 3000 * 15000


def test_scores_are_tested_against_chance_and_baselines(tables):
    from scipy import stats

    features, _, summary, study = tables(CONTENT)
    written = pd.read_csv(study.workspace / "scores" / "tests.csv", keep_default_na=False)
    assert len(written) == len(summary["tests"])
    here = _one(features, subject="S1", dataset="natural", network="vgg", layer="conv2_1", metric="identification")
    found = [
        e for e in summary["tests"]
        if (e["subject"], e["dataset"], e["layer"], e["metric"]) == ("S1", "natural", "conv2_1", "identification")
    ]  # fmt: skip
    assert len(found) == 1
    assert found[0]["p_one"] == pytest.approx(stats.wilcoxon(here["value"] - 0.5, alternative="greater").pvalue)
    pooled = [e for e in summary["tests"] if e["subject"] == "" and e["baseline"] == "true_class_mean"]
    assert {e["n_subjects"] for e in pooled if e["variant"] == "direct"} == {2}
