"""What `weights` of an entry may say: a file, or a word that stands for one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

#: What stands before a colon, or alone, in a text that is no path: weights drawn from a seed, those that torchvision
#: keeps, and those that a user's own function has loaded.
WORDS = ("random", "torchvision", "own")


def file_or_word(value: Any) -> Any:
    """Return a text as a path unless it is `random:<seed>`, `torchvision:<name>` or `own`; anything else as it is.

    >>> file_or_word("random:0"), file_or_word("own"), file_or_word("own_alexnet.pt").name
    ('random:0', 'own', 'own_alexnet.pt')
    """
    is_file = isinstance(value, str) and value.partition(":")[0] not in WORDS
    return Path(value) if is_file else value


FileOrWord = Annotated[Path | str, BeforeValidator(file_or_word)]
