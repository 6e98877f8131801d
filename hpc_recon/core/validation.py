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

_TEXT = "must be text; put it in quotes (YAML reads 12 and 10:40 as numbers, and no as false)"
_LIST = "must be a list, as [a, b]"
_SECTION = "must be a section with keys of its own"
#: What some mistakes are called in words of the file instead of pydantic's, by pydantic's type.
_IN_WORDS = {
    "string_type": _TEXT,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "dict_type": _SECTION,
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
}


def validate(model: type[Model], content: Mapping[str, Any], *, where: str) -> Model:
    """Validate `content` against a pydantic model; every mistake becomes one line with a remedy."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        items: list[dict[str, Any]] = [dict(item) for item in error.errors()]
        wrong = {item["loc"][:-1] for item in items}
        # A list is also said to be short of the members that are wrong themselves.
        told = [item for item in items if item["type"] != "too_short" or item["loc"] not in wrong]
        problems = [_explain(model, item) for item in told]
        raise StudyError(where, list(dict.fromkeys(problems))) from error


def _explain(model: type[BaseModel], item: dict[str, Any]) -> str:
    """Say one pydantic mistake in our own words: the place, the rule, the value, the closest valid name."""
    keys, parent, annotation = _walk(model, item["loc"])
    where = ".".join(keys)
    if item["type"] == "extra_forbidden":
        return f"unknown key {where!r}{closest(keys[-1], parent.model_fields if parent is not None else ())}"
    if item["type"] == "missing":
        return f"{where}: this key is required"
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        context = item["ctx"]
        tag = str(context["discriminator"]).strip("'")
        known = [name for option in _options(annotation) if (name := _tag(option)) is not None]
        return f"{where}.{tag}: unknown or missing{closest(str(context.get('tag', '')), known)}"
    if item["type"] == "too_short":
        least, found = item["ctx"]["min_length"], item["ctx"]["actual_length"]
        return f"{where}: must have {least} or more members, but has {found}"
    message = _IN_WORDS.get(item["type"], str(item["msg"]).removeprefix("Value error, "))
    value = item.get("input")
    if value is None and item["type"] in _IN_WORDS:
        return f"{where}: nothing stands there, and it {message}; give that, or leave the key out"
    is_plain = isinstance(value, (str, int, float, bool, type(None)))
    shown = f"; got {redacted(repr(value))}" if is_plain and "; got " not in message else ""
    return f"{where}: {message[:1].lower()}{message[1:]}{shown}"


def _walk(model: type[BaseModel], loc: Sequence[str | int]) -> tuple[list[str], type[BaseModel] | None, Any]:
    """Follow a pydantic location through the models; drop the union tags that pydantic mixes into it.

    Returns the keys as they stand in the file, the model that holds the last of them, and what may stand there.
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
    return keys, parent, current


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
