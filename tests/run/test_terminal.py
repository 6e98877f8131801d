"""Outputs turn away from a terminal that is gone, and from nothing else."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from hpc_recon.run import terminal
from hpc_recon.run.progress import StageProgress, say
if sys.argv[1] == "bar":
    with StageProgress("fit S1", 3, 30) as progress:
        sys.stdin.readline()
        progress.done = 1
        progress.show()
else:
    sys.stdin.readline()
if sys.argv[1] == "say":
    say("words for nobody")
lost = terminal.leave_lost()
os.write(1, b"more words")
raise SystemExit(int(lost))
"""


@pytest.mark.parametrize(("how", "was_lost"), [("leave", 1), ("say", 0), ("bar", 0)])
def test_words_for_a_terminal_that_is_gone_are_no_error(how, was_lost):
    mine, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, how],
        env={**os.environ, "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    if how == "bar":
        os.read(mine, 1)  # it is drawn
    os.close(theirs)
    os.close(mine)
    process.communicate(b"\n", timeout=120)
    assert process.returncode == was_lost


def test_a_file_and_a_terminal_that_lives_stay():
    mine, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "leave"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs
    )
    printed, _ = process.communicate(b"\n", timeout=120)
    os.close(theirs)
    os.close(mine)
    assert (process.returncode, printed) == (0, b"more words")


def test_other_errors_of_printing_are_raised():
    script = "from hpc_recon.run.progress import say; say('words')"
    with open("/dev/full", "w") as full:
        process = subprocess.run([sys.executable, "-c", script], stderr=full, check=False, timeout=120)
    assert process.returncode != 0
