"""What analyses print is there, or is said not to be."""

from __future__ import annotations

from hpc_recon.run import analyses
from hpc_recon.run.options import Options


def test_an_answer_is_found_or_said_to_be_missing(make_study, tmp_path, capsys):
    study, options = make_study(), Options(study=tmp_path / "study.yaml")
    assert analyses.finished("screen", options, missing="ranking") is None
    assert "screen: no ranking before all tiles are done" in capsys.readouterr().out
    path = study.workspace / "screen" / "screen.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    found = analyses.finished("screen", options, missing="ranking")
    assert found is not None
    assert (found.study, found.path) == (study, path)
    assert analyses.finished("screen", Options(study=options.study, limit=3), missing="ranking") is None
