"""Pretended commands of schedulers: small scripts on PATH that print what a test says and write down how they ran."""

import json
import shlex
import stat
import sys

SCRIPT = """#!{python}
import json, sys
stdin = sys.stdin.read() if {reads} else ""
with open({log!r}, "a") as stream:
    stream.write(json.dumps([{name!r}, *sys.argv[1:], stdin]) + chr(10))
sys.stdout.write({out!r})
sys.stderr.write({err!r})
sys.exit({code})
"""


class Commands:
    """A folder that is the whole PATH; `calls` are the command lines so far, with what came through standard input."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.log = folder / "calls"
        monkeypatch.setenv("PATH", str(self.folder))

    def add(self, name, out="", err="", code=0, reads=False):
        path = self.folder / name
        text = SCRIPT.format(
            python=sys.executable, log=str(self.log), name=name, out=out, err=err, code=code, reads=reads
        )
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self):
        """Command lines, each as one text; standard input left out."""
        return [shlex.join(call[:-1]) for call in self.raw]

    @property
    def raw(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
