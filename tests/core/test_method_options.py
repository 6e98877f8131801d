"""What the options of every method have in common, and what is wrong with an entry beside the rest of a study."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from hpc_recon.core.config import Reconstruct
from hpc_recon.core.errors import StudyError
from hpc_recon.core.method_options import MethodOptions
from hpc_recon.reconstruction import MAKERS

GRAY = {"pixels": {"architecture": "pixels", "layers": ["pixels"]}}
LAB = {"lab": {"architecture": "features", "features": {"folders": "lab"}, "layers": ["fc"]}}
VGG = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}}
NETWORKS = {**GRAY, **LAB, **VGG}
CLASSES = get_args(get_args(Reconstruct)[0])


def entry(make_study, **options) -> MethodOptions:
    return make_study(networks=NETWORKS, reconstruct={"mine": options}).reconstruct["mine"]


def test_every_method_has_a_module_and_every_module_a_method() -> None:
    assert {get_args(own.model_fields["method"].annotation)[0] for own in CLASSES} == set(MAKERS)
    assert all(issubclass(own, MethodOptions) for own in CLASSES)


@pytest.mark.parametrize(
    ("options", "decoders", "runs"),
    [
        ({"method": "icnn", "network": "vgg"}, True, True),
        ({"method": "pixels", "network": "pixels"}, True, True),
        ({"method": "end_to_end", "network": "lab", "weights": {"S1": "S1.caffemodel"}}, False, False),
    ],
)
def test_what_a_method_reads(make_study, options, decoders, runs) -> None:
    found = entry(make_study, **options)
    assert (found.reads_decoders, found.runs_network) == (decoders, runs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "icnn", "network": "vg"}, "reconstruct.mine.network: unknown network 'vg'; did you mean 'vgg'?"),
        ({"method": "icnn", "network": "vgg", "subjects": ["S2"]}, "reconstruct.mine.subjects: unknown name 'S2'"),
        ({"method": "icnn", "network": "lab"}, "'lab' is known by its features alone, and this method runs it"),
        ({"method": "icnn", "network": "vgg", "layers": ["conv9_1"]}, "layer 'conv9_1' is not decoded"),
        ({"method": "end_to_end", "network": "lab", "weights": {"S3": "a.pt"}}, "no generator of 'S1'; add one"),
        ({"method": "end_to_end", "network": "lab", "model": "m"}, "reconstruct.mine.model: unknown name 'm'"),
        (
            {"method": "end_to_end", "network": "lab", "model": "gan", "rois": ["V1"]},
            "reconstruct.mine.rois: V1 not trained by 'gan'; choose from its own",
        ),
    ],
)
def test_mistakes_that_show_beside_the_rest_of_the_study(make_study, options, message) -> None:
    gan = {"gan": {"method": "end_to_end", "profile": "tiny", "rois": ["VC"]}}
    with pytest.raises(StudyError, match=re.escape(message)):
        make_study(networks=NETWORKS, rois=["V1", "VC"], train=gan, reconstruct={"mine": options})
