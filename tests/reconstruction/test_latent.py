"""A study of latents from a lab's files to images: rendered latents are those that the decoders gave, calibrated."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from hpc_recon import decode, evaluate, extract, fit, ingest, reconstruct
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.evaluation import latents
from hpc_recon.reconstruction import calibrated, latent
from hpc_recon.stores import arrays, images, layout, shapes

PLACE = ("S1", "VC", "natural")
GENERATOR = {"kind": "pggan", "weights": "g.pt"}
ENTRY = {"method": "latent", "network": "z", "generator": GENERATOR, "images_per_tile": 4}
ATTRIBUTES = {"smile": {"file": "smile.npy"}, "age": {"file": "age.npy", "conditions": ["smile"]}}
ENTRIES = {
    "plain": {**ENTRY, "attributes": ATTRIBUTES, "edits": {"attributes": ["age"], "steps": [-1, 0, 1], "images": 2}},
    "long": {**ENTRY, "calibration": "norm"},
    "trained": {**ENTRY, "calibration": "train_statistics"},
    "across": {**ENTRY, "calibration": "test_statistics"},
    "truth": {**ENTRY, "source": "true"},
}


def _latent(study, variant, name):
    return np.load(layout.image_file(study, variant, *PLACE, name).parent / "latents" / f"{name}.npy")


def test_calibration_of_converted_samples_reads_what_their_target_predicted(make_study):
    """Decoders, and predictions out of fold, of a split of converted samples are those of its target."""
    entry = {**ENTRIES["trained"], "generator": {"kind": "pggan", "weights": "random:0", "resolution": 8}}
    study = make_study(networks={"z": {"architecture": "pixels", "layers": ["pixels"]}},
                       fit={"out_of_fold": True}, reconstruct={"trained": {**entry, "network": "z"}})  # fmt: skip
    upstream = latent._group(study, "trained", ("S2.from-S1", "VC", "natural")).upstream
    assert "fit/S2/VC/_out_of_fold/z/pixels" in upstream
    assert not any(key.startswith("fit/S2.from-S1") for key in upstream)


@pytest.mark.filterwarnings("ignore:across")
def test_latents_are_decoded_calibrated_rendered_and_scored(latent_study, run_verb):
    study = latent_study(ENTRIES)
    for verb in (ingest, extract, fit, decode):
        run_verb(verb, study)
    tiles = run_verb(reconstruct, study)
    assert len(tiles) == 2 * len(ENTRIES)
    names = [f"s{i:03d}" for i in range(40, 46)]
    made = {v: np.stack([_latent(study, v, name) for name in names]) for v in ENTRIES}

    decoded = arrays.read(study.workspace, layout.decoded(*PLACE, "z", "z"))
    stored = arrays.read(study.workspace, layout.features("z", "z"))
    np.testing.assert_array_equal(made["plain"], decoded)
    np.testing.assert_array_equal(made["truth"], stored[40:])
    np.testing.assert_allclose(np.linalg.norm(made["long"], axis=1), 6**0.5, rtol=1e-5)
    predicted = arrays.read(study.workspace, layout.out_of_fold("S1", "VC", "z", "z"))
    known = (decoded - predicted.mean(0)) / predicted.std(0) * stored[:40].std(0) + stored[:40].mean(0)
    np.testing.assert_allclose(made["trained"], known, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(made["across"].std(0), stored[:40].std(0), rtol=1e-4)
    np.testing.assert_array_equal(calibrated.latents(study, study.reconstruct["trained"], PLACE), made["trained"])

    # True latents give back the stimuli, which this generator made: to half a step of their 8 bits.
    for i, name in enumerate(names):
        path = layout.image_file(study, "truth", *PLACE, name)
        image = images.read_picture(
            study.workspace, path, made_by="/".join(("reconstruct", "truth", *PLACE)), size=(16, 16)
        )
        np.testing.assert_allclose(
            image, images.read_images(study.workspace, slice(40 + i, 41 + i))[0] / 255, atol=0.003
        )
    # The middle of a strip is the image itself.
    strip = np.load(layout.image_file(study, "plain", *PLACE, names[1]).parent / "edits" / f"{names[1]}.npy")
    assert strip.shape == (1, 3, 16, 16, 3)
    shown = np.load(layout.image_file(study, "plain", *PLACE, names[1]).with_suffix(".npy"))
    np.testing.assert_array_equal(strip[0, 1], np.rint(255 * shown).astype(np.uint8))
    assert np.abs(strip[0, 0].astype(int) - strip[0, 2]).max() > 5
    assert not (layout.image_file(study, "plain", *PLACE, names[2]).parent / "edits" / f"{names[2]}.npy").exists()

    _check_scores(study, run_verb, made, stored[40:])


def _check_scores(study, run_verb, made, true):
    run_verb(evaluate, study)
    found = {variant: summary for (variant, _), summary in latents.read(study).items()}
    assert set(found) == set(ENTRIES)
    assert found["truth"]["mean"]["latent_similarity"] == 1
    assert found["truth"]["mean"]["identification"] == 1
    for variant, values in made.items():
        error = np.square(values - true).mean(1)
        assert found[variant]["mean"]["latent_similarity"] == pytest.approx(np.mean(1 / (1 + error)), rel=1e-4)
        zeros = np.mean(1 / (1 + np.square(true).mean(1)))
        assert found[variant]["mean"]["latent_similarity_of_zeros"] == pytest.approx(zeros, rel=1e-5)
    smile, age = found["plain"]["attributes"]
    direction = np.load(study.reconstruct["plain"].attributes["smile"].file)
    known = np.corrcoef(made["plain"] @ direction, true @ direction)[0, 1]
    assert smile["r"] == pytest.approx(known, abs=1e-5)
    assert age["conditions"] == ["smile"]
    assert found["plain"]["cosines_of_attributes"][0][1] == pytest.approx(0, abs=1e-9)
    assert found["plain"]["correlation_by_number"]["mean"] > 0.5
    assert found["plain"]["p_shuffled_pairs"]["cosine"] < 0.05
    table = latents.file_of(study, "plain", PLACE, ".csv").read_text().splitlines()
    assert table[0].startswith("item,latent_similarity,cosine")
    assert len(table) == 7


def test_statistics_of_the_test_items_warn_that_items_depend_on_each_other(latent_study, run_verb):
    study = latent_study({"across": ENTRIES["across"]})
    for verb in (ingest, extract, fit, decode):
        run_verb(verb, study)
    reconstruct.prepare(study)
    tile = reconstruct.plan(study, shapes.read(study))[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reconstruct.work(study, tile)
    assert "depends on the other items" in str(caught[0].message)


def test_what_does_not_fit_the_latents_is_said_before_anything_is_rendered(latent_study, run_verb, tmp_path):
    study = latent_study({"plain": ENTRIES["plain"]})
    for verb in (ingest, extract):
        run_verb(verb, study)
    np.save(tmp_path / "age.npy", np.ones(5))
    np.save(tmp_path / "smile.npy", np.eye(5)[0])
    with pytest.raises(DataError, match="a latent has 6 numbers, but smile has 5, age has 5"):
        reconstruct.plan(study, shapes.read(study))
    other = {**ENTRY, "generator": {"kind": "pggan", "weights": "random:0", "resolution": 8, "n_inputs": 7}}
    study = latent_study({"plain": other})
    with pytest.raises(StudyError, match=r"reads 7 numbers, but the layers of z have 6 \(z 6\)"):
        reconstruct.plan(study, shapes.read(study))
