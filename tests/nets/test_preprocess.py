from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.nets.preprocess import Luminance, Preprocess, resize


def test_caffe_preprocessing_is_bgr_0_255_minus_the_mean():
    image = torch.tensor([1.0, 0.5, 0.0]).reshape(1, 3, 1, 1)
    found = Preprocess("caffe")(image).flatten().tolist()
    assert found == pytest.approx([0 - 104.00698793, 127.5 - 116.66876762, 255 - 122.67891434], abs=1e-4)


def test_imagenet_preprocessing_is_torchvisions():
    from torchvision.transforms.functional import normalize

    images = torch.rand(2, 3, 4, 5)
    expected = normalize(images, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    torch.testing.assert_close(Preprocess("imagenet")(images), expected)


def test_no_preprocessing_is_the_image():
    images = torch.rand(2, 3, 4, 5)
    assert Preprocess("none")(images) is images


def test_unknown_preprocessing_is_refused():
    with pytest.raises(ValueError, match="one of imagenet, caffe, half, clip, none"):
        Preprocess("bgr")


def test_luminance_of_grey_is_itself():
    grey = torch.rand(1, 1, 4, 4)
    torch.testing.assert_close(Luminance()(grey.expand(1, 3, 4, 4)), grey)
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert float(Luminance()(red)) == pytest.approx(0.299)


def test_resizing_keeps_equal_sizes_and_constant_images():
    images = torch.rand(1, 3, 8, 6)
    assert resize(images, (8, 6)) is images
    constant = torch.full((1, 3, 8, 6), 0.3)
    for size in ((16, 12), (4, 3), (5, 17)):
        assert resize(constant, size).shape == (1, 3, *size)
        torch.testing.assert_close(resize(constant, size), torch.full((1, 3, *size), 0.3))


def test_resizing_is_pillows_bicubic_filter():
    import numpy as np
    from PIL import Image

    image = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    for size in ((12, 12), (80, 80)):
        expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
        found = resize(torch.from_numpy(image)[None, None], size)[0, 0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_half_and_clip_are_affine_in_rgb():
    image = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 3, 1, 1)
    assert Preprocess("half")(image).flatten().tolist() == [-1, 0, 1]
    mean, deviation = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    expected = (np.array([0, 0.5, 1]) - mean) / deviation
    assert Preprocess("clip")(image).flatten().tolist() == pytest.approx(expected, rel=1e-5)
