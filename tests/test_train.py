"""The verb train, from the command line."""

from __future__ import annotations

from hpc_recon import pipeline, train


def test_the_chain_has_it_where_a_study_trains():
    assert "train" not in pipeline.chain("simulate", start=None, through=None)
    names = pipeline.chain("simulate", start="decode", through="reconstruct", trains=True)
    assert names == ["decode", "train", "reconstruct"]


def test_a_study_that_trains_nothing_says_so(make_study, tmp_path, capsys):
    make_study()
    assert train.main(["--study", str(tmp_path / "study.yaml")]) == 0
    assert "the study asks for none of it" in capsys.readouterr().err
