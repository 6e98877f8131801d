from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.icnn_options import LayerMask
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods import masks
from hpc_recon.methods.targets import Targets

SHAPE = (4, 6, 8)


def kept(shape=SHAPE, **fields) -> np.ndarray:
    return masks.units(LayerMask(**fields), shape, layer="conv1_1").reshape(shape)


def saved(tmp_path: Path, values: np.ndarray) -> Path:
    np.save(tmp_path / "mask.npy", values)
    return tmp_path / "mask.npy"


def test_channels():
    found = kept(channels=[1, 3])
    assert found[[1, 3]].all()
    assert not found[[0, 2]].any()
    assert masks.units(LayerMask(channels=[2]), (5,), layer="fc8").tolist() == [False, False, True, False, False]


def test_a_region_holds_the_places_whose_middle_lies_in_it():
    found = kept(region=[0, 0.5, 0.5, 1])
    expected = np.zeros(SHAPE, bool)
    expected[:, :3, 4:] = True
    np.testing.assert_array_equal(found, expected)


def test_files_of_each_shape(tmp_path: Path):
    whole = np.random.default_rng(0).integers(0, 2, SHAPE)
    np.testing.assert_array_equal(kept(file=saved(tmp_path, whole)), whole)
    np.testing.assert_array_equal(kept(file=saved(tmp_path, whole[0])), np.broadcast_to(whole[0], SHAPE))
    np.testing.assert_array_equal(kept((5,), file=saved(tmp_path, np.eye(5)[2])), np.eye(5)[2])


@pytest.mark.parametrize("size", [(10, 12), (2, 4), (10, 4)])
def test_a_mask_of_another_size_is_cut_or_filled_up_around_its_middle(tmp_path: Path, size: tuple[int, int]):
    """Oracle: padded with ones to a large canvas, then cut to the layer's size."""
    mask = np.random.default_rng(0).integers(0, 2, size)
    canvas = np.ones((40, 40), int)
    canvas[20 - size[0] // 2 : 20 - size[0] // 2 + size[0], 20 - size[1] // 2 : 20 - size[1] // 2 + size[1]] = mask
    np.testing.assert_array_equal(kept(file=saved(tmp_path, mask))[2], canvas[17:23, 16:24])


def test_what_all_keys_choose_counts(tmp_path: Path):
    found = kept(channels=[0], region=[0, 0, 0.5, 1], file=saved(tmp_path, np.tri(6, 8)))
    np.testing.assert_array_equal(np.flatnonzero(found), np.flatnonzero(np.tri(6, 8)[:3]))


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({"channels": [9, 1]}, SHAPE, r"channels 0 to 3, but its mask names \[9\]"),
        ({"region": [0, 0, 1, 1]}, (5,), "a region is cut out of maps"),
        ({"region": [0, 0, 0.01, 0.01]}, SHAPE, "holds no place"),
        ({"file": Path("no.npy")}, SHAPE, r"no\.npy of layer conv1_1 cannot be read"),
    ],
)
def test_a_mask_that_does_not_fit(fields, shape, message: str):
    with pytest.raises(DataError, match=message):
        masks.units(LayerMask(**fields), shape, layer="conv1_1")


@pytest.mark.parametrize(
    ("values", "message"), [(np.full(SHAPE, 0.5), "0 and 1 alone"), (np.ones((3, 3, 3)), r"has the shape \(3, 3, 3\)")]
)
def test_a_file_that_does_not_fit(tmp_path: Path, values: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        kept(file=saved(tmp_path, values))


def options(**fields) -> IcnnOptions:
    return IcnnOptions(method="icnn", network="v", **fields)


def targets(index=None) -> Targets:
    features = {"a": np.arange(192.0).reshape(1, 192), "b": np.arange(5.0)[None]}
    if index is not None:
        features["a"] = features["a"][:, index]
    weights = {"a": features["a"][0].astype(np.float32)}
    return Targets(("i",), features, np.zeros((4, 4, 3)), unit_index={"a": index}, unit_weights=weights)


def test_masked_units_leave_features_numbers_and_weights_together():
    made = masks.apply(targets(), options(masks={"a": {"channels": [1]}}), {"a": SHAPE, "b": (5,)})
    assert made.features["a"].tolist() == [list(range(48, 96))]
    assert made.index_of("a").tolist() == list(range(48, 96))
    assert made.unit_weights["a"].tolist() == list(range(48, 96))
    assert made.features["b"].shape == (1, 5)


def test_a_mask_meets_a_sample_of_units_by_number():
    index = np.arange(0, 192, 10)
    made = masks.apply(targets(index), options(masks={"a": {"channels": [1]}}), {"a": SHAPE, "b": (5,)})
    assert made.index_of("a").tolist() == [50, 60, 70, 80, 90]
    assert made.features["a"].tolist() == [[50, 60, 70, 80, 90]]


def test_empty_masks_are_all_named():
    chosen = options(masks={"a": {"channels": [0]}, "default": {"channels": [7]}})
    with pytest.raises(DataError) as caught:
        masks.apply(targets(np.array([100])), chosen, {"a": SHAPE, "b": (5,)})
    assert "layer a leaves none of its 1 decoded units; widen it" in str(caught.value)
    assert "layer b has channels 0 to 4" in str(caught.value)
