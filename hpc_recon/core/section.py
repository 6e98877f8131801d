"""What every part of a study file is: frozen, checked, without unknown keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

#: What `weights` may begin with instead of being a path.
_NOT_FILES = ("random:", "torchvision:")


def file_or_word(value: Path | str) -> Path | str:
    """Return a text as a path, but `own`, `random:<seed>` and `torchvision:<name>` as text.

    >>> file_or_word("own"), file_or_word("random:0"), file_or_word("own.pt").name
    ('own', 'random:0', 'own.pt')
    """
    text = str(value)  # of JSON, pydantic makes paths of all texts
    return text if text == "own" or text.startswith(_NOT_FILES) else Path(value)


#: Weights: a file, or one of these words.
FileOrWord = Annotated[Path | str, AfterValidator(file_or_word)]


class Section(BaseModel):
    """A part of a study: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def in_words(options: BaseModel, *told: str) -> str:
    """Return `key value, ...` of what differs from its default, but for the keys `told`.

    Paths are cut to their names.
    """
    found = []
    for key, field in type(options).model_fields.items():
        value = getattr(options, key)
        if key in told or value == field.get_default(call_default_factory=True):
            continue
        found.append(f"{key.replace('_', ' ')} {_plain(value)}")
    return ", ".join(found)


def _plain(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"({in_words(value) or 'defaults'})"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_plain(own)}" for key, own in value.items()) + ")"
    if isinstance(value, (tuple, list)):
        return listed(_plain(own) for own in value)
    if isinstance(value, Path):
        return value.name
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(words: Iterable[str]) -> str:
    """Return words joined for people.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed([])
    ('a', 'a, b and c', 'none')
    """
    found = list(words)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}" if found else "none"
