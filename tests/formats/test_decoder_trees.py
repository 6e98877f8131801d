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
