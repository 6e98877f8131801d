"""What a tile of `screen` needs; what it computes is tested through the verb (tests/test_screen.py)."""

from __future__ import annotations

from hpc_recon.decoding import screening
from hpc_recon.stores import layout


class Sizes:
    """Sizes of a study whose data are not there."""

    def n_voxels(self, subject: str, roi: str) -> int:
        return 400

    def n_samples(self, subject: str, dataset: str) -> int:
        return 200

    def n_stimuli(self) -> int:
        return 120

    def n_items(self, subject: str, dataset: str) -> int:
        return 20


def test_one_tile_a_network_subject_and_roi_that_grows_with_units(make_study):
    study = make_study(subjects=["S1", "S2"])
    few, many = (screening.tiles(study, Sizes(), {"a": {"x": n, "y": n}}) for n in (100, 10_000))
    assert [tile.group.path for tile in few] == [("scores", "a", s, "VC") for s in ("S1", "S2")]
    assert few[0].group.upstream == ("simulate/S1", "screen/features/a")
    assert many[0].need.host_bytes > few[0].need.host_bytes > 0
    assert many[0].need.seconds > few[0].need.seconds > 0


def test_grids_take_longer(make_study):
    fixed = make_study(fit={"n_voxels": 50, "alpha": 1})
    grid = make_study(fit={"n_voxels": 50, "alpha": {"grid": [1, 10, 100]}})
    one, other = (screening.tiles(study, Sizes(), {"a": {"x": 500}})[0] for study in (fixed, grid))
    assert other.need.seconds > one.need.seconds
    assert one.group.settings != other.group.settings


def test_tables_lie_beside_the_ranking():
    assert screening.layers_table("a", "S1", "VC").path == "screen/a/S1/VC/layers.json"
    assert screening.units_table("a", "S1", "VC").path.startswith("screen/a/")
    assert layout.screened("a", "x").path == "screen.zarr/a/x"
