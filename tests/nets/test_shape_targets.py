"""Shapes as layers: what scikit-image finds, in cells, like any features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.errors import StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.nets import features, shape_targets, zoo
from hpc_recon.nets.identity import identity


def disc(size: int = 64, *, inside=(0.9, 0.2, 0.2), outside=(0.1, 0.3, 0.8), radius: float = 0.3) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    within = x**2 + y**2 < radius**2
    return np.where(within[..., None], inside, outside)


def test_the_mask_of_a_disc_is_the_disc():
    found = shape_targets.foreground(disc())
    assert found.mean() == pytest.approx(np.pi * 0.3**2, rel=0.05)
    assert found[32, 32] == 1
    assert found[2, 2] == 0


def test_a_speck_is_no_foreground_and_one_colour_is_background():
    image = disc()
    image[5:7, 5:7] = (1.0, 1.0, 1.0)
    assert shape_targets.foreground(image)[5:7, 5:7].sum() == 0
    for find in shape_targets.TARGETS.values():
        found = find(np.full((32, 32, 3), 0.4))
        assert np.isfinite(found).all()
        if find is not shape_targets.blurred:
            assert found.max() < 1e-9


@pytest.mark.parametrize("find", [shape_targets.edges, shape_targets.contours])
def test_edges_lie_on_the_circle(find):
    image, size = disc(), 64
    found = find(image)
    y, x = np.nonzero(found > 0.5 * found.max())
    radius = np.hypot(x / (size - 1) - 0.5, y / (size - 1) - 0.5)
    assert np.abs(radius - 0.3).max() < 3 / size
    assert len(radius) > 2 * np.pi * 0.3 * size / 2


def test_a_cell_is_the_mean_of_its_pixels():
    image = (255 * disc()).astype(np.uint8)
    network = Network(architecture="shape_gray", layers=("grid16", "grid32"))
    found = features.compute(network, network.layers, pictures=image[None])
    outline = shape_targets.blurred(image / 255)
    for layer, cells in (("grid16", 16), ("grid32", 32)):
        values, shape = found[layer]
        side = 64 // cells
        expected = outline.reshape(cells, side, cells, side).mean(axis=(1, 3))
        assert shape == (1, cells, cells)
        np.testing.assert_allclose(values.reshape(cells, cells), expected, atol=2e-6)


def test_grids_are_layers_that_need_no_weights():
    network = Network(architecture="shape_mask", image_size=48, layers=("grid8",))
    assert zoo.all_layers(network) == ["grid8", "grid16", "grid32", "grid64"]
    assert zoo.unit_shapes(network, image_size=(20, 30)) == {"grid8": (1, 8, 8)}
    assert identity(network) == {"architecture": "shape_mask", "image_size": 48}
    wrong = network.model_copy(update={"layers": ("grid9",)})
    with pytest.raises(StudyError, match=r"unknown layer 'grid9' of shape_mask.*grid"):
        zoo.check_layers(wrong, image_size=48)


def test_images_are_looked_at_one_by_one():
    images = torch.from_numpy(np.stack([disc(), disc(radius=0.2)]).transpose(0, 3, 1, 2)).float()
    module = shape_targets.Shape("shape_edges")
    both = module(images)
    assert torch.equal(both, torch.cat([module(images[:1]), module(images[1:])]))
