from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.network_options import Network
from hpc_recon.nets import architectures, taps, weights, zoo
from hpc_recon.nets.identity import identity

REAL = Path(__file__).parents[3] / "shared" / "data" / "vgg_normalised_conv3_1.pth"


def network(path: Path | str, architecture: str = "vgg11_quarter", **fields) -> Network:
    return Network(architecture=architecture, weights=str(path), layers=("conv1_1",), **fields)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    body = architectures.build("vgg11_quarter")
    weights.fill_random(body, 5)
    path = tmp_path / "weights.pth"
    torch.save(body.state_dict(), path)
    return path


def test_a_saved_network_is_read_back(saved: Path):
    loaded = zoo.load(network(saved), image_size=16)
    expected = zoo.load(network("random:5"), image_size=16)
    for ours, theirs in zip(loaded.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_sha256_is_checked_and_identifies_the_file_wherever_it_lies(saved: Path, tmp_path: Path):
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert identity(network(saved, sha256=digest))["weights"] == f"sha256:{digest}"
    moved = tmp_path / "elsewhere.pth"
    moved.write_bytes(saved.read_bytes())
    assert identity(network(moved)) == identity(network(saved))
    with pytest.raises(StudyError, match="expects 0000"):
        zoo.load(network(saved, sha256="0" * 64), image_size=16)


def test_a_file_replaced_under_the_same_name_is_read_anew(saved: Path):
    before = zoo.load(network(saved), image_size=16)
    body = architectures.build("vgg11_quarter")
    weights.fill_random(body, 6)
    torch.save(body.state_dict(), saved)
    after = zoo.load(network(saved), image_size=16)
    assert not torch.equal(next(before.parameters()), next(after.parameters()))


def test_missing_file_is_a_study_error(tmp_path: Path):
    with pytest.raises(StudyError, match="cannot be read"):
        zoo.load(network(tmp_path / "none.pth"), image_size=16)


def test_mismatched_keys_are_all_named(saved: Path):
    state = torch.load(saved, weights_only=True)
    state["extra"] = torch.zeros(1)
    del state["features.0.bias"]
    state["features.3.weight"] = torch.zeros(1, 1)
    torch.save(state, saved)
    with pytest.raises(DataError) as caught:
        zoo.load(network(saved), image_size=16)
    for part in ("1 missing: features.0.bias", "1 unknown: extra", "features.3.weight is (1, 1), not (32, 16, 3, 3)"):
        assert part in str(caught.value)


@pytest.mark.parametrize("content", ["garbage", "list", "object"])
def test_files_that_are_no_state_dict_are_refused(tmp_path: Path, content: str):
    path = tmp_path / "weights.pth"
    if content == "garbage":
        path.write_bytes(b"not a zip")
    else:
        torch.save([1, 2] if content == "list" else {"model": Path("x")}, path)
    with pytest.raises(DataError, match="state dict"):
        zoo.load(network(path), image_size=16)


def test_torchvision_weights_are_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(StudyError, match="nothing is downloaded while computing") as caught:
        zoo.load(network("torchvision:IMAGENET1K_V1", "vgg19"), image_size=64)
    assert "get_model('vgg19', weights='IMAGENET1K_V1')" in str(caught.value)
    with pytest.raises(StudyError, match="did you mean 'IMAGENET1K_V1'"):
        zoo.load(network("torchvision:IMAGENET1K_V9", "vgg19"), image_size=64)


def test_a_damaged_torchvision_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "vgg19-dcbb9e9d.pth").write_bytes(b"broken")
    with pytest.raises(StudyError, match="is damaged"):
        weights.torchvision_file(network("torchvision:DEFAULT", "vgg19"))


def test_advice_is_given_for_torchvisions_vgg19_only():
    assert "Caffe" in str(weights.advice(network("torchvision:DEFAULT", "vgg19")))
    assert weights.advice(network("random:0", "vgg19")) is None
    assert weights.advice(network("random:0", "vgg19", preprocessing="none")) is None
    assert weights.advice(network("/a/VGG_ILSVRC_19_layers.pt", "vgg19", preprocessing="caffe")) is None


def test_torchvisions_vgg19_as_a_local_file_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "my_vgg.pth"
    path.write_bytes(b"abc")
    monkeypatch.setattr("hpc_recon.nets.identity._TORCHVISION_VGG", {"ba7816bf": "imagenet"})
    assert "Caffe" in str(weights.advice(network(path, "vgg19")))


def test_a_preprocessing_against_what_is_known_is_named():
    wrong = network("/a/VGG_ILSVRC_19_layers.pt", "vgg19", preprocessing="imagenet")
    assert "preprocessing imagenet, but its weights expect caffe" in str(weights.advice(wrong))
    assert weights.advice(network("/a/unknown.pt", "vgg19", preprocessing="imagenet")) is None


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is absent")
def test_the_real_vgg_has_mean_activations_near_one():
    """Its weights were rescaled so that mean activations behind the ReLU are 1 on natural images."""
    from skimage import data

    photograph = torch.from_numpy(data.astronaut()[:256, :256].copy()).permute(2, 0, 1)[None] / 255
    layers = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
    net = zoo.load(Network(architecture="vgg_normalised", weights=str(REAL), layers=layers), image_size=256)
    for layer, values in taps.activations(net, photograph, layers).items():
        assert 0.4 < float(values.relu().mean()) < 2.5, layer
        assert (
            values.shape[1:]
            == zoo.structure(Network(architecture="vgg_normalised", layers=layers), image_size=256)
            .taps[layer]
            .unit_shape
        )


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_is_damaged_anywhere_is_a_message(tmp_path: Path, zipped: bool):
    """Some ended in IndexError, struct.error or AssertionError: what torch raises depends on where the damage is."""
    path = tmp_path / "a.pt"
    torch.save({"a.weight": torch.ones(3, 4)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for cut in range(0, len(whole) - 60, 13):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="is not a file of plain tensors"):
            weights.read_state(path)


def test_a_file_of_something_else_is_not_answered_with_torchs_advice_to_run_it(tmp_path: Path):
    (tmp_path / "a.pt").write_text("1 2 3")
    with pytest.raises(DataError, match=r"\(no torch file, or other objects in it\)"):
        weights.read_state(tmp_path / "a.pt")
