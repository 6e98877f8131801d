"""The tiles that score latents (what they find is in tests/reconstruction/test_latent.py, from brain to scores)."""

from __future__ import annotations

import pytest

from hpc_recon import evaluate, extract, ingest
from hpc_recon.core.errors import MissingStore
from hpc_recon.evaluation import latents
from hpc_recon.stores import shapes

GENERATOR = {"kind": "pggan", "weights": "g.pt"}


def test_a_tile_for_each_entry_of_the_method_and_none_without(latent_study, run_verb):
    entry = {"method": "latent", "network": "z", "generator": GENERATOR, "attributes": {"age": {"file": "age.npy"}}}
    study = latent_study({"one": entry, "two": {**entry, "calibration": "norm"}})
    run_verb(ingest, study)
    run_verb(extract, study)
    tiles = latents.tiles(study, shapes.read(study))
    assert [tile.group.key for tile in tiles] == [f"evaluate/latents/{v}/S1/VC/natural" for v in ("one", "two")]
    assert [tile.stage for tile in evaluate.plan(study, shapes.read(study))].count("latents") == 2
    with pytest.raises(MissingStore, match="reconstruct --redo"):
        latents.score(study, tiles[0])
    assert latents.read(study) == {}
