"""What all trainings have in common: shared keys, entries of seeds, mistakes that name subjects and ROIs."""

from __future__ import annotations

from typing import get_args

import pytest

from hpc_recon.core import config
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.core.training_options import TrainingOptions, by_seed

CLASSES = get_args(get_args(config.Train)[0])
TINY = {"method": "end_to_end", "profile": "tiny"}


@pytest.mark.parametrize("options", CLASSES)
def test_every_training_has_the_shared_keys_and_defaults_of_its_own(options):
    assert issubclass(options, TrainingOptions)
    shared = set(TrainingOptions.model_fields)
    assert shared <= set(options.model_fields)
    required = {name for name in shared if options.model_fields[name].is_required()}
    assert required == {"method"}
    for name in shared:  # a default of its own takes neither the limits nor the description away
        own, base = options.model_fields[name], TrainingOptions.model_fields[name]
        assert own.description
        assert {*map(repr, base.metadata)} <= {*map(repr, own.metadata)} or name == "method"


@pytest.mark.parametrize("key", ["steps", "steps_per_tile", "checkpoint_every", "log_every", "batch"])
@pytest.mark.parametrize("options", CLASSES)
def test_counts_begin_at_one(options, key):
    field = options.model_fields[key]
    assert [rule.ge for rule in field.metadata if hasattr(rule, "ge")] == [1]


def test_seeds_make_entries_and_none_leave_them_as_they_are():
    entry = EndToEndTraining(**TINY, seed=4)
    assert by_seed({"a": entry}, ()) == {"a": entry}
    found = by_seed({"a": entry, "b": entry}, (7, 0))
    assert {name: own.seed for name, own in found.items()} == {"a.seed7": 7, "a.seed0": 0, "b.seed7": 7, "b.seed0": 0}


def test_unknown_subjects_and_rois_are_named(make_study):
    study = make_study()
    found = EndToEndTraining(**TINY, subjects=["S9"], rois=["Q"]).problems(study, "train.e")
    assert [problem.partition(";")[0] for problem in found] == [
        "train.e.rois: unknown name 'Q'",
        "train.e.subjects: unknown name 'S9'",
    ]
    assert EndToEndTraining(**TINY).problems(study, "train.e") == []


def test_only_what_learns_from_images_has_their_size():
    sizes = {}
    for options in CLASSES:
        given = {"shape": {"network": "s"}} if "shape" in options.model_fields else {}
        if "generator" in options.model_fields:
            given = {"network": "z", "generator": {"kind": "pggan", "weights": "random:0"}}
        method = get_args(options.model_fields["method"].annotation)[0]
        sizes[method] = options(method=method, **given).pictures_size
    assert sizes == {"end_to_end": 248, "shape_semantic": 256, "latent_layer": None}
