"""A terminal that goes away under a run: a window that is closed, a connection that is lost."""

from __future__ import annotations

import errno
import os

#: Descriptors of standard output and standard error.
_OUTPUTS = (1, 2)


def leave_lost() -> bool:
    """Turn the process's outputs away from a terminal that is gone; others stay as they are.

    Writing to such a terminal is an error, so that a run which goes on would end at its next word.

    Returns
    -------
    bool
        Whether one of them was lost.
    """
    lost = [descriptor for descriptor in _OUTPUTS if _is_lost(descriptor)]
    if lost:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in lost:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
    return bool(lost)


def _is_lost(descriptor: int) -> bool:
    """Return whether a descriptor is a terminal that hung up: only there writing nothing is an input/output error."""
    try:
        os.write(descriptor, b"")
    except OSError as error:
        return error.errno == errno.EIO
    return False
