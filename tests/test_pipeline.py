"""The pipeline: which verbs it runs."""

import pytest

from hpc_recon import pipeline
from hpc_recon.core.errors import StudyError


def test_chain():
    names = pipeline.chain("simulate", start=None, through=None)
    assert names == ["simulate", "extract", "fit", "decode", "reconstruct", "evaluate", "report"]
    assert pipeline.chain("ingest", start="fit", through="decode") == ["fit", "decode"]
    with pytest.raises(StudyError, match="makes its data with 'simulate', not 'ingest'"):
        pipeline.chain("simulate", start="ingest", through=None)
    with pytest.raises(StudyError, match="'decode' comes after 'fit'"):
        pipeline.chain("simulate", start="decode", through="fit")
    with pytest.raises(StudyError, match="did you mean 'decode'"):
        pipeline.chain("simulate", start="decoed", through=None)


def test_bad_options_end_with_2(tmp_path, capsys):
    assert pipeline.main(["--study", str(tmp_path / "absent.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
