"""What `weights` of an entry may say: a file, or a word that stands for one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

#: What stands before a colon, or alone, in a text that is no path: weights drawn from a seed, those that torchvision
#: keeps, and those that a user's own function has loaded.
WORDS = ("random", "torchvision", "own")


def file_or_word(value: Path | str) -> Path | str:
    """Return a text as a path, but `random:<seed>`, `torchvision:<name>` and `own` as text.

    >>> file_or_word("random:0"), file_or_word("own"), file_or_word("own_alexnet.pt").name
    ('random:0', 'own', 'own_alexnet.pt')
    """
    text = str(value)  # of JSON, pydantic makes paths of all texts
    return text if text.partition(":")[0] in WORDS else Path(value)


FileOrWord = Annotated[Path | str, AfterValidator(file_or_word)]
