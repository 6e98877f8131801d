"""The study file's reference page, written from the models themselves.

`python -m hpc_recon.core.schema > docs/study_file.md` renews the page; a test fails while it is out of date.
"""

from __future__ import annotations

import inspect
import sys
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hpc_recon.core.config import Study

INTRODUCTION = """\
# The study file

A study is one YAML file that says *what* to compute; a cluster file (docs/on_a_cluster.md) says *where*. Unknown keys
are errors, and all mistakes are reported at once. Any key can be set from the command line: `--set fit.alpha=30`.
Paths start at the study file, wherever they stand (`~` is your home folder); `workspace` alone is relative to the
current folder.

This page is written from the code: `python -m hpc_recon.core.schema > docs/study_file.md`.
"""


def markdown() -> str:
    """Return the reference page as Markdown text: one table a section, one row a key."""
    seen: list[type[BaseModel]] = []
    queue: list[type[BaseModel]] = [Study]
    while queue:
        model = queue.pop(0)
        if model not in seen:
            seen.append(model)
            queue += [inner for field in model.model_fields.values() for inner in _models(field.annotation)]
    return INTRODUCTION + "".join(_section(model) for model in seen)


def _section(model: type[BaseModel]) -> str:
    heading = f"\n## {model.__name__}\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n"
    lines = [heading, "| key | type | default | meaning |\n|---|---|---|---|\n"]
    lines += [
        f"| `{name}` | {_name(field.annotation)} | {_default(field)} | {_cell(field.description or '')} |\n"
        for name, field in model.model_fields.items()
    ]
    return "".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    return "" if value is None or value == {} else f"`{value}`"


def _name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_name(a) for a in arguments if a is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin is dict:
        return f"name: {_name(arguments[1])}"
    if origin is tuple:
        return f"list of {_name(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true, false", "Path": "path"}
    return words[annotation.__name__]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


if __name__ == "__main__":
    sys.stdout.write(markdown())
