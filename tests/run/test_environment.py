"""A node whose environment differs is named once."""

from __future__ import annotations

from typing import Any

from hpc_recon.run import environment
from hpc_recon.run.environment import Inspector, describe, differences


class FakeClient:
    """Answers like a client whose workers come and go."""

    def __init__(self, answers: dict[str, dict[str, str]]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        return {"workers": dict.fromkeys(self.answers)}

    def run(self, function: Any, *, workers: list[str], on_error: str) -> dict[str, Any]:
        assert function is environment.describe
        assert on_error == "ignore"
        self.asked.append(list(workers))
        return {address: self.answers[address] for address in workers}


def test_this_process_describes_itself() -> None:
    own = describe()
    assert own["host"]
    assert own["version of numpy"]
    assert own["BLAS kernels"]
    assert differences(own, own) == []


def test_a_missing_package_is_a_difference() -> None:
    assert differences({"host": "a"}, {"host": "b", "version of torch": "2.6"}) == [
        "version of torch: none (controller: 2.6)"
    ]


def test_each_worker_is_asked_once_and_each_host_named_once() -> None:
    own = {"host": "login", "version of numpy": "2.4"}
    client = FakeClient({"w1": {"host": "n1", "version of numpy": "2.4"}})
    said: list[str] = []
    inspector = Inspector(client, said.append, own=own)
    inspector.look()
    assert said == []
    client.answers |= {w: {"host": "n2", "version of numpy": "2.3"} for w in ("w2", "w3")}
    inspector.look()
    inspector.look()
    assert client.asked == [["w1"], ["w2", "w3"]]
    assert len(said) == 1
    assert "the node n2" in said[0]
    assert "version of numpy: 2.3 (controller: 2.4)" in said[0]
