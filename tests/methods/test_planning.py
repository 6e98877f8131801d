from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.options import IcnnOptions, PixelsOptions
from hpc_recon.methods import planning


def options(**fields) -> IcnnOptions:
    return IcnnOptions.model_validate({"method": "icnn", "network": "v", **fields})


def test_a_preset_counts_by_what_it_sets() -> None:
    steps = {"name": "lbfgs", "smoothness": 0}
    spelled = options(start="mean_rgb", start_noise=0, iterations=200, optimiser=steps)
    assert planning.settings_of(options(preset="pixels_lbfgs")) == planning.settings_of(spelled)


def test_what_does_not_change_images_does_not_count() -> None:
    plain = planning.settings_of(options())
    assert planning.settings_of(options(title="x", datasets=["a"], recovery=9)) == plain
    assert planning.settings_of(options(snapshots=3)) != plain
    assert planning.settings_of(options(optimiser={"name": "lbfgs", "smoothness": 2})) != plain


def test_files_count_by_content(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(3))
    np.save(tmp_path / "b.npy", np.eye(3))
    one, other = (
        options(masks={"default": {"file": tmp_path / name}}, start_file=tmp_path / name) for name in ("a.npy", "b.npy")
    )
    assert planning.settings_of(one) == planning.settings_of(other)
    with pytest.raises(StudyError, match="cannot be read"):
        planning.settings_of(options(start_file=tmp_path / "none.png"))


def test_a_generator_counts_by_design_weights_and_bounds() -> None:
    found = planning.settings_of(options(latent={"generator": "small", "weights": "random:1"}))
    assert found["latent"] == {
        "generator": "small", "output": "caffe", "lower": 0.0, "upper": 100.0, "weights": "random:1",
    }  # fmt: skip


def test_pixels_have_their_own_settings() -> None:
    found = planning.settings_of(PixelsOptions(method="pixels", network="p"))
    assert found == {"method": "pixels", "network": "p", "images_per_tile": 1}


def test_layers_default_to_all(make_study) -> None:
    networks = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]}}
    study = make_study(networks=networks, reconstruct={"a": {"method": "icnn", "network": "vgg"}})
    assert study.layers_of(study.reconstruct["a"]) == ("conv1_1", "conv2_1")
    assert study.layers_of(options(network="vgg", layers=["conv2_1"])) == ("conv2_1",)


class Sizes:
    """What `need` asks of a workspace."""

    def image_size(self) -> tuple[int, int]:
        return (32, 32)

    def n_units(self, network: str, layer: str) -> int:
        return {"conv1_1": 16 * 1024, "conv2_1": 32 * 256}[layer]


def need(make_study, n: int = 2, **fields):
    networks = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]}}
    own = {"method": "icnn", "network": "vgg", **fields}
    study = make_study(networks=networks, reconstruct={"a": own}, fit={"out_of_fold": True})
    return planning.need(study, Sizes(), "a", n=n)


def test_needs_follow_the_options(make_study) -> None:
    plain = need(make_study)
    assert (plain.files_out, need(make_study, snapshots=5, n_starts=2, keep_starts=True).files_out) == (6, 10)
    assert need(make_study, reliability="residual").host_bytes > plain.host_bytes
    assert need(make_study, n_starts=3).seconds > 2 * plain.seconds
    generator = {"generator": "small", "weights": "random:1"}
    assert need(make_study, latent=generator).host_bytes > 0
    assert need(make_study, n=4).host_bytes > plain.host_bytes


class Units:
    """Shapes of stored layers."""

    def unit_shape(self, network: str, layer: str) -> tuple[int, ...]:
        return {"conv1_1": (16, 8, 8), "fc6": (5,)}[layer]


def test_what_does_not_fit_is_named_before_anything_is_computed(make_study, tmp_path: Path) -> None:
    np.save(tmp_path / "empty.npy", np.zeros((16, 8, 8)))
    np.save(tmp_path / "z.npy", np.zeros(7))
    (tmp_path / "range.txt").write_text("1 2")
    networks = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "fc6"]}}
    generator = {"generator": "small", "weights": "random:0"}
    own = {"method": "icnn", "network": "vgg"}
    variants = {
        "fits": {**own, "masks": {"conv1_1": {"region": [0, 0, 1, 0.5]}, "default": {"channels": [4]}}},
        "a": {**own, "masks": {"conv1_1": {"file": "empty.npy"}, "fc6": {"channels": [5]}}, "loss": {"fc6": "gram"}},
        "b": {**own, "latent": generator, "start_file": "z.npy"},
        "c": {**own, "latent": {**generator, "upper_file": "range.txt"}},
        "d": {**own, "start_file": "z.npy"},
    }
    study = make_study(networks=networks, reconstruct=variants)
    with pytest.raises(DataError) as caught:
        planning.require_usable(study, Units(), list(variants))
    for part in (
        "a: the mask of layer conv1_1 leaves none",
        "a: layer fc6 has channels 0 to 4",
        "a: a gram loss compares maps, but layer fc6 has the shape (5,)",
        "b: start_file",
        "must hold 2048 finite numbers",
        "c: ",
        "must hold 2048 positive numbers, but holds 2",
        "z.npy cannot be read as an image",
    ):
        assert part in str(caught.value)
    assert "fits:" not in str(caught.value)
    planning.require_usable(study, Units(), ["fits"])
