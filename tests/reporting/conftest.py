"""A summary of scores made by hand, and studies to go with it."""

from __future__ import annotations

import pytest


@pytest.fixture
def entry():
    """Return a function that makes one entry of a summary."""

    def make(metric, mean, low=None, high=None, **changes):
        place = {"subject": "S1", "split": "all", "roi": "VC", "dataset": "natural", "network": "pixels"}
        return {**place, "metric": metric, "mean": mean, "low": low, "high": high, "n": 4, "n_missing": 0, **changes}

    return make


@pytest.fixture
def study(make_study):
    """A study with one method on two test datasets."""
    return make_study(
        datasets={
            "training": {"role": "training"},
            "natural": {"role": "test", "title": "Photographs"},
            "shapes": {"role": "test"},
        },
        reconstruct={"direct": {"method": "pixels", "network": "pixels", "title": "Pixels & <more>"}},
    )


@pytest.fixture
def summary(entry):
    """Return a function that makes a summary: identification of the two datasets, and the gain over the baseline."""

    def make(natural=(0.9, 0.8, 1.0), shapes=(0.8, 0.6, 0.95), gain=(0.2, 0.1, 0.3)):
        images = []
        for dataset, values in (("natural", natural), ("shapes", shapes)):
            place = {"dataset": dataset}
            images += [
                entry("identification", *values, variant="direct", **place),
                entry("pixel_correlation", 0.7, 0.6, 0.8, variant="direct", **place),
                entry("ssim", None, variant="direct", **place),
                entry("pixel_correlation", 0.3, 0.2, 0.4, variant="mean_training_image", **{**place, "network": ""}),
                entry("pixel_correlation", 0.5, 0.4, 0.6, variant="nearest_training_image", **place),
            ]
        differences = [
            entry("pixel_correlation", *gain, variant="direct", baseline=baseline, dataset=dataset)
            for dataset in ("natural", "shapes")
            for baseline in ("mean_training_image", "nearest_training_image")
        ]
        layers = [
            entry(metric, mean, low, high, dataset=dataset, layer="pixels")
            for dataset in ("natural", "shapes")
            for metric, mean, low, high in (
                ("profile_correlation", 0.3, None, None),
                ("profile_correlation_q25", 0.1, None, None),
                ("profile_correlation_q75", 0.5, None, None),
                ("pattern_correlation", 0.4, 0.3, 0.5),
                ("identification", 0.9, 0.8, 1.0),
            )
        ]
        return {"confidence": 0.95, "images": images, "differences": differences, "layers": layers}

    return make
