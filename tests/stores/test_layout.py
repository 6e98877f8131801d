from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.stores import layout


@given(st.integers(1, 200_000), st.sampled_from([(4096, 8), (128, 8), (48, 1)]))
def test_cut_divides_and_never_exceeds_what_is_needed(n, rule):
    shard, chunk = layout.cut(n, *rule)
    assert shard % chunk == 0
    assert chunk <= min(n, rule[0])
    assert shard <= rule[0] * rule[1]
    assert shard - n < chunk  # at most one chunk is partly beyond the end


def test_vgg19_features_of_1200_images_are_11625_files():
    units = [3211264] * 2 + [1605632] * 2 + [802816] * 4 + [401408] * 4 + [100352] * 4 + [4096, 4096, 1000]
    files = 0
    for n in units:
        geometry = layout.feature_geometry(1200, n)
        assert geometry.shards[0] == 48
        files += math.ceil(1200 / 48) * math.ceil(n / geometry.shards[1])
    assert sum(units) == 14_861_288
    assert files == 11_625


def test_geometries_of_small_and_large_arrays():
    assert layout.unit_geometry(3, 500) == layout.Geometry((3, 500), (3, 500))
    assert layout.decoded_geometry(50, 100_000) == layout.Geometry((50, 32768), (1, 32768))
    assert layout.sample_geometry(6000, 11726) == layout.Geometry((1024, 11726), (128, 11726))
    assert layout.stimuli_geometry(100, 28, 28) == layout.Geometry((48, 28, 28, 3), (1, 28, 28, 3))
    assert layout.row_geometry(100, 3) == layout.Geometry((48, 3), (48, 3))
    assert layout.whole_geometry(7) == layout.Geometry((7,), (7,))
    assert layout.units_per_shard(10**6) == layout.UNITS_PER_SHARD


@given(st.integers(1, 200_000), st.integers(0, 100_000), st.integers(1, 2**29))
def test_shards_of_decoders_are_the_largest_within_the_limit(n, width, limit):
    found = layout.units_per_shard(n, width=width, limit=limit)
    most = next(u for u in (2**i for i in range(15, -1, -1)) if 4 * u * width <= limit or u == 1)
    chunk = max(1, most // 8)
    assert found == (most if n >= most else min(n, chunk) * -(-n // min(n, chunk)))
    assert layout.units_per_shard(n, width=0, limit=limit) == layout.units_per_shard(n)


def test_decoders_of_up_to_2048_voxels_are_cut_as_ever():
    for width in (1, 500, 2048):
        assert layout.unit_geometry(100_000, 3, width=width) == layout.unit_geometry(100_000, 3)


def test_empty_axis_is_refused():
    with pytest.raises(DataError, match="at least one element, got 0"):
        layout.unit_geometry(0)


def test_paths():
    assert layout.decoder("S1", "V1", "vgg@1000", "conv1_1", "weight").path == (
        "decoders.zarr/S1/V1/vgg@1000/conv1_1/weight"
    )
    assert layout.decoded("S1.r1f01", "VC", "test", "vgg", "fc8", "gain").path == (
        "decoded.zarr/S1.r1f01/VC/test/vgg/fc8/gain"
    )
    assert layout.samples("S1", "test").path == "brain.zarr/S1/test/samples"
    assert layout.roi_mask("S1", "V1").path == "brain.zarr/S1/roi/V1"


def test_image_file_is_absolute_and_safe(make_study, tmp_path):
    study = make_study()
    path = layout.image_file(study, "icnn", "S1", "VC", "natural", "n01.02_3")
    assert path == tmp_path / "runs" / "images" / "icnn" / "S1" / "VC" / "natural" / "n01.02_3.png"
    for name in ("../x", "a b", "", ".hidden", "x" * 200):
        with pytest.raises(DataError, match="cannot be a file name"):
            layout.image_file(study, "icnn", "S1", "VC", "natural", name)


def test_study_that_was_not_loaded_has_no_workspace(make_study):
    with pytest.raises(DataError, match="no absolute workspace"):
        layout.workspace_of(make_study().model_copy(update={"workspace": None}))


def test_names_that_would_collide_or_do_not_exist_are_refused():
    with pytest.raises(DataError, match="no dataset may be called 'roi'"):
        layout.samples("S1", "roi")
    with pytest.raises(ValueError, match="part must be one of voxel, weight, stats, alpha; got 'bias'"):
        layout.decoder("S1", "VC", "vgg", "fc8", "bias")


def test_recovery_files_cannot_be_those_of_a_split(make_study, tmp_path):
    study = make_study()
    path = layout.recovery_file(study, "icnn", "n01.02")
    assert path == tmp_path / "runs" / "images" / "icnn" / "_recovery" / "n01.02.png"
    with pytest.raises(DataError):
        layout.image_file(study, "icnn", "_recovery", "VC", "natural", "n01")
    with pytest.raises(DataError):
        layout.recovery_file(study, "icnn", "../x")
