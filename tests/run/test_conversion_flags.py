"""`--via` and `--pool`."""

from __future__ import annotations

import pytest
import yaml

from hpc_recon.core.errors import StudyError
from hpc_recon.run import cli, conversion_flags

CONTENT = {
    "name": "two",
    "subjects": ["S1", "S2", "S3"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"preset": "easy"},
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "convert": {"pairs": ["S1-S2", "S3-S2"]},
}


@pytest.fixture
def write(tmp_path):
    def written(**changes):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in (CONTENT | changes).items() if v is not None}))
        return path

    return written


def test_via_names_the_tiles_of_the_converted_split(write):
    assert conversion_flags.via_pattern("S1-S2", write(), ()) == "decode/S2.from-S1/*"
    assert conversion_flags.via_pattern("S2-S1", write(), ["convert.pairs=all"]) == "decode/S1.from-S2/*"


def test_via_of_a_pair_that_is_not_converted_names_those_that_are(write):
    with pytest.raises(StudyError, match=r"\(S1-S2, S3-S2\), got 'S2-S1'"):
        conversion_flags.via_pattern("S2-S1", write(), ())
    with pytest.raises(StudyError, match="has no section `convert:`; add one and run `convert`"):
        conversion_flags.via_pattern("S1-S2", write(convert=None), ())


def test_via_and_only_exclude_each_other(write, capsys):
    command = ["--study", str(write()), "--via", "S1-S2", "--only", "decode/*", "--dry-run"]
    assert cli.main("decode", command) == 2
    assert "--via S1-S2 and --only decode/* both choose tiles; give one of them" in capsys.readouterr().err


def test_pool_is_an_override_of_the_study(write, capsys):
    """Two sources go into S2 at most."""
    assert cli.main("convert", ["--study", str(write()), "--pool", "1", "--pool", "3", "--dry-run"]) == 2
    assert "convert.pool: 3 sources are asked for, but no subject has more than 2" in capsys.readouterr().err
