"""Validate a mapping against a pydantic model: a mistake becomes one line: its place, the rule, the closest name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from hpc_recon.core.errors import StudyError
from hpc_recon.core.redaction import redacted
from hpc_recon.core.text import closest

Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], content: Mapping[str, Any], *, where: str) -> Model:
    """Validate `content` against a pydantic model; every mistake becomes one line with a remedy."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [_explain(model, dict(item)) for item in error.errors()]
        raise StudyError(where, list(dict.fromkeys(problems))) from error


def _explain(model: type[BaseModel], item: dict[str, Any]) -> str:
    """Say one pydantic mistake in our own words: the place, the rule, the value, the closest valid name."""
    keys, parent = _walk(model, item["loc"])
    where = ".".join(keys)
    if item["type"] == "extra_forbidden":
        return f"unknown key {where!r}{closest(keys[-1], parent.model_fields if parent is not None else ())}"
    if item["type"] == "missing":
        return f"{where}: this key is required"
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        context = item["ctx"]
        tag = str(context["discriminator"]).strip("'")
        expected = [word.strip(" '") for word in str(context.get("expected_tags", "'icnn', 'pixels'")).split(",")]
        return f"{where}.{tag}: unknown or missing{closest(str(context.get('tag', '')), expected)}"
    message = str(item["msg"]).removeprefix("Value error, ")
    value = item.get("input")
    shown = f"; got {redacted(repr(value))}" if isinstance(value, (str, int, float, bool, type(None))) else ""
    return f"{where}: {message[:1].lower()}{message[1:]}{shown}"


def _walk(model: type[BaseModel], loc: Sequence[str | int]) -> tuple[list[str], type[BaseModel] | None]:
    """Follow a pydantic location through the models; drop the union tags that pydantic mixes into it.

    Returns the keys as they stand in the file, and the model that holds the last of them.
    """
    keys: list[str] = []
    current: Any = model
    parent: type[BaseModel] | None = None
    for part in loc:
        options = _options(current)
        if len(options) > 1:  # a union: this part is the tag of one of its options, not a key
            current = next((o for o in options if _tag(o) == part), options[0])
            continue
        current = options[0] if options else Any
        keys.append(str(part))
        parent = None
        if isinstance(current, type) and issubclass(current, BaseModel):
            parent = current
            field = current.model_fields.get(str(part))
            current = field.annotation if field is not None else Any
        else:  # a mapping or a sequence: the part is a key or an index of it
            arguments = [a for a in get_args(current) if a is not Ellipsis]
            current = arguments[-1] if arguments else Any
    return keys, parent


def _options(annotation: Any) -> list[Any]:
    """Return the alternatives of an annotation: those of a union without None, else itself alone."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [a for a in get_args(annotation) if a is not type(None)]
    return [annotation]


def _tag(option: Any) -> str | None:
    """Return the tag of one alternative of a union: `Tag("grid")`, or the value of its field `method` or `name`."""
    for extra in getattr(option, "__metadata__", ()):
        if isinstance(extra, Tag):
            return extra.tag
    fields = option.model_fields if isinstance(option, type) and issubclass(option, BaseModel) else {}
    field = next((fields[name] for name in ("method", "name") if name in fields), None)
    return str(get_args(field.annotation)[0]) if field is not None and get_args(field.annotation) else None
