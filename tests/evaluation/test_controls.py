"""Studies derived for controls, and their brains, against the brain that they were made from."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import control, extract, ingest, simulate
from hpc_recon.core.convert_options import Convert
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.evaluation import controls
from hpc_recon.stores import brain, images

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "rois": ["V1", "VC"],
    "datasets": {
        "training": {"role": "training"},
        "natural": {"role": "test"},
        "shapes": {"role": "test", "identification": False},
    },
    "simulate": {"image_size": 16, "n_training": 60, "n_natural": 8, "n_shapes": 4, "n_voxels": 60,
                 "training_repeats": 2},
    "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}},
    "reconstruct": {"deep": {"method": "icnn", "network": "vgg", "recovery": 2, "snapshots": 5, "subjects": ["S1"]},
                    "shape": {"method": "icnn", "network": "vgg", "datasets": ["shapes"]}},
    "controls": {"images": 4, "units": 10},
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("controlled")


@pytest.fixture
def study(make_study, run_verb, kept):
    study = make_study(CONTENT, workspace=str(kept / "runs"))
    if not study.workspace.exists():
        run_verb(simulate, study)
        run_verb(extract, study)
    return study


def test_a_derived_study_is_an_ordinary_one(study, tmp_path):
    derived = controls.derive(study, "shuffled")
    path = tmp_path / "derived.yaml"
    path.write_text(save_study(derived))
    assert load_study(path) == derived
    assert derived.splits() == ["S1-shuffled1", "S1-shuffled2", "S1-shuffled3"]
    assert list(derived.datasets) == ["training", "natural"]
    assert list(derived.reconstruct) == ["deep"], "images of what is not identified prove nothing"
    deep = derived.reconstruct["deep"]
    assert (deep.subjects, deep.recovery, deep.snapshots) == (derived.subjects, 0, None)
    assert (derived.units, derived.source_verb) == (10, "control")
    assert derived.sizes.datasets["training"].samples == 120
    assert derived.sizes.datasets["natural"].stimuli == 4


def test_converters_are_left_out(study):
    converting = study.model_copy(update={"convert": Convert(pairs=("S1-S1",))})
    assert controls.derive(converting, "shuffled") == controls.derive(study, "shuffled")


def test_latents_of_a_trained_layer_are_left_out_and_decoded_ones_are_not(latent_study, run_verb):
    """The chain of a control trains nothing: images of that entry would wait for a layer that nobody trains."""
    pggan = {"kind": "pggan", "weights": "random:0", "resolution": 16, "n_inputs": 6}
    decoded = {"method": "latent", "network": "z", "generator": pggan}
    study = latent_study(
        train={"layer": {"method": "latent_layer", "network": "z", "generator": pggan}},
        reconstruct={"trained": {**decoded, "model": "layer"}, "decoded": decoded},
    )
    run_verb(ingest, study)
    run_verb(extract, study)
    assert list(controls.derive(study, "noise").reconstruct) == ["decoded"]


def test_folds_are_left_out_and_each_repeat_maps_the_files_of_its_subject(make_study, kept, monkeypatch):
    own = {"S1": {"datasets": {d: {"samples": {"file": "x.npy"}} for d in ("training", "natural", "shapes")}}}
    ingest = {"subjects": own, "stimuli": {d: {"array": {"file": "x.npy"}} for d in ("training", "natural", "shapes")},
              "cross_validation": {"folds": 4}}  # fmt: skip
    with_folds = make_study({**CONTENT, "simulate": None}, ingest=ingest, datasets={
        **CONTENT["datasets"], "natural": {"role": "test"}}, set_=["ingest.cross_validation=null"])  # fmt: skip
    monkeypatch.setattr(controls, "_sizes", lambda *_: None)
    derived = controls.derive(with_folds, "noise")
    assert set(derived.ingest.subjects) == {"S1-noise1", "S1-noise2", "S1-noise3"}
    assert set(derived.ingest.subjects["S1-noise1"].datasets) == {"training", "natural"}
    assert derived.ingest.cross_validation is None
    assert derived.test_datasets("S1-noise2") == ["natural"]


@pytest.fixture
def made(study, run_verb):
    def make(name):
        derived = controls.derive(study, name)
        if not (derived.workspace / "brain.zarr").exists():
            run_verb(control, derived)
        return derived

    return make


def test_shuffled_exchanges_whole_stimuli_of_training_alone(study, made):
    derived = made("shuffled")
    true = brain.read_brain(study.workspace, "S1", "training")
    seen = []
    for subject in derived.subjects:
        found = brain.read_brain(derived.workspace, subject, "training")
        np.testing.assert_array_equal(found.samples, true.samples)
        pairs = set(zip(true.labels, found.labels, strict=True))
        assert len(pairs) == 60, "all samples of a stimulus get one label, and no two stimuli the same"
        assert {new for _, new in pairs} == set(true.labels)
        assert not [old for old, new in pairs if old == new]
        seen.append(found.labels)
        test, was = (brain.read_brain(w, s, "natural") for w, s in (
            (derived.workspace, subject), (study.workspace, "S1")))  # fmt: skip
        rows = [i for i, label in enumerate(was.labels) if label in set(test.labels)]
        np.testing.assert_array_equal(test.samples, was.samples[rows])
        assert (len(set(test.labels)), test.labels) == (4, tuple(was.labels[i] for i in rows))
        np.testing.assert_array_equal(
            brain.read_roi(derived.workspace, subject, "V1"), brain.read_roi(study.workspace, "S1", "V1")
        )
    assert len(set(seen)) == 3, "each repeat is another shuffle"


def test_noise_has_the_mean_and_deviation_of_each_voxel_and_nothing_else(study, made):
    derived = made("noise")
    true = brain.read_brain(study.workspace, "S1", "training").samples
    found = [brain.read_brain(derived.workspace, s, "training").samples for s in derived.subjects]
    noise = (np.concatenate(found) - true.mean(axis=0)) / true.std(axis=0, ddof=1)  # (360, 60)
    assert noise.mean(axis=0) == pytest.approx(0, abs=4.5 / np.sqrt(360))
    assert noise.std(axis=0) == pytest.approx(1, abs=4.5 / np.sqrt(2 * 360))
    shared = np.corrcoef(noise[:120].ravel(), ((true - true.mean(axis=0)) / true.std(axis=0)).ravel())[0, 1]
    assert abs(shared) < 4.5 / np.sqrt(120 * 60)
    test = brain.read_brain(derived.workspace, "S1-noise1", "natural").samples
    assert abs(((test - true.mean(axis=0)) / true.std(axis=0)).mean()) < 4.5 / np.sqrt(test.size)


def test_stimuli_and_features_are_links(study, made):
    derived = made("shuffled")
    for path in (study.workspace / "features.zarr").rglob("*"):
        twin = derived.workspace / path.relative_to(study.workspace)
        assert path.is_dir() or path.samefile(twin)
    np.testing.assert_array_equal(images.read_images(derived.workspace), images.read_images(study.workspace))


def test_what_cannot_be_controlled_is_refused(make_study, study):
    with pytest.raises(StudyError, match=r"no test dataset has identification: true"):
        controls.require_possible(make_study(CONTENT, reconstruct=None, datasets={
            "training": {"role": "training"}, "natural": {"role": "test", "identification": False}}))  # fmt: skip
    with pytest.raises(StudyError, match="is a control of"):
        controls.require_possible(controls.derive(study, "noise"))
    with pytest.raises(StudyError, match="hard links, but arrays lie in s3"):
        controls.require_possible(make_study(CONTENT, arrays="s3://bucket/x"))
    with pytest.raises(MissingStore, match="simulate"):
        controls.derive(make_study(CONTENT), "noise")


def test_none_keeps_its_label():
    labels = tuple(f"s{i}" for i in range(50))
    found = controls.exchanged(labels, rng=np.random.default_rng(3))
    assert sorted(found) == sorted(labels)
    assert not [a for a, b in zip(labels, found, strict=True) if a == b]
