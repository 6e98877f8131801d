"""Read a study file: YAML, `--set` overrides, validation, and cross-checks, with all mistakes reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from hpc_recon.core import cross_checks
from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.expansion import expanded
from hpc_recon.core.network_options import Network
from hpc_recon.core.validation import validate
from hpc_recon.core.weights import file_or_word

#: YAML's tag of the key `<<`.
_MERGE = "tag:yaml.org,2002:merge"


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key written twice (YAML keeps the last one silently)."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:  # `<<: *anchor`: what it brings counts after the mapping's own keys
            continue
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, (list, dict)):
            raise yaml.constructor.ConstructorError(
                None, None, f"a key must be plain text, not {key!r}", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is written twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return dict(yaml.SafeLoader.construct_mapping(loader, node, deep=deep))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_yaml(path: Path, *, option: str = "--study") -> dict[str, Any]:
    """Read a YAML mapping; `option` of the command line names the file, for messages.

    Raises
    ------
    StudyError
        If the file is missing, is not YAML, holds a key twice, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(str(path), [f"cannot be read ({error}); give a file with {option}"]) from error
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise StudyError(str(path), [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(content, dict):
        raise StudyError(str(path), [f"must be a mapping of keys to values, but is a {type(content).__name__}"])
    return content


def override(content: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply `key=value` assignments (`a.b=c`; values are YAML) to a copy of a nested mapping.

    >>> override({"fit": {"alpha": 1}}, ["fit.alpha=10", "subjects=[S2]"])
    {'fit': {'alpha': 10}, 'subjects': ['S2']}

    Raises
    ------
    StudyError
        If an assignment has no `=`, its value is not YAML, or a parent is not a mapping.
    """
    result: dict[str, Any] = _copy(content)
    problems = []
    for assignment in assignments:
        keys, equals, text = assignment.partition("=")
        if not equals or not keys.strip():
            problems.append(f"{assignment!r} is not of the form key=value, for example fit.alpha=100")
            continue
        parent = result
        *outer, last = keys.strip().split(".")
        for key in outer:
            child = parent.setdefault(key, {})
            if not isinstance(child, dict):
                problems.append(f"{assignment!r}: {key!r} is a value, not a section, so it has no keys")
                break
            parent = child
        else:
            try:
                parent[last] = yaml.safe_load(text)
            except yaml.YAMLError as error:
                problems.append(f"{assignment!r}: the value is not YAML ({' '.join(str(error).split())})")
    if problems:
        raise StudyError("--set", problems)
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def load_study(path: Path, assignments: Sequence[str] = ()) -> Study:
    """Read, override, validate and cross-check a study; relative paths in it start at its folder.

    `workspace` alone is relative to the current folder (default `runs/<name>`); it becomes absolute.

    Raises
    ------
    StudyError
        With every mistake that was found.
    """
    content = override(read_yaml(path), assignments)
    study = expanded(validate(Study, content, where=str(path)))
    problems = cross_checks.problems(study)
    if problems:
        raise StudyError(str(path), problems)
    workspace = (study.workspace or Path("runs") / study.name).expanduser().absolute()
    return _absolute_files(study, path.absolute().parent).model_copy(update={"workspace": workspace})


def save_study(study: Study) -> str:
    """Return YAML text that `load_study` reads back to an equal study."""
    content = study.model_dump(mode="json", exclude_none=True)
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _absolute_files(study: Study, base: Path) -> Study:
    """Return the study with every path of its sections absolute."""

    def walk(value: Any) -> Any:
        if isinstance(value, Path):
            return (base / value.expanduser()).resolve()
        if isinstance(value, BaseModel):
            fields = type(value).model_fields
            return value.model_copy(update={key: walk(getattr(value, key)) for key in fields})
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return tuple(walk(item) for item in value) if isinstance(value, tuple) else value

    def network(found: Network) -> Network:
        own: Network = walk(found)
        return own.model_copy(update={"weights": str(walk(file_or_word(found.weights)))})

    walked = {key: walk(getattr(study, key)) for key in type(study).model_fields if key != "workspace"}
    networks, more = ({k: network(n) for k, n in own.items()} for own in (study.networks, study.screen.networks))
    walked |= {"networks": networks, "screen": study.screen.model_copy(update={"networks": more})}
    return study.model_copy(update=walked)
