"""What is printed is text: no escape sequence of a log, queue or file reaches the terminal, no markup is followed."""

from __future__ import annotations

import io

import click
import pytest
from rich.console import Console

from hpc_recon.core.errors import DataError
from hpc_recon.core.redaction import for_terminal
from hpc_recon.run import clusters, progress, session
from hpc_recon.run.cli import guarded

HOSTILE = "\x1b[2J\x1b]0;owned\x07 \r[/bold] [link=file:///x]a[/link] \u202egnp.exe \x9b31m \ud800 [/x]"
SPELLED = r"\x1b[2J\x1b]0;owned\x07 \r[/bold] [link=file:///x]a[/link] \u202egnp.exe \x9b31m \ud800 [/x]"


def test_control_characters_are_spelled_out() -> None:
    assert for_terminal(HOSTILE) == SPELLED
    assert (
        for_terminal("two\nlines\tand \N{NO-BREAK SPACE}caf\u00e9 \N{EN DASH}")
        == "two\nlines\tand \xa0caf\u00e9 \u2013"
    )


@pytest.mark.parametrize("say", [session.say, clusters.say], ids=["session", "clusters"])
def test_messages(say, capfd) -> None:
    say(f"end of the log: {HOSTILE}")
    assert f"end of the log: {SPELLED}" in capfd.readouterr().err


def test_errors(capfd) -> None:
    def fail() -> int:
        raise DataError(f"the label {HOSTILE} is wrong")

    assert guarded(fail) == 2
    assert click.unstyle(capfd.readouterr().err) == f"error: the label {SPELLED} is wrong\n"


def test_the_line_of_progress(monkeypatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=400, color_system=None)
    monkeypatch.setattr(progress, "console", lambda: console)
    with progress.StageProgress("fit", 2, 2) as line:
        line.waiting = f"1 pending ({HOSTILE})"
        line.show(force=True)
    assert f"1 pending ({SPELLED})" in screen.getvalue()
