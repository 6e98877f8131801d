"""Status, from receipts alone."""

import yaml

from hpc_recon import status
from hpc_recon.core import receipts
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.run import failures, ledger


def write_study(folder):
    content = {
        "name": "tiny",
        "workspace": str(folder / "ws"),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {"preset": "easy"},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_an_untouched_study(tmp_path, capsys):
    assert status.main(["--study", write_study(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "no controller runs" in printed
    assert "reconstruct" in printed
    assert "ingest" not in printed
    assert not (tmp_path / "ws").exists()


def test_counts(tmp_path, capsys):
    workspace = tmp_path / "ws"
    plan = [Tile(Group("fit", ("S1", layer)), "fit", i, i + 1) for layer in ("a", "b") for i in range(4)]
    ledger.commit(workspace, plan, ledger.survey(workspace, plan))
    for tile in plan[:5]:
        receipts.write(workspace, tile, [], {})
    failures.record(workspace, plan[5], "why")
    row = next(row for row in status.survey(workspace) if row.verb == "fit")
    assert (row.groups, row.total, row.done, row.failed, row.left) == (2, 8, 5, 1, 2)
    assert status.main(["--study", write_study(tmp_path)]) == 1
    assert "fit" in capsys.readouterr().out
