"""Converters in the authors' files predict what ours do."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hpc_recon import convert, simulate
from hpc_recon.conversion import blocks
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.exchange import export_converters, exporting
from hpc_recon.exchange.exporting import Selection
from hpc_recon.formats import transformations
from hpc_recon.stores import brain


@pytest.fixture
def study(make_study, run_verb):
    """Two blocks, one of which reads few voxels; the converters of one pair, with their receipts."""
    made = make_study(
        subjects=["S1", "S2"],
        simulate={"image_size": 16, "n_training": 20, "n_natural": 2, "n_voxels": 50, "training_repeats": 1},
        convert={"pairs": ["S1-S2"], "alpha": 5, "blocks": ["V1", "VC"], "n_voxels": 4},
    )
    run_verb(simulate, made)
    chosen = SimpleNamespace(
        plan=lambda study, sizes: [t for t in convert.plan(study, sizes) if t.stage == "converters"],
        prepare=convert.prepare,
        work=convert.work,
    )
    run_verb(chosen, made)
    return made


def test_exported_converters_predict_converted_samples(study, tmp_path):
    batches = list(export_converters.converters(study, Selection()))
    exporting.run(exporting.plan(tmp_path / "out", batches, overwrite=False, workspace=study.workspace))
    found = transformations.read(tmp_path / "out" / "S12S2" / "model")
    assert found.M.shape == (51, 50)
    assert (np.count_nonzero(found.M[:-1], axis=0) <= 4).all()
    X = brain.read_brain(study.workspace, "S1", "natural").samples
    predicted = found.predict(X)
    for where, block in blocks.read(study, "S2.from-S1"):
        np.testing.assert_allclose(
            predicted[:, where.target], block.predict(X[:, where.source]), rtol=1e-4, atol=1e-4 * X.std()
        )


def test_other_targets_and_studies_without_converters(study):
    assert list(export_converters.converters(study, Selection(subjects=("S1",)))) == []
    with pytest.raises(StudyError, match="no section `convert:`"):
        list(export_converters.converters(study.model_copy(update={"convert": None}), Selection()))
    missing = study.convert.model_copy(update={"pairs": ("S2-S1",)})
    with pytest.raises(MissingStore, match=r"convert/converters/S1\.from-S2 is not finished"):
        list(export_converters.converters(study.model_copy(update={"convert": missing}), Selection()))
