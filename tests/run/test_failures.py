"""Traceback files of failed tiles."""

from hpc_recon.core.tiles import Group, Tile
from hpc_recon.run import failures


def test_recorded_found_and_forgotten(tmp_path):
    one, two = (Tile(Group("fit", ("S1", "VC")), "fit", i, i + 1) for i in range(2))
    path = failures.record(tmp_path, two, "Traceback: it broke")
    assert path == tmp_path / "logs" / "fit__S1__VC__fit-00000001-00000002.txt"
    assert path.read_text().startswith("fit/S1/VC/fit-00000001-00000002\n")
    assert failures.failed(tmp_path, [one, two]) == [two]
    assert failures.count(tmp_path, "fit") == 1
    assert failures.count(tmp_path, "decode") == 0
    failures.forget(tmp_path, two)
    failures.forget(tmp_path, two)
    assert failures.count(tmp_path, "fit") == 0


def test_long_names_fit_a_file_system_and_stay_distinct(tmp_path):
    groups = [Group("fit", ("x" * 120, "y" * 120, last)) for last in ("a", "b")]
    paths = {failures.record(tmp_path, Tile(group, "fit", 0, 1), "why") for group in groups}
    assert len(paths) == 2
