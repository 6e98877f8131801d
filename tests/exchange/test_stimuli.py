from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hpc_recon.core.errors import StudyError
from hpc_recon.exchange import stimuli


@pytest.fixture
def study(tmp_path, make_study):
    """Return a function that makes a study whose two datasets have these stimuli."""

    def make(training, natural, **options):
        np.savez(tmp_path / "s.npz", training=training, natural=natural)
        np.save(tmp_path / "x.npy", np.ones((len(training), 2)))
        sources = {name: {"array": {"file": "s.npz", "key": name}, **options} for name in ("training", "natural")}
        subject = {"datasets": {"training": {"samples": {"file": "x.npy"}}}}
        return make_study(simulate=None, ingest={"subjects": {"S1": subject}, "stimuli": sources})

    return make


def test_grey_images_are_scaled_and_repeated_in_the_order_of_datasets(study):
    training, natural = np.linspace(0, 1, 12).reshape(3, 2, 2), np.full((2, 2, 2), 0.5)
    found = stimuli.read(study(training, natural, scale=1.0))
    assert found.labels == ("training-0001", "training-0002", "training-0003", "natural-0001", "natural-0002")
    assert found.images.shape == (5, 2, 2, 3)
    np.testing.assert_array_equal(found.images[:3, ..., 1], np.rint(training * 255))
    assert set(found.images[3:].flat) == {128}


def test_problems_of_all_datasets_are_reported_together(study):
    with pytest.raises(StudyError) as caught:
        stimuli.read(study(np.full((2, 2, 2), 300.0), np.full((2, 2, 2, 2), 0.0)))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["training", "natural"]


def test_categories_before_an_underscore(make_study, tmp_path):
    def study(*names):
        folder = tmp_path / "_".join(names)
        folder.mkdir()
        for i, name in enumerate(names):
            Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(folder / f"{name}.png")
        content = {
            "subjects": {"S1": {"datasets": {"training": {"samples": {"file": "x.npy"}}}}},
            "stimuli": {"training": {"folder": str(folder), "categories": "before_underscore"}},
        }
        return make_study(simulate=None, ingest=content)

    assert stimuli.read(study("n015_2", "n015_10", "big_cat_1")).category == ("big_cat", "n015", "n015")
    with pytest.raises(StudyError, match=r"1 of 2 labels have nothing before an underscore: 'plain'"):
        stimuli.read(study("n015_2", "plain"))
