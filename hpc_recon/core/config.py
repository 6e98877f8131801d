"""The study: what to compute. A YAML file, validated whole before anything runs.

Every field has its unit and meaning beside it; `docs/study_file.md` is written from these descriptions.
Unknown keys are errors. `core.loading` reads the files and collects all mistakes at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from hpc_recon.core import units as unit_choice
from hpc_recon.core.control_options import ControlOf, Controls
from hpc_recon.core.convert_options import Convert, is_grown, seen_by
from hpc_recon.core.decode_options import Decode
from hpc_recon.core.errors import StudyError
from hpc_recon.core.evaluate_options import Evaluate
from hpc_recon.core.fit_options import Fit
from hpc_recon.core.ingest_options import Ingest, Name, SubjectName
from hpc_recon.core.latent_layer_options import LatentLayerTraining
from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import EndToEndOptions, IcnnOptions, PixelsOptions
from hpc_recon.core.power_options import Power
from hpc_recon.core.retrieval_options import RetrievalOptions
from hpc_recon.core.screen_options import ScreenOptions
from hpc_recon.core.section import Section
from hpc_recon.core.shape_options import ShapeSemanticOptions, ShapeSemanticTraining
from hpc_recon.core.simulate_options import Simulate
from hpc_recon.core.sizes import Sizes
from hpc_recon.core.storage import ArraysUrl
from hpc_recon.core.train_options import EndToEndTraining


class Dataset(Section):
    """One set of stimuli with the brain samples recorded for it."""

    role: Literal["training", "test"] = Field(description="decoders are fitted on training, scored on test")
    title: str | None = Field(None, description="heading in the report; default: the dataset's name")
    identification: bool = Field(True, description="score pairwise identification among the stimuli of this dataset")
    publishable: bool = Field(
        True,
        description="false: the report and `rate` withhold its images, and what was made from them, but for those that "
        "report.publishable lists",
    )


class Screen(ScreenOptions):
    """How networks and layers are ranked by decodability before they are extracted whole (`screen`)."""

    networks: dict[Name, Network] = Field(default_factory=dict, description="candidates beside the study's networks")


class Report(Section):
    """The HTML report."""

    title: str | None = Field(None, description="heading; default: the study's name")
    description: str = Field("", description="a paragraph below the heading")
    gallery: int = Field(24, ge=1, description="images shown per dataset at most")
    rois: tuple[str, ...] = Field((), description="more regions whose images are shown, beside the first (VC, if any)")
    megabytes: float = Field(60, ge=1, description="size of all embedded pictures at most; larger ones are reduced")
    publishable: Path | None = Field(
        None, description="text file, a label a line: whose images may be shown; all others are withheld"
    )


UnitChoice = Annotated[int | unit_choice.EveryNth | unit_choice.UnitFile | None, BeforeValidator(unit_choice.parse)]

Reconstruct = Annotated[
    IcnnOptions | PixelsOptions | EndToEndOptions | LatentOptions | ShapeSemanticOptions | RetrievalOptions,
    Field(discriminator="method"),
]
Train = Annotated[EndToEndTraining | ShapeSemanticTraining | LatentLayerTraining, Field(discriminator="method")]


class Study(Section):
    """What to compute, from brain samples to a report."""

    name: Name = Field(description="names the workspace and the report")
    workspace: Path | None = Field(None, description="folder of everything computed; default: runs/<name>")
    arrays: ArraysUrl = Field(
        None,
        description="where arrays and receipts lie: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or "
        "an absolute path; credentials come from the environment; default: in the workspace",
    )
    seed: int = Field(0, ge=0, description="seed of everything random")
    subjects: tuple[SubjectName, ...] = Field(min_length=1, description="subjects to decode")
    rois: tuple[Name, ...] = Field(
        ("VC",), min_length=1, description="one set of decoders each; VC is all voxels if not given"
    )
    datasets: dict[Name, Dataset] = Field(description="by name; exactly one has role: training")
    simulate: Simulate | None = Field(None, description="make a synthetic study")
    ingest: Ingest | None = Field(None, description="read your own files")
    networks: dict[Name, Network] = Field(min_length=1, description="networks to decode, by a name of your own")
    units: UnitChoice = Field(
        None,
        description="decode some units of each layer, for a first answer: N (a random sample), {every: N} or "
        "{file: PATH}; --units N/layer, --units every:N, --units file:PATH",
    )
    sizes: Sizes | None = Field(None, description="what the data will hold, to plan before they are there")
    fit: Fit = Field(Fit(), description="how decoders are fitted")
    convert: Convert | None = Field(None, description="turn subjects' activity into that of other subjects")
    decode: Decode = Field(Decode(), description="how test data are decoded")
    train: dict[Name, Train] = Field(
        default_factory=dict,
        description="networks to train from brain samples to images, or to latents, by a name of your own",
    )
    reconstruct: dict[Name, Reconstruct] = Field(default_factory=dict, description="methods by a name of your own")
    evaluate: Evaluate = Field(
        Evaluate(), description="how intervals are computed, and which published sets of metrics are"
    )
    report: Report = Field(Report(), description="what the report shows")
    controls: Controls = Field(Controls(), description="chains on brains that can tell nothing (docs/statistics.md)")
    control_of: ControlOf | None = Field(
        None, description="written by `control` and `power --images` into derived studies"
    )
    screen: Screen = Field(Screen(), description="how networks and layers are ranked by `screen`")
    power: Power = Field(Power(), description="how accuracy grows with the data, and what more would bring (`power`)")

    @property
    def withholds(self) -> bool:
        """Whether images of some stimuli may not be shown."""
        return self.report.publishable is not None or not all(own.publishable for own in self.datasets.values())

    @property
    def training_dataset(self) -> str:
        """Name of the dataset with role `training`."""
        return next(name for name, dataset in self.datasets.items() if dataset.role == "training")

    def test_datasets(self, split: str | None = None) -> list[str]:
        """Return the names of the datasets with role `test`, in the order of the file; of one split if given.

        A split of a cross-validation has one; a subject has those that `ingest` maps for it.
        """
        tests = [name for name, dataset in self.datasets.items() if dataset.role == "test"]
        if split is not None and self.control_of is not None and split in self.control_of.datasets:
            return [name for name in tests if name in self.control_of.datasets[split]]
        if split is None or self.ingest is None or self.decode.files:
            return tests
        folds = self.ingest.cross_validation
        if folds is not None and split != base_subject(split):
            return [folds.test_dataset]
        return [name for name in tests if name in self.ingest.subjects[seen_by(split)].datasets]

    def image_sets(self, variant: str) -> list[tuple[str, str, str]]:
        """Return every (split, ROI, dataset) whose images a method under `reconstruct:` makes.

        Converters that were fitted to fewer samples, for a curve (`convert.growth`), give no images.
        """
        options = self.reconstruct[variant]
        splits = self.decoded_splits() if options.reads_decoders else self.splits()
        return [
            (split, roi, dataset)
            for split in splits
            if not is_grown(split) and (options.subjects is None or base_subject(split) in options.subjects)
            for roi in self.rois
            if options.rois is None or roi in options.rois
            for dataset in self.test_datasets(split)
            if options.datasets is None or dataset in options.datasets
        ]

    def trained_sets(self, name: str) -> list[tuple[str, str]]:
        """Return every (split, ROI) for which an entry under `train:` is trained."""
        options = self.train[name]
        return [
            (split, roi)
            for split in self.splits()
            if options.subjects is None or base_subject(split) in options.subjects
            for roi in self.rois
            if options.rois is None or roi in options.rois
        ]

    def layers_of(self, options: Reconstruct) -> tuple[str, ...]:
        """Return the layers that an entry under `reconstruct:` reads: its own, else all of its network."""
        return getattr(options, "layers", None) or self.networks[options.network].layers

    def decode_keys(self, variant: str, split: str, roi: str) -> list[str]:
        """Return the keys of the groups of decoded features that an entry under `reconstruct:` reads, by layer."""
        options = self.reconstruct[variant]
        name = self.decoded_name(options.network)
        return [f"decode/{split}/{roi}/{name}/{layer}" for layer in self.layers_of(options)]

    def runs(self, network: str) -> bool:
        """Return whether a network is run: to compute its features, or by a method under `reconstruct:`."""
        used = any(o.network == network and o.runs_network for o in self.reconstruct.values())
        return self.networks[network].features is None or used

    def layer_sets(self, *, decoded: bool = False) -> list[tuple[str, str, str, str]]:
        """Return every (split, ROI, network, layer) that has decoders of its own, or that is decoded."""
        return [
            (split, roi, name, layer)
            for split in (self.decoded_splits() if decoded else self.fitted_splits())
            for roi in self.rois
            for name, network in self.networks.items()
            for layer in network.layers
        ]

    def n_decoded(self, n_units: int, layer: str | None = None) -> int:
        """Return how many of a layer's `n_units` units are decoded: all, or as many as `units` chooses.

        Parameters
        ----------
        layer
            Name of the layer; a file with one list a layer needs it.

        Raises
        ------
        StudyError
            If a file of units cannot be read or does not fit the layer.
        """
        if self.units is None or isinstance(self.units, int):
            return min(self.units or n_units, n_units)
        if isinstance(self.units, unit_choice.EveryNth):
            return -(-n_units // self.units.every)
        return len(unit_choice.from_file(self.units, layer or unit_choice.EVERY_LAYER, n_units))

    @property
    def source_verb(self) -> Literal["simulate", "ingest", "control"]:
        """The command that makes the brain data."""
        return "control" if self.control_of is not None else self.recording_verb

    @property
    def recording_verb(self) -> Literal["simulate", "ingest"]:
        """The command that made the brain data, or those that a control's are made from."""
        return "simulate" if self.simulate is not None else "ingest"

    def splits(self) -> list[str]:
        """Return every subject, and after each the splits of its cross-validation: `S1`, `S1.r1f01`, ...

        A split is the same brain with other samples held out; everything downstream treats it as a subject.
        """
        folds = self.ingest.cross_validation if self.ingest is not None else None
        names = []
        for subject in self.subjects:
            names.append(subject)
            if folds is not None:
                names += [f"{subject}.r{r + 1}f{f + 1:02d}" for r in range(folds.repeats) for f in range(folds.folds)]
        return names

    def fitted_splits(self) -> list[str]:
        """Return the splits that have decoders: those of `splits`, and those of pooled training samples."""
        return [*self.splits(), *(self.convert.pooled(self.subjects) if self.convert else ())]

    def decoded_splits(self) -> list[str]:
        """Return the splits that are decoded: those of `fitted_splits`, and those of converted test samples."""
        return [*self.fitted_splits(), *(self.convert.fitted(self.subjects) if self.convert else ())]

    def brain_key(self, split: str) -> str:
        """Return the key of the group that makes the brain samples of a split."""
        return f"{self.source_verb if split in self.splits() else 'convert'}/{split}"

    def decoded_name(self, network: str) -> str:
        """Return the name under which a network's decoders are stored.

        `vgg`; with `units` also which: `vgg@1000`, `vgg@every16`, `vgg@file-<8 hexadecimal digits of the content>`.
        """
        return network if self.units is None else f"{network}@{unit_choice.label(self.units)}"

    def network_of(self, decoded_name: str) -> str:
        """Return the network whose decoders are stored under `decoded_name`.

        Raises
        ------
        StudyError
            If the study has none: a file of units changed while it was in use.
        """
        known = {self.decoded_name(name): name for name in self.networks}
        if decoded_name not in known:
            raise StudyError(
                "units", [f"{decoded_name!r} is none of {', '.join(known)}; did the file of units change? Start anew"]
            )
        return known[decoded_name]


def base_subject(split: str) -> str:
    """Return the subject of a split.

    >>> base_subject("S1.r1f03"), base_subject("S1")
    ('S1', 'S1')
    """
    return split.partition(".")[0]
