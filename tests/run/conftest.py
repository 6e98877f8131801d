"""A small study on disk and the fake verb, importable here and by workers."""

import json
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent


@pytest.fixture
def write_study(tmp_path):
    """Return a function that writes a study whose description tells the fake verb what to do."""

    def write(name="study.yaml", workspace="ws", alpha=100.0, **orders):
        content = {
            "name": "tiny",
            "workspace": str(tmp_path / workspace),
            "subjects": ["S1"],
            "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
            "simulate": {"preset": "easy"},
            "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
            "fit": {"alpha": alpha},
            "report": {"description": json.dumps(orders)},
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def fake(monkeypatch):
    """The fake verb under the name `fit`."""
    from hpc_recon.run.verbs import Verb

    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    yield Verb("fit", "fake_verb", "pretend")
    sys.modules.pop("fake_verb", None)
