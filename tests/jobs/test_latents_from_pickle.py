"""The script that turns a published pickle into arrays: what it reads, and that nothing of a pickle runs."""

from __future__ import annotations

import os
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "jobs" / "latents_from_pickle.py"
main = runpy.run_path(str(SCRIPT))["main"]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_parts_of_a_pickle_become_named_arrays(tmp_path, protocol, capsys):
    rng = np.random.default_rng(0)
    shapes = {"X_train": (5, 4), "T_train": (5, 3), "X_test": (2, 4), "T_test": (2, 3)}
    parts = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    (tmp_path / "a.dat").write_bytes(pickle.dumps(([*parts["X_train"]], *[*parts.values()][1:]), protocol=protocol))
    assert main([str(tmp_path / "a.dat"), str(tmp_path / "a.npz")]) == 0
    found = np.load(tmp_path / "a.npz", allow_pickle=False)
    assert list(found) == list(parts)
    for name, values in parts.items():
        np.testing.assert_array_equal(found[name], values)
    assert "T_train (5, 3)" in capsys.readouterr().out
    (tmp_path / "b.dat").write_bytes(pickle.dumps({"z": [[1.0, 2.0]]}, protocol=protocol))
    assert main([str(tmp_path / "b.dat"), str(tmp_path / "b.npz")]) == 0
    assert np.load(tmp_path / "b.npz")["z"].tolist() == [[1, 2]]


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("content", ["code", "names", "text", "damaged", "exists", "nan"])
def test_everything_else_is_refused_and_nothing_runs(tmp_path, content, capsys):
    made = {
        "code": ([1.0], Evil(str(tmp_path / "evil")), [1], [1]),
        "names": ([1.0], [1.0]),
        "text": (["a"], [1], [1], [1]),
        "nan": ([np.nan], [1], [1], [1]),
    }
    (tmp_path / "a.dat").write_bytes(pickle.dumps(made.get(content, ([1], [1], [1], [1]))))
    if content == "damaged":
        (tmp_path / "a.dat").write_bytes(b"\x80\x04no")
    if content == "exists":
        (tmp_path / "a.npz").write_bytes(b"x")
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "a.dat"), str(tmp_path / "a.npz")])
    assert stopped.value.code == 2
    reasons = {"code": "could run code", "names": "2 parts, but 4 names", "text": "no array of numbers"}
    reasons |= {"exists": "exists already", "nan": "not finite", "damaged": "error"}
    assert reasons[content] in capsys.readouterr().err
    assert not (tmp_path / "evil").exists()
    assert (tmp_path / "a.npz").exists() == (content == "exists")


def test_a_name_that_numpy_would_change_is_refused(tmp_path, capsys):
    """`numpy.savez` adds .npz: an older `latents.npz` was replaced."""
    (tmp_path / "a.dat").write_bytes(pickle.dumps([[1.0]]))
    (tmp_path / "latents.npz").write_bytes(b"older")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "a.dat"), str(tmp_path / "latents"), "--names", "x"])
    assert "does not end in .npz" in capsys.readouterr().err
    assert (tmp_path / "latents.npz").read_bytes() == b"older"
