"""The file of expected accuracies."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_recon.core import expected
from hpc_recon.core.errors import DamagedStore

ENTRIES = [
    expected.Expected("S1", "VC", "natural", "vgg", "vgg@100", "conv1_1", 0.25, 0.01, 100, 4096),
    expected.Expected("S1", "VC", "natural", "vgg", "vgg@100", "fc", None, None, 1, 30),
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = expected.path_of(tmp_path)
    assert expected.read(path) == []
    assert expected.write(path, ENTRIES) == path
    assert expected.read(path) == ENTRIES


@pytest.mark.parametrize("text", ["", "{}", '{"layers": [{"split": "S1"}]}'])
def test_a_damaged_file_names_the_command(tmp_path: Path, text: str) -> None:
    path = expected.path_of(tmp_path)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DamagedStore, match=r"hpc_recon\.evaluate --redo"):
        expected.read(path)
