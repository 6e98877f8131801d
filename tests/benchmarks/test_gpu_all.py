"""The script for GPUs says what is absent, and its page lists every test that waits for one."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_device_nothing_runs_and_the_reason_is_said(monkeypatch, capsys) -> None:
    import gpu_all

    monkeypatch.setattr(gpu_all, "absent", lambda: "no card")
    assert gpu_all.main(["--toy"]) == 2
    assert "nothing was run: no card" in capsys.readouterr().err


def test_a_torch_without_devices_is_a_reason(monkeypatch) -> None:
    import gpu_all

    without = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", without)
    assert "no CUDA device" in gpu_all.absent()


def test_what_did_not_pass_is_named() -> None:
    import gpu_all

    report = "<testsuite><testcase name='a'/><testcase name='b'><failure/></testcase></testsuite>"
    assert gpu_all.counts(report) == ({"passed": 1, "skipped": 0, "failure": 1, "error": 0}, ["b"])


def test_a_failure_is_kept_and_the_rest_goes_on(monkeypatch, capsys) -> None:
    import gpu_all

    monkeypatch.setattr(gpu_all, "absent", lambda: None)
    monkeypatch.setattr(gpu_all, "card", lambda: {"name": "pretended"})
    monkeypatch.setattr(gpu_all, "called", lambda command: {"command": " ".join(command[1:]), "code": 1})
    assert gpu_all.main([]) == 1
    printed = capsys.readouterr().out
    assert '"name": "pretended"' in printed
    assert printed.count('"good": false') == 1 + len(gpu_all.BENCHMARKS)


def test_the_scripts_it_runs_are_there_and_know_their_options() -> None:
    import gpu_all

    for script, options, small in gpu_all.BENCHMARKS:
        text = (ROOT / "benchmarks" / script).read_text()
        for option in (*options[::2], "--output", *(("--toy",) if small else ())):
            assert f'"{option}"' in text, (script, option)


def test_the_page_lists_the_tests_that_wait_for_a_card() -> None:
    marked = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"^pytestmark = .*mark\.gpu\b|^@pytest\.mark\.gpu", path.read_text(), re.MULTILINE)
    ]
    names = {name for path in marked for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    page = (ROOT / "docs" / "gpu.md").read_text()
    listed = set(re.findall(r"`(test_\w+)`", page))
    assert listed == names
    assert {path.relative_to(ROOT).as_posix() for path in marked} == set(re.findall(r"tests/gpu/test_\w+\.py", page))
