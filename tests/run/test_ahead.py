"""What a later command would refuse is refused as soon as sizes are known, and nothing else is."""

import pytest

from hpc_recon import extract, pipeline, simulate
from hpc_recon.core.cluster_file import load_cluster
from hpc_recon.core.errors import DataError
from hpc_recon.run import known_shapes
from hpc_recon.run.ahead import Ahead
from hpc_recon.run.clusters import Place
from hpc_recon.run.options import Jobs
from hpc_recon.run.verbs import read_shapes, step

NETWORK = {"architecture": "vgg11_quarter", "weights": "random:0", "layers": ["conv1_1"]}
GENERATOR = {"method": "icnn", "network": "vgg", "latent": {"generator": "small", "weights": "absent.pt"}}
CHAIN = [step(name) for name in ("simulate", "extract", "fit", "decode", "reconstruct", "evaluate")]


def ahead_of(study):
    return Ahead.of(CHAIN, study, Place("local", load_cluster("local"), Jobs(1, 1), "auto", None))


def test_a_file_that_the_fifth_command_needs_is_missed_before_the_first(make_study, tmp_path, capsys):
    make_study(networks={"vgg": NETWORK}, reconstruct={"generator": GENERATOR})
    assert pipeline.main(["--study", str(tmp_path / "study.yaml")]) == 2
    printed = capsys.readouterr().err
    assert "latent.weights: the file" in printed
    assert "absent.pt cannot be read" in printed
    assert not (tmp_path / "runs").exists()
    # commands up to the one that needs it are no business of that file
    assert pipeline.main(["--study", str(tmp_path / "study.yaml"), "--through", "decode", "--dry-run"]) == 0


def test_what_only_data_tell_is_looked_at_when_they_are_there(make_study, run_verb, monkeypatch):
    """As with real data whose study declares no sizes: the shape of a layer is known once it is stored."""
    monkeypatch.setattr(known_shapes, "read", lambda study: known_shapes.KnownShapes(read_shapes(study), None))
    masked = {"method": "icnn", "network": "vgg", "masks": {"conv1_1": {"channels": [999]}}}
    study = make_study(networks={"vgg": NETWORK}, reconstruct={"masked": masked})
    ahead = ahead_of(study)
    ahead.look()
    assert [verb.name for verb in ahead.left] == ["extract", "fit", "decode", "reconstruct", "evaluate"]
    run_verb(simulate, study)
    ahead.look()
    assert [verb.name for verb in ahead.left] == ["fit", "decode", "reconstruct", "evaluate"]
    run_verb(extract, study)
    with pytest.raises(DataError, match="masked: layer conv1_1 has channels 0 to"):
        ahead.look()


def test_a_command_is_planned_once(make_study):
    study = make_study(networks={"vgg": NETWORK})
    ahead = ahead_of(study)
    ahead.look()
    assert ahead.left == []
    ahead.look()
