"""Statistics of reference stimuli where nothing is fitted (their values: tests/exchange/test_decoded_features.py)."""

from __future__ import annotations

import numpy as np

from hpc_recon import fit
from hpc_recon.core import receipts
from hpc_recon.core.decode_options import Decode
from hpc_recon.stores import arrays, brain, layout, shapes, statistics

FILES = {"net": {"folders": "lab"}}


def test_tiles_write_what_they_project_and_need_no_brain(decodable, monkeypatch) -> None:
    study, data = decodable(rois=["V1", "VC"], decode={"files": FILES})
    monkeypatch.setattr(brain, "read_brain", None)
    monkeypatch.setattr(brain, "read_labels", None)
    planned = fit.plan(study, shapes.read(study))
    assert [tile.id for tile in planned] == [
        *(f"fit/S1/{roi}/_brain/statistics-00000000-00000001" for roi in ("V1", "VC")),
        *(
            f"fit/S1/{roi}/net/{layer}/fit-00000000-{n:08d}"
            for roi in ("V1", "VC")
            for layer, n in (("conv", 100), ("fc", 30))
        ),
    ]
    fit.prepare(study)
    for tile in planned:
        files = fit.work(study, tile)
        assert len(files) == tile.need.files_out
        receipts.write(study.workspace, tile, files, {})
    rows = statistics.read(study.workspace, "S1", "VC", "rows")
    np.testing.assert_array_equal(rows, np.flatnonzero(data.dataset == "training"))
    stats = arrays.read(study.workspace, layout.decoder("S1", "V1", "net", "fc", "stats"))
    assert stats[3].tolist() == [0.0, 0.25, 0.0]  # a constant unit has scale 0


def test_settings_differ_from_those_of_decoders(decodable) -> None:
    made = {}
    study, _ = decodable()
    for name, files in (("read", FILES), ("fitted", {})):
        changed = study.model_copy(update={"decode": Decode.model_validate({"files": files})})
        made[name] = {tile.group.key: tile.group.settings for tile in fit.plan(changed, shapes.read(changed))}
    shared = made["read"].keys() & made["fitted"].keys()
    assert len(shared) == 3
    assert all(made["read"][key] != made["fitted"][key] for key in shared)
