from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.numerics import xp


def fake_cupy(n_devices):
    """A module with what `xp.module` asks of cupy; None: the driver is missing."""

    class CUDARuntimeError(RuntimeError):
        pass

    def count():
        if n_devices is None:
            raise CUDARuntimeError("no driver")
        return n_devices

    runtime = types.SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CUDARuntimeError)
    module = types.ModuleType("cupy")
    module.cuda = types.SimpleNamespace(runtime=runtime)
    return module


def test_numpy_by_name_and_by_environment(monkeypatch) -> None:
    assert xp.module("numpy") is np
    monkeypatch.setenv(xp.VARIABLE, "numpy")
    assert xp.module() is np


@pytest.mark.parametrize("n_devices", [0, None])
def test_auto_is_numpy_without_a_device(monkeypatch, n_devices) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(n_devices))
    assert xp.module("auto") is np
    with pytest.raises(StudyError, match="finds no CUDA device"):
        xp.module("cupy")


def test_auto_is_cupy_with_a_device(monkeypatch) -> None:
    cupy = fake_cupy(2)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.delenv(xp.VARIABLE, raising=False)
    assert xp.module() is cupy
    assert xp.module("cupy") is cupy


def test_without_cupy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # import raises ImportError
    assert xp.module("auto") is np
    with pytest.raises(StudyError, match=r"pip install hpc_recon\[cuda12\]"):
        xp.module("cupy")


def test_unknown_names_are_refused(monkeypatch) -> None:
    with pytest.raises(StudyError, match=r"(?s)--xp.*'numpi'; did you mean 'numpy'"):
        xp.module("numpi")
    monkeypatch.setenv(xp.VARIABLE, "torch")
    with pytest.raises(StudyError, match=xp.VARIABLE):
        xp.module()


def test_namespace() -> None:
    assert xp.namespace(np.zeros(1), None, 2.0) is np
    other = type("ndarray", (), {"dtype": float, "__module__": "jax.array"})()
    with pytest.raises(TypeError, match="jax, numpy"):
        xp.namespace(np.zeros(1), other)


def test_to_numpy() -> None:
    a = np.arange(3)
    assert xp.to_numpy(a) is a
    assert xp.to_numpy(types.SimpleNamespace(get=lambda: a)) is a
