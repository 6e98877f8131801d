"""Read a study file: YAML, `--set` overrides, validation, and cross-checks, with all mistakes reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Tag, ValidationError

from hpc_recon.core import decoder_files
from hpc_recon.core.config import FEATURES_ONLY, PIXEL_ARCHITECTURES, Network, Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.expansion import expanded
from hpc_recon.core.icnn_options import DEFAULT
from hpc_recon.core.ingest_options import CrossValidation, Ingest
from hpc_recon.core.options import IcnnOptions
from hpc_recon.core.redaction import redacted
from hpc_recon.core.text import closest

Model = TypeVar("Model", bound=BaseModel)


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


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises
    ------
    StudyError
        If the file is missing, is not YAML, holds a key twice, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(str(path), [f"cannot be read ({error}); give a file with --study"]) from error
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
    problems = _cross_checks(study)
    if problems:
        raise StudyError(str(path), problems)
    workspace = (study.workspace or Path("runs") / study.name).expanduser().absolute()
    return _absolute_files(study, path.absolute().parent).model_copy(update={"workspace": workspace})


def save_study(study: Study) -> str:
    """Return YAML text that `load_study` reads back to an equal study."""
    content = study.model_dump(mode="json", exclude_none=True)
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


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


def _cross_checks(study: Study) -> list[str]:
    """Return the mistakes that only show when sections are seen together."""
    problems = []
    roles = [dataset.role for dataset in study.datasets.values()]
    if roles.count("training") != 1:
        problems.append(f"datasets: exactly one must have role: training, but {roles.count('training')} have")
    if (study.simulate is None) == (study.ingest is None):
        problems.append("give either `simulate:` or `ingest:`: one of them makes the brain data")
    if len(set(study.subjects)) != len(study.subjects):
        problems.append(f"subjects repeat: {', '.join(study.subjects)}")
    if study.ingest is not None:
        for subject in study.subjects if not study.decode.files else ():
            if subject not in study.ingest.subjects:
                problems.append(
                    f"subjects: {subject!r} is not under ingest.subjects{closest(subject, study.ingest.subjects)}"
                )
        named = {name for s in study.ingest.subjects.values() for name in s.datasets} | set(study.ingest.stimuli)
        problems += [
            f"ingest: dataset {name!r} is not under datasets{closest(name, study.datasets)}"
            for name in sorted(named - set(study.datasets))
        ]
        problems += _check_conditions(study, study.ingest)
        if study.ingest.cross_validation is not None:
            problems += _check_folds(study, study.ingest.cross_validation)
    problems += _check_references(study)
    for name, options in study.reconstruct.items():
        problems += _check_method(study, name, options)
    problems += decoder_files.problems(study)
    return [*problems, *(_check_decoded_files(study) if study.decode.files else ())]


def _check_decoded_files(study: Study) -> list[str]:
    """Return what does not go with decoded features that are read from files."""
    problems = [
        f"decode.files: unknown network {name!r}{closest(name, study.networks)}"
        for name in study.decode.files
        if name not in study.networks
    ]
    missing = [name for name in study.networks if name not in study.decode.files]
    if missing:
        problems.append(
            f"decode.files: nothing else is decoded then; give files of {', '.join(missing)} too, or a study of its own"
        )
    wrong = {
        "fit.decode": study.fit.decode,
        "fit.out_of_fold": study.fit.out_of_fold,
        "decode.average": study.decode.average is not True,
        "ingest.cross_validation": study.ingest is not None and study.ingest.cross_validation is not None,
    }
    problems += [f"decode.files does not go with {name}; leave that out" for name, given in wrong.items() if given]
    for name, files in study.decode.files.items():
        for key, given, known in (("subjects", files.subjects, study.subjects), ("rois", files.rois, study.rois)):
            where, unknown = f"decode.files.{name}.{key}", [x for x in given if x not in known]
            problems += [f"{where}: {x!r} is not in the study{closest(x, known)}" for x in unknown]
    return problems


def _check_conditions(study: Study, ingest: Ingest) -> list[str]:
    """Return a problem for each training dataset with samples that show no stimulus: no decoder learns from them."""
    problems = []
    for subject, mapping in ingest.subjects.items():
        for name, dataset in mapping.datasets.items():
            if name not in study.datasets or study.datasets[name].role != "training":
                continue
            where = f"ingest.subjects.{subject}.datasets.{name}"
            if dataset.null_labels:
                labels = ", ".join(dataset.null_labels)
                problems.append(
                    f"{where}.null_labels: nothing is learnt from samples without a stimulus, and {name!r} has role: "
                    f"training; leave them out with exclude: {{labels: [{labels}]}}"
                )
            if dataset.labels_are == "categories":
                problems.append(
                    f"{where}.labels_are: decoders are trained on stimuli, and {name!r} has role: training; give "
                    "labels of stimuli"
                )
    return problems


def _check_references(study: Study) -> list[str]:
    """Return a problem for each reference that cannot be measured, or has no statistics for the norm correction."""
    problems = []
    method = study.decode.norm_correction
    for name, network in study.networks.items():
        if network.reference is None:
            continue
        where = f"networks.{name}.reference"
        if network.reference.folder is not None and network.architecture == FEATURES_ONLY:
            problems.append(
                f"{where}.folder: images are measured by running the network, but this one is only known by its "
                "features; give a file of statistics"
            )
        elif network.reference.folder is not None and network.image_size is None:
            problems.append(f"{where}.folder: its images are resized to the network's image_size; give one, as 224")
        if method != "none" and method not in network.reference.serves:
            served = " or ".join(network.reference.serves)
            problems.append(
                f"decode.norm_correction: {method} needs statistics that {network.reference.in_words} ({where}.file) "
                f"does not hold; use {served}, or give a folder of images: reference: {{folder: ...}}"
            )
    return problems


def _check_folds(study: Study, folds: CrossValidation) -> list[str]:
    wanted = {folds.training_dataset: "training", folds.test_dataset: "test"}
    return [
        f"ingest.cross_validation: {name!r} must be a dataset with role: {role}"
        for name, role in wanted.items()
        if name not in study.datasets or study.datasets[name].role != role
    ]


def _check_method(study: Study, name: str, options: Any) -> list[str]:
    where = f"reconstruct.{name}"
    network: Network | None = study.networks.get(options.network)
    if network is None:
        return [f"{where}.network: unknown network {options.network!r}{closest(options.network, study.networks)}"]
    problems = []
    tests = [key for key, dataset in study.datasets.items() if dataset.role == "test"]
    for key, chosen, known in (
        ("datasets", options.datasets, tests),
        ("rois", options.rois, study.rois),
        ("subjects", options.subjects, study.subjects),
    ):
        problems += [f"{where}.{key}: unknown name {x!r}{closest(x, known)}" for x in chosen or () if x not in known]
    if network.architecture == FEATURES_ONLY:
        return [
            *problems,
            f"{where}: the network {options.network!r} is known by its features alone, and this method runs it; give "
            "its architecture and weights beside `features`",
        ]
    if isinstance(options, IcnnOptions):
        if network.architecture in PIXEL_ARCHITECTURES:
            problems.append(f"{where}: the network {options.network!r} is the image itself; use method: pixels")
        problems += _check_icnn(study, where, options, network)
    elif network.architecture not in PIXEL_ARCHITECTURES:
        problems.append(
            f"{where}: method pixels needs a network with architecture: pixels or pixels_gray, "
            f"not {network.architecture!r}"
        )
    return problems


def _check_icnn(study: Study, where: str, options: IcnnOptions, network: Network) -> list[str]:
    named = dict.fromkeys([*(options.layers or ()), *options.layer_weights, *options.loss, *options.masks])
    problems = [
        f"{where}: layer {layer!r} is not decoded{closest(layer, network.layers)}"
        for layer in named
        if layer not in network.layers and (layer != DEFAULT or layer in options.layer_weights)
    ]
    if options.reliability != "none" and not study.fit.out_of_fold:
        problems.append(f"{where}: reliability comes from predictions out of fold; write fit: {{out_of_fold: true}}")
    if options.reliability == "calibrated" and study.decode.norm_correction != "none":
        problems.append(
            f"{where}: reliability: calibrated restores the spread of decoded features itself; write "
            f"decode: {{norm_correction: none}}, not {study.decode.norm_correction}"
        )
    if study.units is not None and "gram" in options.loss.values():
        problems.append(f"{where}: a gram loss needs all units of a layer; leave out units, or use another loss")
    return problems


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

    networks = {key: walk(network) for key, network in study.networks.items()}
    networks = {
        key: network.model_copy(update={"weights": str((base / network.weights).resolve())})
        if network.weights.partition(":")[0] not in ("random", "torchvision", "own")
        else network
        for key, network in networks.items()
    }
    walked = {
        key: walk(getattr(study, key))
        for key in ("ingest", "units", "reconstruct", "decode", "fit", "evaluate", "report")
    }
    return study.model_copy(update=walked | {"networks": networks})
