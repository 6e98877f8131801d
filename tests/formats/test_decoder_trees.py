"""bdmodel decoders: what is written predicts as the formula says, and is read back."""

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats import decoder_trees, matlab, sparse
from hpc_recon.formats.decoder_trees import UNUSED, DecoderRows, Scaling

N_VOXELS, K = 30, 4


def rows(n_units, start=0):
    rng = np.random.default_rng(n_units)
    voxel = np.sort([rng.choice(N_VOXELS, K, replace=False) for _ in range(n_units)], axis=1).astype(np.uint32)
    weight = rng.normal(size=(n_units, K)).astype(np.float32)
    voxel[0, -1], weight[0, -1] = UNUSED, 0
    return DecoderRows(start, voxel, weight, rng.normal(size=n_units).astype(np.float32))


def predict(x, found):
    """The formula unit by unit, from our rows."""
    return np.array([x[found.voxel[j] % N_VOXELS] @ found.weight[j] + found.bias[j] for j in range(len(found.bias))])


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 5), (7,)])
def test_files_predict_by_position_and_are_read_back(tmp_path, shape, dense):
    whole = rows(int(np.prod(shape)))
    written = decoder_trees.write_rows(tmp_path, whole, N_VOXELS, shape, dense=dense)
    x = np.random.default_rng(1).normal(size=N_VOXELS)
    files = written[::2]
    assert len(files) == (shape[0] if len(shape) == 3 else 1)
    parts = [sparse.read_dense(path, "W") for path in files]
    assert parts[0].shape == (N_VOXELS, *((1, 2, 5) if len(shape) == 3 else shape))
    bias = np.concatenate([sparse.read_dense(path, "b").reshape(-1) for path in written[1::2]])
    by_position = np.concatenate([np.einsum("v,v...->...", x, part).reshape(-1) for part in parts]) + bias
    np.testing.assert_allclose(predict(x, whole), by_position, rtol=1e-5, atol=1e-6)

    found = list(decoder_trees.read_rows(tmp_path))
    assert [part.start for part in found] == [i * len(part.bias) for i, part in enumerate(found)]
    np.testing.assert_array_equal(np.concatenate([part.bias for part in found]), whole.bias)
    for name in ("voxel", "weight"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in found]), getattr(whole, name))


def test_statistics_are_read_back_and_constant_voxels_get_a_norm(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.random((2, N_VOXELS)).astype(np.float32), rng.random((2, 12)).astype(np.float32)
    x[1, 3] = 0
    decoder_trees.write_scaling(tmp_path, Scaling(x[0], x[1], y[0], y[1], (3, 2, 2)))
    found = decoder_trees.read_scaling(tmp_path)
    assert found.unit_shape == (3, 2, 2)
    np.testing.assert_array_equal(found.y_norm, y[1])
    assert found.x_norm[3] == 1
    np.testing.assert_array_equal(np.delete(found.x_norm, 3), np.delete(x[1], 3))
    matlab.write_v73(tmp_path / "x_norm.mat", {"x_norm": np.ones((1, 4))})
    with pytest.raises(DataError, match="disagree"):
        decoder_trees.read_scaling(tmp_path)


def test_what_is_missing_or_wrong_is_named(tmp_path):
    with pytest.raises(DataError, match="neither W"):
        next(decoder_trees.read_rows(tmp_path))
    with pytest.raises(DataError, match="whole channels"):
        decoder_trees.write_rows(tmp_path, rows(7), N_VOXELS, (3, 2, 5))
    with pytest.raises(DataError, match="the ROI has 2 voxels"):
        decoder_trees.write_rows(tmp_path, rows(7), 2, (7,))
    decoder_trees.write_rows(tmp_path, rows(30), N_VOXELS, (3, 2, 5))
    (tmp_path / "W" / "00000001.mat").unlink()
    with pytest.raises(DataError, match=r"00000001\.mat"):
        list(decoder_trees.read_rows(tmp_path))
    (tmp_path / "b" / "00000001.mat").unlink()
    with pytest.raises(DataError, match="lacks chunks"):
        list(decoder_trees.read_rows(tmp_path))
    matlab.write_v73(tmp_path / "b" / "00000000.mat", {"b": np.full((1, 1, 2, 5), np.nan)})
    (tmp_path / "b" / "00000002.mat").unlink()
    (tmp_path / "W" / "00000002.mat").unlink()
    with pytest.raises(DataError, match="not finite"):
        list(decoder_trees.read_rows(tmp_path))


@pytest.mark.parametrize("dense", [False, True])
def test_what_is_stored_is_told_by_the_header_and_zeros_are_not_kept(tmp_path, dense):
    whole = rows(30)
    files = decoder_trees.write_rows(tmp_path, whole, N_VOXELS, (3, 2, 5), dense=dense)
    found = decoder_trees.stored(files[0], n_voxels=N_VOXELS, n_units=10)
    width, of_each = (N_VOXELS, decoder_trees.DENSE_BYTES) if dense else (K, decoder_trees.SPARSE_BYTES)
    assert found == (width, 10 * width * of_each)
    weights = sparse.from_dense(sparse.read_dense(files[0], "W"))
    zero = int(np.argmax(weights.value))
    weights.value[zero] = 0
    sparse.write_sparse(files[0], "W", weights)
    read, shape = decoder_trees.read_pair((files[0], files[1]))
    assert shape == (N_VOXELS, 1, 2, 5)
    assert np.count_nonzero(read.voxel != UNUSED) == np.count_nonzero(read.weight) == weights.value.size - 1
    matlab.write_v5(files[0], {"W": np.ones((N_VOXELS, 1, 2, 5))})
    assert decoder_trees.stored(files[0], n_voxels=N_VOXELS, n_units=10)[0] == N_VOXELS


def test_weights_that_are_there_twice_and_norms_below_0(tmp_path):
    files = decoder_trees.write_rows(tmp_path, rows(7), N_VOXELS, (7,))
    weights = sparse.read_either(files[0], "W")
    twice = sparse.Sparse(np.repeat(weights.index, 2, axis=1), np.repeat(weights.value, 2), weights.shape)
    sparse.write_sparse(files[0], "W", twice)
    with pytest.raises(DataError, match=r"has 27 of 54 weights twice, at one voxel of one unit"):
        decoder_trees.read_pair((files[0], files[1]))
    other = sparse.Sparse(weights.index, weights.value, weights.shape, 0.5)
    sparse.write_sparse(files[0], "W", other)
    with pytest.raises(DataError, match=r"on a background of 0\.5, not 0"):
        decoder_trees.read_pair((files[0], files[1]))
    decoder_trees.write_scaling(tmp_path, Scaling(*np.ones((2, N_VOXELS)), np.zeros(7), -np.ones(7), (7,)))
    mean, norm = decoder_trees.read_voxel_scaling(tmp_path)
    np.testing.assert_array_equal([mean, norm], np.ones((2, N_VOXELS)))
    with pytest.raises(DataError, match=r"y_norm in .* has 7 values below 0"):
        decoder_trees.read_scaling(tmp_path)


@pytest.mark.parametrize("dense", [False, True])
def test_weights_beyond_the_range_of_float32(tmp_path, dense):
    weights = np.array([[1.0, 0.0], [1e-60, 0.0], [0.0, 2.0]])

    def written(found):
        matlab.write_v73(tmp_path / "b.mat", {"b": np.zeros((1, 2))})
        if dense:
            matlab.write_v73(tmp_path / "W.mat", {"W": found})
        else:
            sparse.write_sparse(tmp_path / "W.mat", "W", sparse.from_dense(found))
        return tmp_path / "W.mat", tmp_path / "b.mat"

    found, _ = decoder_trees.read_pair(written(weights))
    np.testing.assert_array_equal(found.weight, [[1, 0], [2, 0]])
    with pytest.raises(DataError, match="1 weights too large for float32"):
        decoder_trees.read_pair(written(weights * np.array([[1], [1e120], [1]])))


def test_what_macos_leaves_beside_files_is_none_of_them(tmp_path):
    files = decoder_trees.write_rows(tmp_path, rows(30), N_VOXELS, (3, 2, 5))
    for path in files:
        path.with_name(f"._{path.name}").write_bytes(b"resource fork")
    assert sum(len(part.bias) for part in decoder_trees.read_rows(tmp_path)) == 30
