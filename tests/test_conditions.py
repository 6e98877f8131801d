"""Conditions without a stimulus through the whole chain: ingest, fit, decode, reconstruct, evaluate, report.

A small lab: 40 training images of two kinds, 6 test images; imagery in a BData file, whose fixation rows have no label;
imagery of categories; voxels read out the mean colours of a 4 x 4 grid.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hpc_recon import decode, evaluate, extract, fit, ingest, reconstruct, report
from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study
from hpc_recon.formats.bdata_write import write_bdata
from hpc_recon.stores import arrays, brain, images, layout, shapes

SIDE, N_VOXELS = 16, 60
#: What the rows of imagery show: test images 1, 0 and 3 (numbers of the vmap), and nothing (NaN).
IMAGINED = [1, np.nan, 0, 3, 1, np.nan, 0, np.nan, 3]
VIVID = [4.0, np.nan, 2, 5, 2, np.nan, 3, np.nan, np.nan]


def _pictures(n, kind, rng):
    """Images of 4 x 4 patches; those of kind 1 are bright on the left."""
    patches = rng.random((n, 4, 4, 3))
    patches[kind == 1, :, :2] += 1.5
    return np.rint(np.kron(patches / patches.max(), np.ones((1, SIDE // 4, SIDE // 4, 1))) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The lab's files, written once: its folder, and the samples of each dataset."""
    folder, rng = tmp_path_factory.mktemp("lab"), np.random.default_rng(3)
    kinds = {"training": np.arange(40) % 2, "test": np.arange(6) % 2}
    pictures = {name: _pictures(len(kind), kind, rng) for name, kind in kinds.items()}
    for name, kind in kinds.items():
        (folder / name).mkdir()
        for i, picture in enumerate(pictures[name]):
            Image.fromarray(picture).save(folder / name / f"k{kind[i]}_{name}{i:02d}.png")
    readout = rng.standard_normal((48, N_VOXELS))

    def signal(shown):
        return shown[:, ::4, ::4].reshape(len(shown), 48) / 255.0 @ readout

    def seen(name, i):
        return [f"k{kinds[name][j]}_{name}{j:02d}" for j in i]

    order = {"training": np.tile(np.arange(40), 2), "test": np.tile(np.arange(6), 4)}
    content = {}
    for name, i in order.items():
        content[name] = signal(pictures[name])[i] + 0.5 * rng.standard_normal((len(i), N_VOXELS))
        content[f"{name}_labels"] = np.array(seen(name, i))
    kind_means = np.stack([signal(pictures["training"])[kinds["training"] == k].mean(0) for k in (0, 1)])
    content["category"] = kind_means[[0, 1, 1, 0]] + 0.5 * rng.standard_normal((4, N_VOXELS))
    content["category_labels"] = np.array(["k0", "k1", "k1", "k0"])
    np.savez(folder / "S1.npz", **content)
    imagined = np.array(IMAGINED)
    shown = signal(pictures["test"])[np.nan_to_num(imagined).astype(int)]
    shown[np.isnan(imagined)] = signal(pictures["training"]).mean(0)
    content["imagery"] = shown + rng.standard_normal(shown.shape)
    write_bdata(
        folder / "imagery.h5",
        {"VoxelData": content["imagery"], "stimulus_name": imagined, "Evaluation": np.array(VIVID)},
        vmaps={"stimulus_name": {float(i): label for i, label in enumerate(seen("test", range(6)))}},
    )
    return folder, content


def _content(folder):
    def key(name):
        return {"file": str(folder / "S1.npz"), "key": name}

    plain = {name: {"samples": key(name), "labels": key(f"{name}_labels")} for name in ("training", "test", "category")}
    return {
        "name": "lab",
        "subjects": ["S1"],
        "datasets": {
            "training": {"role": "training"},
            **{d: {"role": "test"} for d in ("test", "imagery", "category")},
        },
        "simulate": None,
        "ingest": {
            "subjects": {
                "S1": {
                    "datasets": {
                        **plain,
                        "test": {**plain["test"], "repeats": "keep"},
                        "imagery": {
                            "bdata": {
                                "files": str(folder / "imagery.h5"),
                                "labels": {"key": "stimulus_name"},
                                "columns": {"vividness": "Evaluation"},
                            },
                            "null_labels": {"n/a": "fixation"},
                            "repeats": "keep",
                        },
                        "category": {**plain["category"], "labels_are": "categories"},
                    }
                }
            },
            "stimuli": {
                name: {"folder": str(folder / name), "categories": "before_underscore"} for name in ("training", "test")
            },
        },
        "networks": {"grey": {"architecture": "pixels_gray", "image_size": 8, "layers": ["pixels"]}},
        "fit": {"n_voxels": 30, "alpha": 10},
        "decode": {"norm_correction": "l2_norm"},
        "reconstruct": {"direct": {"method": "pixels", "network": "grey"}},
        "evaluate": {"resamples": 100},
    }


@pytest.fixture
def chain(lab, make_study, run_verb):
    """Return a function that runs verbs on the study, after changes, and returns it."""

    def run(*verbs, change=None, **changes):
        content = {**_content(lab[0]), **changes}
        if change is not None:
            change(content)
        study = make_study(content)
        for verb in verbs:
            run_verb(verb, study)
        return study

    return run


def _scores(study, name):
    return pd.read_csv(study.workspace / "scores" / f"{name}.csv", keep_default_na=False)


def test_null_conditions_and_categories_are_stored_as_such(lab, chain):
    study = chain(ingest)
    found = brain.read_brain(study.workspace, "S1", "imagery")
    names = {0: "k0_test00", 1: "k1_test01", 3: "k1_test03"}
    assert found.labels == tuple("fixation" if np.isnan(i) else names[int(i)] for i in IMAGINED)
    assert found.conditions == {"fixation": "nothing"}
    np.testing.assert_array_equal(found.columns["vividness"], VIVID)
    np.testing.assert_array_equal(found.samples, lab[1]["imagery"].astype(np.float32))
    items = brain.read_items(study, "S1", "imagery")
    assert items.names == ("k0_test00", "k1_test01", "k1_test03", "fixation")
    assert items.rows.tolist() == [40, 43, 44, -1]  # files of a folder by name: k0 before k1
    assert items.conditions == ("", "", "", "nothing")
    assert items.scored.tolist() == [0, 1, 2]
    assert items.n_averaged.tolist() == [2, 2, 2, 3]
    np.testing.assert_allclose(items.columns["vividness"], [2.5, 3, 5, np.nan])
    nothing = lab[1]["imagery"][np.isnan(IMAGINED)].astype(np.float32).astype(float).mean(0)
    np.testing.assert_allclose(items.samples[3], nothing, rtol=1e-6)
    assert shapes.read(study).n_items("S1", "imagery") == 4
    items = brain.read_items(study, "S1", "category")
    assert (items.names, items.rows.tolist(), items.conditions) == (("k0", "k1"), [-1, -1], ("category", "category"))
    assert items.n_averaged.tolist() == [2, 2]
    assert brain.read_item_table(study, "S1", "category").n_averaged.tolist() == [2, 2]
    assert set(images.read_table(study.workspace).category) == {"k0", "k1"}


def test_they_are_decoded_and_reconstructed_but_only_stimuli_are_scored(chain):
    study = chain(ingest, extract, fit, decode, reconstruct, evaluate, report)
    for dataset, names in {"imagery": 4, "category": 2, "test": 6}.items():
        ref = layout.decoded("S1", "VC", dataset, "grey", "pixels")
        assert arrays.read(study.workspace, ref).shape == (names, 64)
    made = {path.stem for path in (study.workspace / "images/direct/S1/VC/imagery").glob("*.png")}
    assert made == {"k0_test00", "k1_test01", "k1_test03", "fixation"}
    scored = _scores(study, "images")
    assert set(scored["dataset"]) == {"test", "imagery"}  # no category has an image
    own = scored[scored["dataset"] == "imagery"]
    assert set(own["image"]) == {"k0_test00", "k1_test01", "k1_test03"}
    identified = own[own["metric"] == "identification"]
    assert set(identified["n"]) == {2}  # of two others: fixation is none of them
    features = _scores(study, "features")
    assert "fixation" not in set(features["image"])
    profile = features[(features["dataset"] == "imagery") & (features["metric"] == "pattern_correlation")]
    assert len(profile) == 3
    items = _scores(study, "items").set_index(["dataset", "image"])
    assert items.loc[("imagery", "fixation"), "shows"] == "nothing"
    assert items.loc[("imagery", "fixation"), "n_averaged"] == 3
    assert items.loc[("category", "k0"), "shows"] == "category"
    assert float(items.loc[("imagery", "k0_test00"), "vividness"]) == 2.5
    assert items.loc[("test", "k0_test00"), "vividness"] == items.loc[("imagery", "fixation"), "vividness"] == ""
    page = (study.workspace / "report" / "index.html").read_text()
    assert "imagery: no stimulus" in page
    assert "1 image (fixation); there is no image to compare with" in page
    assert "l2_norm: the spread of the training stimuli (no reference images were given)" in page
    assert "Reconstruction of fixation" in page
    assert "Stimulus fixation" not in page
    assert "category: no stimulus" in page


def test_images_of_true_features_are_those_of_stimuli_and_animations_are_of_all_items(chain):
    small = {"method": "icnn", "network": "vgg", "iterations": 3, "images_per_tile": 3}
    study = chain(
        ingest, extract, fit, decode, reconstruct, evaluate, report,
        networks={"vgg": {"architecture": "vgg11_quarter", "image_size": 16, "layers": ["conv1_1"]}},
        reconstruct={
            "true": {**small, "source": "true"},
            "moving": {**small, "snapshots": 2, "datasets": ["imagery"]},
            "thought": {**small, "datasets": ["category"]},
        },
    )  # fmt: skip
    folder = study.workspace / "images"
    assert {path.stem for path in folder.glob("true/S1/VC/imagery/*.png")} == {"k0_test00", "k1_test01", "k1_test03"}
    assert not list(folder.glob("true/S1/VC/category/*.png"))
    assert len(list(folder.glob("moving/S1/VC/imagery/snapshots/*.webp"))) == 4
    assert len(list(folder.glob("moving/_recovery/*.png"))) == 2  # recovery: 2 by default
    assert not list(folder.glob("thought/_recovery/*.png"))  # categories have no true features
    assert len(list(folder.glob("thought/S1/VC/category/*.png"))) == 2
    page = (study.workspace / "report" / "index.html").read_text()
    assert "Reconstruction of fixation" in page


def test_the_truth_of_a_category_is_the_mean_of_its_stimuli(chain):
    study = chain(ingest, extract, fit, decode, evaluate, reconstruct={})
    found = _scores(study, "features")
    found = found[found["dataset"] == "category"]
    decoded = arrays.read(study.workspace, layout.decoded("S1", "VC", "category", "grey", "pixels"))
    true = arrays.read(study.workspace, layout.features("grey", "pixels")).astype(float)
    kinds = np.array(images.read_table(study.workspace).category)
    means = np.stack([true[kinds == kind].mean(0) for kind in ("k0", "k1")])
    training = true[:40]
    z = [(x - training.mean(0)) / training.std(0, ddof=1) for x in (decoded, means)]
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(*z, strict=True)]
    own = found[found["metric"] == "pattern_correlation"].sort_values("image")
    np.testing.assert_allclose(own["value"], expected, rtol=1e-4)
    assert min(expected) > 0.5  # the two kinds differ strongly
    identified = found[found["metric"] == "identification"]
    assert identified["value"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("average", "names"), [(False, 9), (2, 5)])
def test_trials_and_groups_of_trials_keep_their_conditions(chain, average, names):
    correction = {"average": average}
    study = chain(ingest, extract, fit, decode, reconstruct, evaluate, report, decode=correction)
    items = brain.read_items(study, "S1", "imagery")
    assert len(items.names) == names == shapes.read(study).n_items("S1", "imagery")
    # Three rows of fixation: three trials, or the mean of two and a rest.
    assert items.names[6 if average is False else 3 :] == tuple(
        f"fixation@0{i + 1}" for i in range(3 if average is False else 2)
    )
    assert set(_scores(study, "images").query("dataset == 'imagery'")["image"]) == set(items.names[: len(items.scored)])
    if average == 2:
        assert items.n_averaged.tolist() == [2, 2, 2, 2, 1]
    assert "fixation@01" in (study.workspace / "report" / "index.html").read_text()


def test_fit_that_decodes_gives_the_same_as_decode(chain):
    study = chain(ingest, extract, fit, decode, reconstruct={})
    ref = layout.decoded("S1", "VC", "imagery", "grey", "pixels")
    stored = arrays.read(study.workspace, ref)
    other = chain(
        ingest, extract, fit, workspace=f"{study.workspace}-2", fit={"n_voxels": 30, "alpha": 10, "decode": True}
    )
    np.testing.assert_allclose(arrays.read(other.workspace, ref), stored, rtol=1e-5, atol=1e-6)


def test_folds_hold_out_no_condition_and_learn_from_none(chain):
    def pooled(content):
        content["datasets"] = {"training": {"role": "training"}, "imagery": {"role": "test"}}
        subject = content["ingest"]["subjects"]["S1"]["datasets"]
        content["ingest"]["subjects"]["S1"]["datasets"] = {d: subject[d] for d in ("training", "imagery")}
        content["ingest"]["stimuli"]["imagery"] = content["ingest"]["stimuli"].pop("test")
        content["ingest"]["cross_validation"] = {"folds": 2, "test_dataset": "imagery"}

    study = chain(ingest, change=pooled)
    for split in ("S1.r1f01", "S1.r1f02"):
        for dataset in ("training", "imagery"):
            assert "fixation" not in brain.read_labels(study.workspace, split, dataset)
    assert "fixation" in brain.read_labels(study.workspace, "S1", "imagery")


def test_a_training_dataset_has_no_conditions(lab, chain):
    def in_training(content):
        content["ingest"]["subjects"]["S1"]["datasets"]["training"]["null_labels"] = ["rest"]

    with pytest.raises(StudyError, match=r"training\.null_labels: nothing is learnt .*exclude: \{labels: \[rest\]\}"):
        chain(change=in_training)

    def categories(content):
        content["ingest"]["subjects"]["S1"]["datasets"]["training"]["labels_are"] = "categories"

    with pytest.raises(StudyError, match=r"training\.labels_are: decoders are trained on stimuli"):
        chain(change=categories)


def test_a_null_condition_needs_a_name_that_can_be_a_file(lab, chain):
    def unnamed(content):
        content["ingest"]["subjects"]["S1"]["datasets"]["imagery"]["null_labels"] = ["n/a"]

    with pytest.raises(StudyError, match=r"'n/a' cannot name files.*give a name for it: \{'n/a': fixation\}"):
        chain(change=unnamed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"null_labels": {"n/a": "k0_test00"}}, r"1 conditions without a stimulus have the label of a stimulus"),
        (
            {"null_labels": {"n/a": "fixation", "pause": "pause"}},
            r"1 of 2 null_labels are labels of no sample: 'pause'",
        ),
        ({"null_labels": {}}, r"1 of 4 distinct labels of samples are not labels of its stimuli: 'n/a'"),
        (
            {"labels_are": "categories"},
            r"3 of 3 labels are categories of no stimulus: 'k1_test01'.*there are 'k0', 'k1'",
        ),
    ],
)
def test_wrong_conditions_are_refused_before_anything_is_written(lab, chain, change, message):
    def wrong(content):
        content["ingest"]["subjects"]["S1"]["datasets"]["imagery"].update(change)

    with pytest.raises(StudyError, match=message):
        chain(ingest, change=wrong)


def test_the_study_reads_back(chain, tmp_path):
    from hpc_recon.core.loading import save_study

    study = chain()
    (tmp_path / "again.yaml").write_text(save_study(study))
    again = load_study(tmp_path / "again.yaml")
    assert again.ingest == study.ingest
    assert json.loads(again.model_dump_json()) == json.loads(study.model_dump_json())


@pytest.mark.parametrize("verb", [reconstruct, evaluate])
def test_results_of_other_averages_do_not_count_as_done(chain, verb):
    def settings(average):
        study = chain(decode={"average": average})
        return {tile.group.key: json.loads(tile.group.settings) for tile in verb.plan(study, shapes.read(study))}

    chain(ingest, extract, fit)
    whole, some, single = (settings(average) for average in (True, 2, False))
    assert whole.keys() == some.keys() == single.keys()
    for key, old in whole.items():
        assert "average" not in old
        if key.startswith("evaluate/voxels/"):  # ceilings are of single trials, whatever is averaged for decoding
            assert some[key] == single[key] == old
            continue
        assert some[key] == {**old, "average": 2}
        assert single[key] == {**old, "average": False}
