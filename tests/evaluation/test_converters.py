"""Curves of accuracy against pooled sources and against the samples of converters, from tables made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hpc_recon.core.files import write_json
from hpc_recon.evaluation import converters
from hpc_recon.reporting import tables
from hpc_recon.stores import layout

CONTENT = {
    "name": "three",
    "subjects": ["S1", "S2", "S3"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"n_training": 10},
    "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}},
    "convert": {"alpha": 1, "pool": [1, 2], "growth": [4]},
}


def interval(values, names):
    """The mean, the least and the largest value instead of a bootstrap."""
    if not len(values):
        return SimpleNamespace(mean=np.nan, low=np.nan, high=np.nan)
    return SimpleNamespace(mean=values.mean(), low=values.min(), high=values.max())


def features(values):
    """A profile correlation (subject, split): one value a layer."""
    place = {"roi": "VC", "dataset": "natural", "network": "vgg", "layer": "conv1_1", "image": "", "n": 5}
    rows = [
        {**place, "subject": subject, "split": split, "metric": "profile_correlation", "value": value}
        for (subject, split), value in values.items()
    ]
    return pd.DataFrame(rows, columns=list(tables.FEATURE_COLUMNS))


def identified(values, column="layer"):
    """Identification of the images a, b, ... of each (subject, split)."""
    place = {"roi": "VC", "dataset": "natural", "network": "vgg", column: "conv1_1" if column == "layer" else "icnn"}
    rows = [
        {**place, "subject": subject, "split": split, "metric": "identification", "image": image, "value": x, "n": 9}
        for (subject, split), own in values.items()
        for image, x in zip("abc", own, strict=False)
    ]
    columns = tables.FEATURE_COLUMNS if column == "layer" else tables.IMAGE_COLUMNS
    return pd.DataFrame(rows, columns=list(columns))


NO_IMAGES = identified({}, "variant")


def fitted(study, **numbers):
    for split, n in numbers.items():
        path = layout.conversion_file(study, split.replace("_", "."), name="chosen-VC.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"n_samples": n})


def collect(study, features, images=NO_IMAGES):
    return converters.collect(study, features, images, interval=interval)


POOLED = {(s, split): 0.1 * k + 0.01 * j for k, s in enumerate(("S1", "S2", "S3"))
          for j, split in enumerate(("all", "with-1", "with-2"))}  # fmt: skip


def test_values_of_layers_are_averaged_over_targets_with_their_range(make_study):
    (found,) = collect(make_study(CONTENT), features(POOLED))
    assert (found["along"], found["of"], found["name"]) == ("sources", "layers", "conv1_1")
    assert found["x"] == [0, 1, 2]
    np.testing.assert_allclose(found["mean"], [0.1, 0.11, 0.12])
    np.testing.assert_allclose([found["low"], found["high"]], [[0, 0.01, 0.02], [0.2, 0.21, 0.22]])
    assert (found["over"], found["n"], found["within"]) == ("targets", 3, pytest.approx(0.1))


def test_a_target_without_all_points_is_in_none_of_them(make_study):
    values = {key: value for key, value in POOLED.items() if key != ("S3", "with-2")}
    (found,) = collect(make_study(CONTENT), features(values))
    assert found["n"] == 2
    np.testing.assert_allclose(found["mean"], [0.05, 0.06, 0.07])
    alone = {key: value for key, value in POOLED.items() if key[0] == "S2"}
    (found,) = collect(make_study(CONTENT), features(alone))
    assert (found["n"], found["over"], found["low"]) == (1, "", [None] * 3)


def test_images_are_averaged_over_targets_before_they_are_resampled(make_study):
    values = {
        ("S1", "all"): (0.2, 0.4, 1.0),
        ("S2", "all"): (0.4, 0.8),
        ("S1", "with-1"): (0, 0),
        ("S2", "with-1"): (1, 0),
    }
    study = make_study(CONTENT, convert={**CONTENT["convert"], "pool": [1]})
    (found,) = collect(study, identified(values))
    np.testing.assert_allclose(found["mean"], [0.45, 0.25])  # c was shown to one of them alone
    np.testing.assert_allclose([found["low"], found["high"]], [[0.3, 0.0], [0.6, 0.5]])
    assert found["over"] == "images"
    (image,) = collect(study, features({}), identified(values, "variant"))
    assert (image["of"], image["name"], image["mean"]) == ("images", "icnn", found["mean"])


def test_samples_are_those_that_were_paired(make_study):
    study = make_study(CONTENT, convert={**CONTENT["convert"], "pairs": ["S1-S2", "S3-S2"], "pool": []})
    values = {("S2", split): value for split, value in
              (("all", 0.5), ("from-S1", 0.4), ("from-S1.n4", 0.2), ("from-S3", 0.2), ("from-S3.n4", 0.1))}  # fmt: skip
    assert collect(study, features(values)) == [], "nothing says how many samples there were"
    fitted(study, **{"S2_from-S1": 20, "S2_from-S1_n4": 4, "S2_from-S3": 20, "S2_from-S3_n4": 4})
    (found,) = collect(study, features(values))
    assert (found["along"], found["x"], found["over"], found["n"]) == ("samples", [4, 20], "pairs", 2)
    np.testing.assert_allclose(found["mean"], [0.15, 0.3])
    assert found["within"] == 0.5


def test_what_was_averaged_is_not_taken_for_samples(make_study):
    study = make_study(CONTENT, convert={**CONTENT["convert"], "average": True})
    path = layout.conversion_file(study, "S2.from-S1", name="chosen-VC.json")
    path.parent.mkdir(parents=True)
    write_json(path, {"n_pairs": 7})
    assert converters.n_samples(study, "S2.from-S1") is None
    assert converters.n_samples(make_study(CONTENT), "S2.from-S1") == 7


def test_one_point_is_no_curve(make_study):
    assert collect(make_study(CONTENT, convert={"alpha": 1}), features(POOLED)) == []
    assert collect(make_study(CONTENT, convert=None), features(POOLED)) == []
