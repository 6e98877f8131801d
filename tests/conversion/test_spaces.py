"""The common space of all subjects."""

from __future__ import annotations

import numpy as np

from hpc_recon.conversion import blocks, spaces
from hpc_recon.numerics import alignment
from hpc_recon.stores import arrays, brain, layout


def test_converters_go_by_way_of_the_space_of_all_subjects(fit):
    study = fit(method="hyperalignment", alpha="published", pairs=["S1-S2"], blocks=["V1", "VC"])
    together = spaces.together(study)
    mask = {s: np.flatnonzero(brain.read_roi(study.workspace, s, "V1")) for s in ("S1", "S2")}
    sides = []
    for subject, rows in zip(study.subjects, together.rows, strict=True):
        own = brain.read_brain(study.workspace, subject, "training").samples[rows][:, mask[subject]].astype(np.float64)
        sides.append((own - own.mean(axis=0)) / own.std(axis=0, ddof=1))
    first, second = alignment.hyperalign(sides)
    found = {where.name: block for where, block in blocks.read(study, "S2.from-S1")}
    np.testing.assert_allclose(found["V1"].dense(), first @ second.T, atol=1e-5)
    assert set(found) == {"V1", "VC"}
    for subject, R in zip(study.subjects, (first, second), strict=True):
        stored = arrays.read(study.workspace, layout.space("V1", subject, "map"))
        np.testing.assert_allclose(stored, R, atol=1e-6)


def test_test_samples_are_never_read(fit, monkeypatch):
    asked = []
    read = arrays.read
    monkeypatch.setattr(arrays, "read", lambda place, ref, *more: (asked.append(ref.path), read(place, ref, *more))[1])
    fit(method="hyperalignment", alpha="published", pairs=["S1-S2"])
    assert any("S1/training" in path for path in asked)
    assert not [path for path in asked if "natural" in path]


def test_a_template_of_the_pair_needs_no_space(with_options):
    assert spaces.has_space(with_options(method="hyperalignment", alpha="published"))
    assert not spaces.has_space(with_options(method="hyperalignment", alpha="published", template="pair"))
    assert not spaces.has_space(with_options())
