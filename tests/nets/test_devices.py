from __future__ import annotations

import pytest
import torch

from hpc_recon.nets import devices


def test_threads_grow_with_the_work_up_to_what_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPC_RECON_THREADS", "8")
    assert [devices.n_threads(n) for n in (0, 10**5, 3 * 2**20, 10**9)] == [1, 1, 3, 8]


def test_settings_are_put_back_even_after_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPC_RECON_THREADS", "3")
    before = torch.get_num_threads()
    tf32 = torch.backends.cudnn.allow_tf32

    def fail() -> None:
        with devices.settings(10**9):
            assert torch.get_num_threads() == 3
            assert not torch.backends.cudnn.allow_tf32
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == before
    assert torch.backends.cudnn.allow_tf32 == tf32


def test_xp_numpy_keeps_networks_on_the_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("HPC_RECON_XP", "numpy")
    assert devices.choose() == "cpu"
    monkeypatch.setenv("HPC_RECON_XP", "auto")
    assert devices.choose() == "cuda"
