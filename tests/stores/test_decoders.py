"""Shards of wide decoders hold fewer units; arrays that are there go on as they were cut."""

from __future__ import annotations

import numpy as np

from hpc_recon import decode, fit
from hpc_recon.stores import arrays, decoders, layout, shapes

PLACE = ("S1", "VC", "net", "conv")
ONE_LAYER = {"net": {"architecture": "vgg11_quarter", "layers": ["conv"]}}
#: Bytes of the weights of 32 units of 12 voxels, and not quite of one weight more.
LIMIT = 4 * 12 * 32 + 3
FIXED = {"n_voxels": 12, "alpha": 5.0}
#: The voxels of a layer are chosen after its tiles were planned, and each unit has a penalty of its own.
CHOSEN = {"n_voxels": {"grid": [4, 12]}, "alpha": {"grid": [1.0, 30.0], "per": "unit"}, "folds": 3}


def planned(study, module=fit):
    """Return the ranges of the tiles of `conv`."""
    tiles = module.plan(study, shapes.read(study))
    return [(t.start, t.stop) for t in tiles if t.group.path == PLACE and t.stage in ("fit", "decode")]


def written(study):
    """Return all parts of the decoders of `conv`, and its decoded features."""
    refs = {part: layout.decoder(*PLACE, part) for part in layout.DECODER_PARTS}
    refs["decoded"] = layout.decoded("S1", "VC", "natural", "net", "conv")
    return {part: arrays.read(study.workspace, ref) for part, ref in refs.items()}


def test_narrow_shards_hold_the_same_decoders(decodable, run_verb, monkeypatch, tmp_path) -> None:
    study, _ = decodable(fit=CHOSEN, networks=ONE_LAYER, data={"shapes": {"conv": (4, 5, 5)}})
    run_verb(fit, study)
    assert planned(study) == [(0, 100)]
    run_verb(decode, study)
    whole = written(study)
    workspace = str(tmp_path / "narrow")
    narrow, _ = decodable(fit=CHOSEN, networks=ONE_LAYER, data={"shapes": {"conv": (4, 5, 5)}}, workspace=workspace)
    with monkeypatch.context() as limited:
        limited.setattr(layout, "WEIGHT_BYTES_PER_SHARD", LIMIT)
        tiles = run_verb(fit, narrow)
        cut = planned(narrow)
        assert cut == [(0, 32), (32, 64), (64, 96), (96, 100)]
        needs = {t.need.bytes_out for t in tiles if t.group.path == PLACE and t.stage == "fit" and t.start < 96}
        assert needs == {32 * (12 * 6 + 12)}  # as before, alpha is not counted
        run_verb(decode, narrow)
        assert planned(narrow, decode) == [(0, 100)]
    for ref in (layout.decoder(*PLACE, part) for part in layout.DECODER_PARTS):
        found = arrays.describe(narrow.workspace, ref)
        assert (found.shards[0], found.chunks[0]) == (32, 4)
        assert len(list((narrow.workspace / ref.path / "c").iterdir())) == 4
    for part, values in written(narrow).items():
        assert values.tobytes() == whole[part].tobytes(), part


def test_decoders_of_before_go_on_as_they_are(decodable, run_verb, monkeypatch) -> None:
    study, _ = decodable(fit=FIXED, networks=ONE_LAYER, data={"shapes": {"conv": (4, 5, 5)}})
    run_verb(fit, study)
    before = written_decoders(study)
    monkeypatch.setattr(layout, "WEIGHT_BYTES_PER_SHARD", LIMIT)
    assert planned(study) == [(0, 100)]
    run_verb(fit, study)  # prepare refuses arrays that are cut otherwise
    assert written_decoders(study) == before


def written_decoders(study):
    """Return the content of every shard by name."""
    folder = study.workspace / "decoders.zarr"
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_predictions_of_all_voxels_are_never_cut_by_width(decodable, monkeypatch) -> None:
    study, _ = decodable(fit={"n_voxels": "all", "alpha": 5.0, "decode": True})
    monkeypatch.setattr(layout, "WEIGHT_BYTES_PER_SHARD", 4)
    assert planned(study) == [(0, 100)]


def test_cut_of_an_array_that_is_not_there(tmp_path) -> None:
    cut = decoders.cut(tmp_path, PLACE, n_units=100_000, width=15_724)
    assert cut(15_724) == layout.Geometry((4096, 15_724), (512, 15_724))
    assert cut(3) == layout.Geometry((4096, 3), (512, 3))
    assert decoders.units_per_shard(tmp_path, PLACE, n_units=100_000, width=15_724) == 4096
    assert 4096 * 15_724 * 4 <= layout.WEIGHT_BYTES_PER_SHARD < 8192 * 15_724 * 4
    assert np.prod(cut(15_724).chunks) * 4 <= 2**25
