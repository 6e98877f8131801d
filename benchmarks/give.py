"""How every benchmark gives its result: JSON on standard output, and in a file where one is named."""

from __future__ import annotations

import json


def give(content, output=None):
    """Print a result, and write it to `output` if that is a path; its folder is made. Returns the exit status, 0."""
    text = json.dumps(content, indent=1, default=float)
    print(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n")
    return 0
