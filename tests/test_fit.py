"""The verb fit: stored decoders against fit_decoder, choices, samples of units, decoding while fitting."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from hpc_recon import decode, fit
from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.core.sampling import unit_sample
from hpc_recon.numerics.choice import choose, deal_folds
from hpc_recon.numerics.decoder import fit_decoder
from hpc_recon.numerics.folds import make_fold
from hpc_recon.numerics.stats import brain_statistics

LAYERS = ("conv", "fc")


def stored(study, split, roi, layer, part, name="net"):
    from hpc_recon.stores import arrays, layout

    return arrays.read(study.workspace, layout.decoder(split, roi, name, layer, part))


def decoded(study, split, roi, dataset, layer, part="features", name="net"):
    from hpc_recon.stores import arrays, layout

    return arrays.read(study.workspace, layout.decoded(split, roi, dataset, name, layer, part))


@pytest.mark.parametrize("penalize_bias", [False, True])
def test_stored_decoders_are_those_of_fit_decoder(decodable, run_verb, penalize_bias) -> None:
    study, truth = decodable(
        subjects=["S1", "S2"], rois=["VC", "V1"], fit={"n_voxels": 12, "alpha": 5.0, "penalize_bias": penalize_bias}
    )
    tiles = run_verb(fit, study)
    assert [tile.stage for tile in tiles] == ["statistics"] * 4 + ["fit"] * 8
    for split in ("S1", "S2"):
        for roi in ("VC", "V1"):
            for layer in LAYERS:
                X, Y, codes = truth.training(split, roi, layer)
                d = fit_decoder(X, Y, 12, 5.0, penalize_bias, codes)
                voxel = stored(study, split, roi, layer, "voxel")
                assert voxel.dtype == np.uint16
                np.testing.assert_array_equal(voxel, d.voxel)
                np.testing.assert_array_equal(stored(study, split, roi, layer, "weight"), d.weight)
                expected = np.stack([d.bias, d.y_mean, d.y_scale], axis=1).astype(np.float32)
                np.testing.assert_array_equal(stored(study, split, roi, layer, "stats"), expected)


def test_a_constant_unit_has_weight_zero_and_scale_zero(decodable, run_verb) -> None:
    study, _ = decodable()
    run_verb(fit, study)
    assert stored(study, "S1", "VC", "fc", "stats")[3].tolist() == [0, 0.25, 0]
    assert not stored(study, "S1", "VC", "fc", "weight")[3].any()


def test_slots_beyond_the_usable_voxels_hold_the_fill_value(decodable, run_verb, caplog) -> None:
    study, truth = decodable(rois=["V1"], fit={"n_voxels": 500, "alpha": 5.0}, data={"constant_voxels": 3})
    run_verb(fit, study)
    n = len(truth.voxels("V1"))
    voxel, weight = (stored(study, "S1", "V1", "fc", part) for part in ("voxel", "weight"))
    assert voxel.shape == weight.shape == (30, n)
    assert (voxel[:, -3:] == 65535).all()
    assert not weight[:, -3:].any()
    np.testing.assert_array_equal(voxel[:, :-3], np.tile(np.arange(3, n), (30, 1)))
    assert "are usable" in caplog.text


def test_the_choice_is_that_of_numerics_and_is_used(decodable, run_verb) -> None:
    grids = {"n_voxels": {"grid": [5, 15]}, "alpha": {"grid": [1.0, 10.0, 100.0]}, "folds": 3, "choice_units": 40}
    study, truth = decodable(fit=grids)
    tiles = run_verb(fit, study)
    assert [tile.stage for tile in tiles] == ["statistics", *["folds"] * 3, "choose", "choose", "fit", "fit"]
    content = json.loads((study.workspace / "choices/S1/VC/net/fc.json").read_text())
    X, Y, codes = truth.training("S1", "VC", "fc")
    from hpc_recon.core.sampling import seed_of

    dealt = deal_folds(len(Y), 3, seed=seed_of(0, "folds", "S1"))
    folds = [make_fold(X, codes, held_out=dealt == fold, brain=brain_statistics(X, codes)) for fold in range(3)]
    expected = choose(folds, Y, n_voxels=[5, 15], alphas=[1.0, 10.0, 100.0])
    assert content == json.loads(json.dumps(expected.as_dict()))
    assert len(content["table"]) == 6
    d = fit_decoder(X, Y, content["n_voxels"], content["alpha"], stimulus=codes)
    np.testing.assert_array_equal(stored(study, "S1", "VC", "fc", "weight"), d.weight)
    conv = json.loads((study.workspace / "choices/S1/VC/net/conv.json").read_text())
    assert conv["units"] <= 40


def test_a_sample_of_units(decodable, run_verb) -> None:
    study, truth = decodable(units=50)
    run_verb(fit, study)
    units = unit_sample(study, "net", "conv", 100)
    X, Y, codes = truth.training("S1", "VC", "conv", units)
    d = fit_decoder(X, Y, 12, 5.0, stimulus=codes)
    np.testing.assert_array_equal(stored(study, "S1", "VC", "conv", "weight", "net@50"), d.weight)
    assert stored(study, "S1", "VC", "fc", "weight", "net@50").shape == (30, 12)


def test_decoding_while_fitting_gives_the_bytes_of_fit_then_decode(decodable, run_verb, tmp_path) -> None:
    results = []
    for name, flag in (("two", False), ("one", True)):
        study, _ = decodable(workspace=str(tmp_path / name), fit={"n_voxels": 12, "alpha": 5.0, "decode": flag})
        run_verb(fit, study)
        run_verb(decode, study)
        results.append(study)
        assert (study.workspace / "decoders.zarr/S1/VC/net/fc/weight").exists() != flag
    for dataset in ("natural", "shapes"):
        for layer in LAYERS:
            two, one = (decoded(study, "S1", "VC", dataset, layer) for study in results)
            assert two.tobytes() == one.tobytes()
            assert decoded(results[1], "S1", "VC", dataset, layer, "gain").tolist() == [1] * len(one)


def test_bytes_do_not_depend_on_threads_or_a_second_run(decodable, run_verb, tmp_path, monkeypatch) -> None:
    found = []
    for name, n_threads in (("a", "1"), ("b", "3")):
        monkeypatch.setenv("HPC_RECON_THREADS", n_threads)
        study, _ = decodable(workspace=str(tmp_path / name), data={"n_training": 100})
        files = []
        for _ in range(2):
            tiles = run_verb(fit, study)
            files.append(receipts.records(study.workspace, "fit"))
        assert files[0] == files[1]
        assert len(files[0]) > 3 * len(tiles)
        found.append(files[0])
    assert found[0] == found[1]


def test_only_training_stimuli_are_read(decodable, run_verb) -> None:
    """Rows of test stimuli lie in shards of their own here: without them fit still runs."""
    study, truth = decodable()
    run_verb(fit, study)
    before = receipts.records(study.workspace, "fit")
    truth.features["fc"][truth.dataset != "training"] = 1e6
    values = truth.features["fc"]
    from hpc_recon.stores import arrays, layout

    files = arrays.write(study.workspace, layout.features("net", "fc"), (0, 0), values)
    files += [study.workspace / p for p in receipts.records(study.workspace, "extract", ["net", "fc"]) if "norms" in p]
    truth.receipt(("extract", "net", "fc"), files)
    run_verb(fit, study)
    assert receipts.records(study.workspace, "fit") == before


def test_missing_upstream_names_its_command(make_study, decodable) -> None:
    from hpc_recon.stores import shapes

    study = make_study()
    with pytest.raises(MissingStore, match=r"python -m hpc_recon\.(ingest|simulate)"):
        fit.plan(study, shapes.read(study))
    study, _ = decodable(data={"shapes": {"conv": (4, 5, 5)}})
    with pytest.raises(MissingStore, match=r"features.zarr/net/fc.*python -m hpc_recon\.extract"):
        fit.plan(study, shapes.read(study))


def test_fit_without_statistics_names_its_command(decodable) -> None:
    from hpc_recon.stores import shapes

    study, _ = decodable()
    tiles = fit.plan(study, shapes.read(study))
    fit.prepare(study)
    with pytest.raises(MissingStore, match=r"brain_statistics/S1/VC/mean.npy.*python -m hpc_recon\.fit"):
        fit.work(study, next(tile for tile in tiles if tile.stage == "fit"))


def test_short_statistics_are_damage(decodable, run_verb) -> None:
    study, _ = decodable()
    tiles = run_verb(fit, study)
    path = study.workspace / "brain_statistics/S1/VC/sums.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DamagedStore, match=r"sums.npy has \d+ bytes, but its receipt says"):
        fit.work(study, tiles[-1])
    path.unlink()
    with pytest.raises(DamagedStore, match="is absent"):
        fit.work(study, tiles[-1])


def test_a_label_without_a_stimulus_is_refused(decodable) -> None:
    from hpc_recon.stores import brain, shapes

    study, truth = decodable()
    samples, rows = truth.brain["S1", "training"]
    labels = tuple("unknown" if i < 5 else truth.labels[r] for i, r in enumerate(rows))
    files = brain.write_brain(study.workspace, "S1", "training", brain.Brain(samples, labels), made_by="simulate/S1")
    truth.receipt(("simulate", "S1"), files)
    with pytest.raises(DataError, match=r"1 labels of brain samples are not in the stimuli table.*unknown"):
        fit.work(study, fit.plan(study, shapes.read(study))[0])


def test_settings_change_with_what_matters_only(decodable) -> None:
    from hpc_recon.stores import shapes

    study, _ = decodable()

    def groups(section, **fields):
        part = getattr(study, section).model_copy(update=fields)
        changed = study.model_copy(update={section: part})
        return [tile.group for tile in fit.plan(changed, shapes.read(changed)) if tile.stage == "fit"]

    base = groups("fit")
    assert groups("decode", norm_correction="l2_norm") == base
    for fields in ({"n_voxels": 13}, {"alpha": 6.0}, {"penalize_bias": True}, {"decode": True}):
        assert groups("fit", **fields) != base


def test_large_layers_are_cut_into_shards(decodable) -> None:
    @dataclasses.dataclass
    class Sizes:
        def n_stimuli(self):
            return 1250

        def n_samples(self, split, dataset):
            return 6000

        def n_voxels(self, split, roi):
            return 11726

        def n_items(self, split, dataset):
            return 50

        def n_units(self, network, layer):
            return 100_000

        def made_by(self, network, layer):
            return f"extract/{network}/{layer}"

    study, _ = decodable(fit={"n_voxels": 500})
    tiles = [tile for tile in fit.plan(study, Sizes()) if tile.stage == "fit" and tile.group.path[3] == "fc"]
    assert [(tile.start, tile.stop) for tile in tiles] == [(0, 32768), (32768, 65536), (65536, 98304), (98304, 100000)]
    assert 1e9 < tiles[0].need.host_bytes < 3e9
    assert tiles[0].need.bytes_out == 32768 * (500 * 6 + 12)
    assert tiles[0].need.files_out == 3
    assert 10 < tiles[0].need.seconds < 600
