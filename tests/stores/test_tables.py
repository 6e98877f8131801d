from __future__ import annotations

import json

import pytest

from hpc_recon.core.errors import DamagedStore, DataError
from hpc_recon.stores import tables
from hpc_recon.stores.layout import Ref

TABLE = Ref("t.json", "ingest")


def test_columns_come_back_equal(tmp_path):
    columns = {"label": ["ä", "b"], "run": [1, 2], "vividness": [0.1, 1e-17]}
    ref = Ref("deep.zarr/columns.json", "ingest")
    assert tables.write_table(tmp_path, ref, columns) == tmp_path / "deep.zarr" / "columns.json"
    assert tables.read_table(tmp_path, ref) == columns


def test_unequal_lengths_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"equal lengths, got \{'a': 1, 'b': 2\}"):
        tables.write_table(tmp_path, TABLE, {"a": [1], "b": [1, 2]})


def test_nan_is_refused_with_column_and_row(tmp_path):
    with pytest.raises(DataError, match=r"column 'v' of .*t\.json has 2 that are NaN or infinite \(first at row 1\)"):
        tables.write_table(tmp_path, TABLE, {"v": [0.0, float("nan"), float("inf")]})
    assert not (tmp_path / "t.json").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 1}', json.dumps({"format": 9, "made_by": "", "columns": {}})]
)
def test_damaged_or_foreign_tables_are_refused(tmp_path, content):
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(DamagedStore, match=r"the table .*t\.json is damaged"):
        tables.read_table(tmp_path, TABLE)


def test_absent_table_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        tables.read_table(tmp_path, TABLE)


def test_gaps_are_null_where_they_may_be(tmp_path):
    ref = Ref("x/columns.json", "ingest")
    tables.write_table(tmp_path, ref, {"a": [1.0, float("nan")], "label": ["x", "y"]}, gaps=True)
    assert '"a": [1.0, null]' in (tmp_path / "x/columns.json").read_text()
    assert tables.read_table(tmp_path, ref) == {"a": [1.0, None], "label": ["x", "y"]}
    with pytest.raises(DataError, match="1 that are NaN or infinite"):
        tables.write_table(tmp_path, ref, {"a": [float("inf")]}, gaps=True)
