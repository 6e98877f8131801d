from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_recon.core.errors import DamagedStore
from hpc_recon.stores import metadata


def _edit(stored, change) -> None:
    path = stored.workspace / stored.ref.path / "zarr.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_describe_returns_everything(stored):
    found = metadata.describe(stored.workspace, stored.ref)
    assert found == metadata.Description(
        (10, 23), np.dtype("float32"), (4, 16), (4, 8), {"unit_shape": [23]}, stored.made_by
    )


def test_changed_shape_breaks_the_seal(stored):
    _edit(stored, lambda content: content["shape"].__setitem__(0, 11))
    with pytest.raises(DamagedStore, match=r"changed after they were written .* make it anew with"):
        metadata.describe(stored.workspace, stored.ref)


def test_other_format_is_refused(stored):
    _edit(stored, lambda content: content["attributes"]["hpc_recon"].__setitem__("format", 2))
    with pytest.raises(DamagedStore, match="has format 2, but this program reads format 1"):
        metadata.describe(stored.workspace, stored.ref)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"shape": [1]}'])
def test_garbled_metadata_are_damage_and_name_the_file(stored, text):
    path = stored.workspace / stored.ref.path / "zarr.json"
    path.write_text(text)
    with pytest.raises(DamagedStore, match=r"the metadata .*zarr\.json are damaged .*hpc_recon\.extract"):
        metadata.describe(stored.workspace, stored.ref)
