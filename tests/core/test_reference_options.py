"""References of norm corrections: which corrections they serve, and what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from hpc_recon.core.decode_options import NormCorrection
from hpc_recon.core.errors import StudyError
from hpc_recon.core.reference_options import TRAINING, Reference, in_words

VGG = {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "image_size": 16}
DOF0, DOF1 = "estimated_vgg19_cnn_feat_std.mat", "estimated_cnn_feat_std_ImgSize_224x224_chwise_dof1.mat"


def test_a_folder_serves_everything_and_a_file_what_its_name_says() -> None:
    everything = {method for method in get_args(NormCorrection) if method != "none"}
    assert set(Reference(folder=Path("photos")).serves) == everything
    assert Reference(file=Path(DOF0)).serves == ("channel_std",)
    assert Reference(file=Path(DOF1)).serves == ("mean_center", "train_mean_center")
    assert in_words(None) == TRAINING
    assert in_words(Reference(file=Path("lab") / DOF0)) == f"the file {DOF0}"


@pytest.mark.parametrize("given", [{}, {"folder": "a", "file": "b"}])
def test_a_reference_is_one_of_both(given, make_study) -> None:
    with pytest.raises(StudyError, match=r"networks\.vgg\.reference: give either folder or file"):
        make_study(networks={"vgg": {**VGG, "reference": given}})


@pytest.mark.parametrize(
    ("name", "served", "refused"),
    [(DOF0, ["none", "channel_std"], "train_mean_center"), (DOF1, ["mean_center", "train_mean_center"], "channel_std")],
)
def test_a_correction_that_a_file_cannot_serve_is_refused_with_what_it_can(name, served, refused, make_study) -> None:
    networks = {"vgg": {**VGG, "reference": {"file": f"lab/{name}"}}}
    for method in served:
        make_study(networks=networks, decode={"norm_correction": method})
    for method in (refused, "l2_norm"):
        with pytest.raises(StudyError, match=rf"{method} needs statistics that the file {name}.*use .*{served[1]}"):
            make_study(networks=networks, decode={"norm_correction": method})


def test_a_folder_needs_the_size_of_the_input_and_its_path_starts_at_the_study(make_study, tmp_path) -> None:
    with pytest.raises(StudyError, match=r"networks\.vgg\.reference\.folder: .*image_size"):
        make_study(networks={"vgg": {**VGG, "image_size": None, "reference": {"folder": "photos"}}})
    study = make_study(networks={"vgg": {**VGG, "reference": {"folder": "photos"}}})
    assert study.networks["vgg"].reference == Reference(folder=tmp_path / "photos")
