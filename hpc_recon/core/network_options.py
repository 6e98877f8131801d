"""Options of networks: architecture, weights, layers, and files of features that were computed elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hpc_recon.core.ingest_options import Name
from hpc_recon.core.ingest_section import paths_as_list
from hpc_recon.core.reference_options import Reference
from hpc_recon.core.section import Section

#: Architectures without weights: the image itself in colour, and its luminance.
PIXEL_ARCHITECTURES = ("pixels", "pixels_gray")
#: The same of shapes: blurred greys, edges, outlines and a foreground mask on coarse grids.
SHAPE_ARCHITECTURES = ("shape_gray", "shape_edges", "shape_contours", "shape_mask")
#: The architecture of a network that is known by the files of its features alone: there is nothing to run.
FEATURES_ONLY = "features"


def _distinct(layers: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(layers)) != len(layers):
        raise ValueError(f"layers repeat: {', '.join(sorted({x for x in layers if layers.count(x) > 1}))}")
    return layers


#: Layers of a network.
Layers = Annotated[tuple[Name, ...], AfterValidator(_distinct)]


class StimulusArray(Section):
    """Features of many stimuli in one array: a row for each stimulus; further axes are the shape of its units."""

    file: Path = Field(description=".npy, .npz, .mat (v5 or v7.3), .h5 or .hdf5")
    key: str | None = Field(None, description="variable, dataset path or npz entry; not used for .npy")
    labels: Path | None = Field(None, description="text file with the label of each row, a line each")
    dataset: Name | None = Field(
        None,
        description="instead of labels: row i belongs to the i-th of this dataset's stimuli, as ingest has sorted them",
    )
    unit_shape: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="shape of a row, as [512]; compared, and lets --dry-run go without the file"
    )

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> StimulusArray:
        if (self.labels is None) == (self.dataset is None):
            raise ValueError("give either labels (a text file) or dataset (whose stimuli the rows are)")
        return self


class FeatureFiles(Section):
    """Features of a network that were computed elsewhere, read by `extract`: a tree of `.mat` files, or arrays."""

    folders: Annotated[tuple[Path, ...], BeforeValidator(paths_as_list)] = Field(
        (),
        description="folder of the layers' folders, or a list of such (the stimuli may be spread over them); the "
        "variable `feat` of a file is (1, C, H, W) or (1, K)",
    )
    arrays: dict[Name, tuple[StimulusArray, ...]] = Field(
        default_factory=dict, description="by layer, instead of folders: arrays with a row for each stimulus"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> FeatureFiles:
        if bool(self.folders) == bool(self.arrays):
            raise ValueError("give either folders or arrays")
        return self


class Network(Section):
    """A network whose units are decoded: architecture, weights, input size, layers."""

    architecture: str = Field(
        description="pixels (the image, RGB), pixels_gray (its luminance), shape_gray, shape_edges, shape_contours or "
        "shape_mask (shapes without weights, layers grid8 to grid64: docs/shape_semantic.md), vgg11_quarter, "
        "vgg11_features (VGG-11 without its classifier), vgg_normalised, vgg19_leaky_avg (LeakyReLU 0.2, average "
        "pooling), caffenet, alexnet_caffe, a torchvision classification network, timm:<name>, your own "
        "python:<package.module>:<function>, or features (nothing to run: known by its `features` files alone)"
    )
    features: FeatureFiles | None = Field(
        None,
        description="read the features of all stimuli from files instead of computing them; weights are then needed "
        "only where a method under `reconstruct` runs the network",
    )
    weights: str = Field(
        "random:0",
        description="random:<seed>, a local file (torch state dict or .caffemodel), torchvision:<name>, or own (those "
        "that your python: function has loaded)",
    )
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="expected sha256 of a local weights file")
    image_size: int | None = Field(
        None, ge=8, le=1024, description="stimuli are resized to this, pixels; default: as stored"
    )
    preprocessing: Literal["imagenet", "caffe", "half", "clip", "none"] | None = Field(
        None,
        description="what the weights expect: imagenet (RGB, mean and deviation), caffe (BGR 0-255 minus the mean), "
        "half (RGB, -1 to 1), clip (RGB, mean and deviation of CLIP) or none; default: that of the weights where they "
        "are known (docs/weights.md)",
    )
    layers: Layers = Field(
        min_length=1, description="layer names; VGG names as in Caffe (conv1_1 ... fc8, pre-ReLU), else module paths"
    )
    transform: Literal["none", "abs"] = Field(
        "none", description="abs: features are the absolute values |f| of the layers' outputs, wherever they are used"
    )
    dtype: Literal["float32", "float16"] = Field("float32", description="type of the stored features")
    reference: Reference | None = Field(
        None,
        description="natural images whose spread decode.norm_correction restores (--reference); default: the training "
        "stimuli",
    )

    @model_validator(mode="after")
    def _files_or_code(self) -> Network:
        if self.features is not None and self.architecture in PIXEL_ARCHITECTURES + SHAPE_ARCHITECTURES:
            raise ValueError(f"{self.architecture} is the stimulus itself; leave out features")
        absent = [x for x in self.layers if self.features and self.features.arrays and x not in self.features.arrays]
        if absent:
            raise ValueError(f"features.arrays has no layer {absent[0]!r}; give its arrays, or leave it out of layers")
        if self.architecture == FEATURES_ONLY:
            if self.features is None:
                raise ValueError("architecture: features needs features: {folders: ...}, where its files lie")
            runs = {"weights": "random:0", "sha256": None, "image_size": None, "preprocessing": None}
            given = [key for key, default in runs.items() if getattr(self, key) != default]
            if given:
                raise ValueError(
                    f"architecture: features has nothing to run, so {', '.join(given)} would have no effect; leave "
                    "them out, or name the architecture"
                )
        return self
