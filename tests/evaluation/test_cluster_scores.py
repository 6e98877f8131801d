"""Clusters held out for real: a brain that sees images, and one that has an arbitrary code for each kind of image."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from hpc_recon import control, decode, evaluate, extract, fit, reconstruct, simulate
from hpc_recon.core.errors import DamagedStore, DataError, StudyError
from hpc_recon.core.files import write_atomic
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.evaluation import cluster_scores, clusters, control_scores, controls
from hpc_recon.simulation import stimuli, voxels
from hpc_recon.stores import arrays, brain, images, layout

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {
        "image_size": 16,
        "n_training": 100,
        "n_natural": 16,
        "n_voxels": 100,
        "training_repeats": 1,
        "preset": "easy",
    },
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 40, "alpha": 10.0},
    "reconstruct": {"direct": {"method": "pixels", "network": "image", "images_per_tile": 16}},
    "evaluate": {"resamples": 100},
    "controls": {"clusters": 6},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("clusters")


@pytest.fixture
def controlled(make_study, run_verb, kept):
    """Return a function that runs the control of a study, which itself is only simulated and extracted."""

    def run(signal):
        study = make_study(
            CONTENT, simulate={**CONTENT["simulate"], "signal": signal}, workspace=str(kept / signal)
        )  # fmt: skip
        if not study.workspace.exists():
            run_verb(simulate, study)
            run_verb(extract, study)
            folder = controls.workspace_of(study, "clusters")
            clusters.keep(controls.clusters_of(study), folder)
            text = save_study(controls.derive(study, "clusters"))
            derived = load_study(write_atomic(folder / "study.yaml", text.encode()))
            for verb in (control, fit, decode, reconstruct, evaluate):
                run_verb(verb, derived)
        return study

    return run


@pytest.fixture
def seeing(controlled):
    return controlled("image")


@pytest.fixture
def coding(controlled, monkeypatch):
    """Return a study of six kinds of images whose voxels have a random code for each kind, and tell nothing else."""
    rng = np.random.default_rng(3)
    templates = rng.integers(40, 216, (6, 16, 16, 3))

    def drawn(original):
        def draw(n, *, image_size, seed):
            found = original(n, image_size=image_size, seed=seed)
            noise = np.random.default_rng(seed).integers(-20, 21, (n, 16, 16, 3))
            made = templates[np.arange(n) % 6] + noise
            return replace(found, images=made.astype(np.uint8))

        return draw

    for name in ("training_crops", "natural_crops"):
        monkeypatch.setattr(stimuli, name, drawn(getattr(stimuli, name)))

    def codes(answers, groups):
        place = [sum(1 for other in groups[:i] if other[0] == own[0]) for i, own in enumerate(groups)]
        return np.random.default_rng(4).standard_normal((6, answers.shape[1])).astype(np.float32)[np.array(place) % 6]

    monkeypatch.setattr(voxels, "category_means", codes)
    return controlled("category")


def test_a_brain_that_sees_tells_images_of_a_kind_never_trained(seeing):
    (found,) = cluster_scores.sets(seeing)
    assert found["held_out"]["mean"] > 0.65
    assert found["generalises"]
    assert (found["n_images"], found["leaks"]) == (16, False)
    assert found["n_clusters"] == len(set(controls.clusters_of(seeing).test.values()))


def test_a_brain_of_codes_falls_to_chance_without_the_kind(coding):
    (found,) = cluster_scores.sets(coding)
    assert found["all"]["p"] < 0.001, "with every kind trained, codes are identified"
    assert found["n_clusters"] == 6
    # images of a kind share a decoder and a code, so the six kinds, not the 16 images, are independent
    assert found["held_out"]["mean"] < 0.5 + 2 * 0.289 / 6**0.5
    assert not found["generalises"]


def test_identification_is_that_of_the_files(seeing):
    (found,) = cluster_scores.sets(seeing)
    derived = controls.derive(seeing, "clusters")
    table = images.read_table(seeing.workspace)
    test = np.flatnonzero(np.array(table.dataset) == "natural")
    true = images.read_images(seeing.workspace)[test].reshape(16, -1)
    shares = {"all": [], "held_out": []}
    for subject in derived.subjects:
        for item in brain.read_items(derived, subject, "natural").names:
            path = layout.image_file(derived, "direct", subject, "VC", "natural", item).with_suffix(".npy")
            r = np.corrcoef(np.load(path).ravel(), true)[0, 1:]
            own = table.labels.index(item) - test[0]
            which = "all" if subject == "S1-clusters0" else "held_out"
            shares[which].append(np.mean([r[j] < r[own] for j in range(16) if j != own]))
    for which, values in shares.items():
        assert len(values) == 16
        assert found[which]["mean"] == pytest.approx(np.mean(values))


def test_a_cluster_is_gone_from_training_and_alone_in_the_test(seeing):
    derived, found = controls.derive(seeing, "clusters"), controls.clusters_of(seeing)
    of = derived.control_of
    shown = []
    for subject in derived.subjects:
        training = brain.read_labels(derived.workspace, subject, "training")
        test = brain.read_labels(derived.workspace, subject, "natural")
        if subject == "S1-clusters0":
            assert training == brain.read_labels(seeing.workspace, "S1", "training")
            continue
        held = of.held_out[subject]
        assert set(training) == {label for label, c in found.training.items() if c != held}
        assert {found.test[label] for label in test} == {held}
        shown += set(test)
    assert sorted(shown) == sorted(found.test)


def test_the_control_counts_for_its_clusters_alone(seeing, tmp_path):
    assert control_scores.state(seeing, "clusters") == control_scores.FINISHED
    (entry,) = [e for e in control_scores.collect(seeing)["controls"] if e["name"] == "clusters"]
    assert entry["sets"] == cluster_scores.sets(seeing)
    (tile,) = evaluate._controls_tile(seeing)
    assert tile.need.host_bytes > 2**24
    others = seeing.model_copy(update={"controls": seeing.controls.model_copy(update={"clusters": 5})})
    assert control_scores.state(others, "clusters") == control_scores.CHANGED
    folder = controls.workspace_of(seeing, "clusters")
    with pytest.raises(DamagedStore, match="is missing; run control again"):
        clusters.read(tmp_path, of="x")
    with pytest.raises(DamagedStore, match="not x"):
        clusters.read(folder, of="x")
    shutil.copy(folder / clusters.NAME, tmp_path)
    (tmp_path / clusters.NAME).write_text("{}")
    with pytest.raises(DamagedStore, match="cannot be read"):
        clusters.read(tmp_path, of="x")


def test_what_cannot_be_clustered_is_refused(seeing):
    def of(**changes):
        return seeing.model_copy(update={"controls": seeing.controls.model_copy(update=changes)})

    with pytest.raises(StudyError, match=r"no layer 'vgg/conv1'; there are image/pixels"):
        controls.clusters_of(of(cluster_layer="vgg/conv1"))
    with pytest.raises(DataError, match=r"controls\.clusters"):
        controls.clusters_of(of(clusters=101))
    assert clusters.layer_of(of(cluster_layer="image/pixels")) == clusters.layer_of(seeing) == ("image", "pixels")
    assert arrays.describe(seeing.workspace, layout.features("image", "pixels")).shape[1] == 16 * 16 * 3
