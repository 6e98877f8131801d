from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.nets import costs, foreign, taps, weights, zoo

SOURCE = '''
import torch
from torch import nn


class Tokens(nn.Module):
    """A small transformer: patches, two blocks, a head."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))
        self.pair = Pair()
        self.head = nn.Linear(8, 5)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        tokens, _ = self.pair(tokens)
        return self.head(tokens.mean(dim=1))


class Pair(nn.Module):
    def forward(self, x):
        return x, {"x": x}


class Stubborn(nn.Module):
    """Computes with a tensor that the meta device does not have."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images):
        if float(images.mean()) > 1e6:
            raise RuntimeError("never")
        return self.conv(images)


class Stumbling(Stubborn):
    def forward(self, images):
        return {"a": self.conv(images)}["b"]


def stumbling():
    return Stumbling()


def tokens():
    return Tokens()


def stubborn():
    return Stubborn()


def loaded():
    net = Stubborn()
    with torch.no_grad():
        net.conv.weight.fill_(0.25)
        net.conv.bias.fill_(1)
    return net


def nothing():
    return {"state": 1}


def broken():
    raise KeyError("weights")


constant = 3
'''


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module with networks."""
    name = f"lab_nets_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"python:{name}"


def network(architecture: str, *layers: str, **fields) -> Network:
    return Network(architecture=architecture, layers=layers or ("x",), **fields)


def test_what_ones_own_network_raises_is_told_not_thrown(lab: str):
    """A KeyError of its forward ended in a traceback; a layer behind the fault was called unknown, no more."""
    assert zoo.unit_shapes(network(f"{lab}:stumbling", "conv"), image_size=8) == {"conv": (4, 8, 8)}
    with pytest.raises(StudyError, match=r"'head' of .* or behind the place where the network stops \(KeyError: 'b'\)"):
        zoo.check_layers(network(f"{lab}:stumbling", "head"), image_size=8)


def test_ones_own_transformer_gives_tokens_in_their_shape(lab: str):
    described = network(f"{lab}:tokens", "patches", "blocks.1", "head")
    assert zoo.unit_shapes(described, image_size=16) == {"patches": (8, 4, 4), "blocks.1": (16, 8), "head": (5,)}
    net = zoo.load(described, image_size=16)
    found = taps.activations(net, torch.rand(2, 3, 16, 16), described.layers)
    assert {layer: tuple(values.shape) for layer, values in found.items()} == {
        "patches": (2, 8, 4, 4), "blocks.1": (2, 16, 8), "head": (2, 5),
    }  # fmt: skip
    # Oracle: torch's own block on the tokens of the block before.
    before = taps.activations(
        zoo.load(network(f"{lab}:tokens", "blocks.0"), image_size=16), torch.ones(1, 3, 16, 16), ["blocks.0"]
    )
    after = taps.activations(net, torch.ones(1, 3, 16, 16), ["blocks.1"])["blocks.1"]
    torch.testing.assert_close(net.body.blocks[1](before["blocks.0"]), after)


def test_a_layer_with_several_outputs_says_so(lab: str):
    with pytest.raises(StudyError, match=r"layer 'pair' of .* returns a tuple, not one tensor"):
        zoo.check_layers(network(f"{lab}:tokens", "pair"), image_size=16)
    with pytest.raises(StudyError, match="did you mean 'head'"):
        zoo.check_layers(network(f"{lab}:tokens", "haed"), image_size=16)


def test_a_network_that_the_meta_device_cannot_run_is_run_for_real(lab: str):
    state = torch.random.get_rng_state()
    structure = zoo.structure(network(f"{lab}:stubborn"), image_size=12)
    assert torch.equal(state, torch.random.get_rng_state())
    assert structure.taps["conv"].unit_shape == (4, 12, 12)
    assert (structure.stopped, structure.n_parameters) == ("", 4 * 3 * 9 + 4)
    assert costs.forward_units(structure, ["conv"]) == 4 * 12 * 12


def test_own_weights_stay_and_random_ones_replace_them(lab: str):
    own = network(f"{lab}:loaded", "conv", weights="own", preprocessing="none")
    found = taps.activations(zoo.load(own, image_size=8), torch.ones(1, 3, 8, 8), ["conv"])["conv"]
    assert float(found[0, 0, 4, 4]) == 0.25 * 27 + 1
    random = zoo.load(network(f"{lab}:loaded", "conv", weights="random:1"), image_size=8)
    assert float(random.body.conv.weight.detach().std()) > 0
    with pytest.raises(StudyError, match="write preprocessing"):
        zoo.load(network(f"{lab}:loaded", "conv", weights="own"), image_size=8)


def test_a_state_dict_is_loaded_into_ones_own_network(lab: str, tmp_path: Path):
    path = tmp_path / "w.pt"
    torch.save({"conv.weight": torch.full((4, 3, 3, 3), 2.0), "conv.bias": torch.zeros(4)}, path)
    described = network(f"{lab}:stubborn", "conv", weights=str(path), preprocessing="half")
    found = taps.activations(zoo.load(described, image_size=8), torch.ones(1, 3, 8, 8), ["conv"])["conv"]
    assert float(found[0, 0, 4, 4]) == 54  # white is 1 for `half`
    torch.save({"conv.weight": torch.zeros(4, 3, 3, 3)}, path)
    with pytest.raises(DataError, match=r"1 missing: conv\.bias"):
        zoo.load(described, image_size=8)


@pytest.mark.parametrize(
    ("ending", "problem"),
    [
        (":toknes", "has no function 'toknes'; did you mean 'tokens'"),
        (":constant", "has no function 'constant'"),
        (":nothing", "returned a dict; it must return a torch.nn.Module"),
        (":broken", "failed: KeyError: 'weights'"),
        (".absent:tokens", "cannot be imported"),
        ("", "is written python:<package.module>:<function>"),
    ],
)
def test_functions_that_are_wrong_say_how(lab: str, ending: str, problem: str):
    with pytest.raises(StudyError, match=problem):
        foreign.build(lab + ending)


def test_timm_is_asked_for_the_network_and_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch):
    timm = ModuleType("timm")
    timm.list_models = lambda: ["tiny"]
    asked = []

    def create(name: str, *, pretrained: bool) -> nn.Module:
        asked.append((name, pretrained))
        return nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True))

    timm.create_model = create
    monkeypatch.setitem(sys.modules, "timm", timm)
    net = zoo.load(network("timm:tiny", "0"), image_size=9)
    assert set(asked) == {("tiny", False)}
    assert not net.body[1].inplace
    assert net.taps["0"].unit_shape == (2, 9, 9)
    with pytest.raises(StudyError, match="timm has no network 'tyni'; known: tiny"):
        zoo.all_layers(network("timm:tyni"))


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(StudyError, match="pip install timm"):
        zoo.structure(network("timm:absent_here"), image_size=8)


def test_torchvisions_transformer_gives_tokens():
    shapes = zoo.unit_shapes(network("vit_b_16", "encoder.layers.encoder_layer_0", "heads"), image_size=224)
    assert shapes == {"encoder.layers.encoder_layer_0": (197, 768), "heads": (1000,)}


def test_weights_of_the_published_vgg19_state_dict_match_by_key_and_shape(tmp_path: Path):
    """`VGG_ILSVRC_19_layers.pt` is a plain state dict with torchvision's keys; here one number a parameter."""
    from hpc_recon.nets import architectures

    wanted = architectures.build_empty("vgg19").state_dict()
    torch.save({key: torch.zeros(1).expand(value.shape) for key, value in wanted.items()}, tmp_path / "v.pt")
    state = weights.read_state(tmp_path / "v.pt")
    weights.require_match(state, wanted, path=tmp_path / "v.pt", architecture="vgg19")
    assert list(state)[-2:] == ["classifier.6.weight", "classifier.6.bias"]
    assert tuple(state["classifier.0.weight"].shape) == (4096, 25088)
    described = network("vgg19", "conv2_1", weights=str(tmp_path / "v.pt"), preprocessing="caffe")
    assert float(zoo.load(described, image_size=16).body.features[5].weight.abs().max()) == 0
