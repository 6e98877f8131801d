from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from hpc_recon.core.errors import DataError
from hpc_recon.core.network_options import Network
from hpc_recon.nets import architectures, caffe, taps, weights, zoo

#: Weights of VGG_ILSVRC_19_layers.caffemodel and bvlc_reference_caffenet.caffemodel as their prototxts give them.
VGG19 = {
    f"conv{block}_{n + 1}": (width, width if n else before, 3, 3)
    for block, before, width, count in (
        (1, 3, 64, 2), (2, 64, 128, 2), (3, 128, 256, 4), (4, 256, 512, 4), (5, 512, 512, 4),
    )
    for n in range(count)
} | {"fc6": (4096, 25088), "fc7": (4096, 4096), "fc8": (1000, 4096)}  # fmt: skip
CAFFENET = {
    "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3), "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3), "fc6": (4096, 9216), "fc7": (4096, 4096), "fc8": (1000, 4096),
}  # fmt: skip


def number(value: int) -> bytes:
    result = b""
    while value >= 128:
        result, value = result + bytes([value % 128 + 128]), value // 128
    return result + bytes([value])


def head(field: int, length: int) -> bytes:
    return number(8 * field + 2) + number(length)


def legacy_blob(shape: tuple[int, ...]) -> tuple[bytes, int]:
    """The beginning of a blob with four legacy dimensions, and the bytes of data behind it."""
    four = (1,) * (4 - len(shape)) + shape
    n_bytes = 4 * int(np.prod(shape))
    dimensions = b"".join(number(8 * (i + 1)) + number(n) for i, n in enumerate(four))
    return dimensions + head(5, n_bytes), n_bytes


def write_legacy(path: Path, layers: dict[str, tuple[int, ...]], values: dict[str, np.ndarray]) -> None:
    """Write a file of the older kind; data that are not given are holes, so that the file takes no room."""
    with path.open("wb") as stream:
        for name, shape in layers.items():
            parts = [(*legacy_blob(s), values.get(f"{name}.{p}")) for p, s in (("w", shape), ("b", shape[:1]))]
            title = head(4, len(name)) + name.encode()
            sizes = [len(start) + n for start, n, _ in parts]
            stream.write(head(2, len(title) + sum(len(head(6, size)) + size for size in sizes)) + title)
            for (start, n, data), size in zip(parts, sizes, strict=True):
                stream.write(head(6, size) + start)
                if data is None:
                    stream.seek(n, 1)
                else:
                    stream.write(data.astype("<f4").tobytes())
        stream.truncate(stream.tell())


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("architecture", ["vgg19", "vgg19_leaky_avg"])
def test_the_published_vgg19_caffemodel_is_read_without_its_classifier(tmp_path: Path, architecture: str):
    path = tmp_path / "VGG_ILSVRC_19_layers.caffemodel"
    values = {"conv1_1.w": random(64, 3, 3, 3), "conv1_1.b": random(64)}
    write_legacy(path, VGG19, values)
    described = Network(architecture=architecture, weights=str(path), layers=("conv1_1",))
    net = zoo.load(described, image_size=16)
    image = torch.rand(1, 3, 16, 16)
    found = taps.activations(net, image, ["conv1_1"])["conv1_1"]
    # Oracle: Caffe's preprocessing and convolution, written out.
    bgr = image[:, [2, 1, 0]] * 255 - torch.tensor([104.00698793, 116.66876762, 122.67891434])[:, None, None]
    expected = functional.conv2d(
        bgr, torch.from_numpy(values["conv1_1.w"]), torch.from_numpy(values["conv1_1.b"]), padding=1
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-2)  # float32, values of about 1000


@pytest.mark.parametrize(
    ("architecture", "shapes"), [("vgg19", VGG19), ("caffenet", CAFFENET), ("alexnet_caffe", CAFFENET)]
)
def test_our_networks_have_the_published_layers_and_shapes(architecture: str, shapes: dict[str, tuple[int, ...]]):
    body = architectures.build_empty(architecture)
    names, state = architectures.caffe_names(architecture, body), body.state_dict()
    assert {layer: tuple(state[f"{names[layer]}.weight"].shape) for layer in shapes} == shapes
    assert len(state) == 2 * len(shapes)


def test_the_published_torch_keys_of_caffenet_and_alexnet():
    published = {"caffenet": (0, 4, 8, 10, 12, 1, 4, 6), "alexnet_caffe": (0, 4, 8, 10, 12, 0, 2, 4)}
    for architecture, indices in published.items():
        keys = [
            f"{'features' if i < 5 else 'classifier'}.{n}.{p}"
            for i, n in enumerate(indices)
            for p in ("weight", "bias")
        ]
        assert list(architectures.build_empty(architecture).state_dict()) == keys


def test_caffenet_computes_what_its_prototxt_says():
    body = caffe.build("caffenet").eval()
    weights.fill_random(body.features, 3)
    net = {path: body.get_submodule(path) for path in caffe.layer_names(body).values()}
    names = caffe.layer_names(body)
    x = image = torch.randn(2, 3, 67, 67)

    def convolve(layer: str, x: torch.Tensor, groups: int, **options) -> torch.Tensor:
        """Oracle: groups as separate convolutions."""
        module = net[names[layer]]
        parts = zip(x.chunk(groups, 1), module.weight.chunk(groups), module.bias.chunk(groups), strict=True)
        return torch.cat([functional.conv2d(a, w, b, **options) for a, w, b in parts], 1)

    def normalise(x: torch.Tensor) -> torch.Tensor:
        """Oracle: Caffe's formula, x / (1 + alpha / 5 * sum of squares of five channels) ** beta."""
        padded = functional.pad(x**2, (0, 0, 0, 0, 2, 2))
        return x / (1 + 1e-4 / 5 * sum(padded[:, i : i + x.shape[1]] for i in range(5))) ** 0.75

    conv1 = convolve("conv1", x, 1, stride=4)
    norm1 = normalise(functional.max_pool2d(conv1.relu(), 3, 2))
    conv2 = convolve("conv2", norm1, 2, padding=2)
    norm2 = normalise(functional.max_pool2d(conv2.relu(), 3, 2))
    conv3 = convolve("conv3", norm2, 1, padding=1)
    conv4 = convolve("conv4", conv3.relu(), 2, padding=1)
    conv5 = convolve("conv5", conv4.relu(), 2, padding=1)
    found, x = {}, image
    with torch.no_grad():
        for path, module in body.features.named_children():
            x = module(x)
            found[f"features.{path}"] = x
    for layer, expected in {"conv1": conv1, "norm1": norm1, "norm2": norm2, "conv5": conv5}.items():
        torch.testing.assert_close(found[names[layer]], expected.detach(), rtol=1e-4, atol=1e-4)


def test_caffenet_has_the_published_units_at_its_own_size():
    described = Network(architecture="caffenet", layers=("norm1", "norm2", "relu4", "pool5", "fc7"), image_size=227)
    assert zoo.unit_shapes(described, image_size=64) == {
        "norm1": (96, 27, 27), "norm2": (256, 13, 13), "relu4": (384, 13, 13), "pool5": (256, 6, 6), "fc7": (4096,),
    }  # fmt: skip


def test_alexnet_normalises_before_it_pools():
    names = caffe.layer_names(architectures.build_empty("alexnet_caffe"))
    assert list(names)[:4] == ["conv1", "relu1", "norm1", "pool1"]
    assert list(caffe.layer_names(architectures.build_empty("caffenet")))[:4] == ["conv1", "relu1", "pool1", "norm1"]


def test_the_imagery_network_averages_and_leaks():
    body = architectures.build("vgg11_quarter")
    weights.fill_random(body, 0)
    x = torch.randn(1, 3, 8, 8)
    conv1 = body.features[0](x)
    caffe.leaky_average(body)
    with torch.no_grad():
        found = body.features[:4](x)
    leaky = torch.where(conv1 > 0, conv1, 0.2 * conv1)
    average = leaky.reshape(1, 16, 4, 2, 4, 2).mean(dim=(3, 5))
    torch.testing.assert_close(found, body.features[3](average).detach())


def test_the_imagery_network_has_the_layers_of_vgg19():
    plain, imagery = (Network(architecture=a, layers=("conv5_4", "fc8")) for a in ("vgg19", "vgg19_leaky_avg"))
    assert zoo.all_layers(imagery) == zoo.all_layers(plain)
    assert zoo.unit_shapes(imagery, image_size=224) == zoo.unit_shapes(plain, image_size=224)


def small(path: Path, layers: dict[str, tuple[int, ...]]) -> Network:
    write_legacy(path, layers, {})
    return Network(architecture="vgg11_quarter", weights=str(path), layers=("conv1_1",))


QUARTER = {
    "conv1_1": (16, 3, 3, 3), "conv2_1": (32, 16, 3, 3), "conv3_1": (64, 32, 3, 3), "conv3_2": (64, 64, 3, 3),
    "conv4_1": (128, 64, 3, 3), "conv4_2": (128, 128, 3, 3), "conv5_1": (128, 128, 3, 3), "conv5_2": (128, 128, 3, 3),
}  # fmt: skip


def test_a_caffemodel_of_another_network_is_refused_with_all_its_differences(tmp_path: Path):
    wrong = QUARTER | {"conv2_1": (32, 8, 3, 3), "loss": (5, 5)}
    del wrong["conv5_2"]
    with pytest.raises(DataError) as caught:
        zoo.load(small(tmp_path / "x.caffemodel", wrong), image_size=16)
    for part in ("2 missing: features.18.weight", "2 unknown: loss.weight", "features.3.weight is (32, 8, 3, 3), not"):
        assert part in str(caught.value)


def test_a_caffemodel_needs_an_architecture_with_caffes_names(tmp_path: Path):
    described = small(tmp_path / "x.caffemodel", QUARTER).model_copy(update={"architecture": "resnet18"})
    with pytest.raises(DataError, match="Caffe's layers, which resnet18 does not have"):
        weights.load_into(architectures.build("resnet18"), described)


def test_a_layer_with_three_blobs_is_no_convolution(tmp_path: Path):
    one = b"\x2d" + struct.pack("<f", 1.0)
    blob = head(7, len(b"\x08\x01\x10\x01\x18\x01\x20\x01" + one)) + b"\x08\x01\x10\x01\x18\x01\x20\x01" + one
    layer = head(1, 2) + b"bn" + 3 * blob
    path = tmp_path / "x.caffemodel"
    path.write_bytes(head(100, len(layer)) + layer)
    with pytest.raises(DataError, match="'bn' has 3 blobs"):
        caffe.read_state(path, {}, {})
