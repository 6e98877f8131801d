"""Where the files of a workspace lie: in its folder, and its arrays and receipts perhaps somewhere else.

A study with `arrays: s3://bucket/prefix` keeps every `*.zarr` and all receipts there; everything else, the lease
included, stays in the folder. `arrays.json` in the workspace says so, and `of` reads it, so that functions that take a
workspace need nothing else. docs/store_format.md, section 9.
"""

from __future__ import annotations

import functools
import json
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from hpc_recon.core.errors import ChangedStudy, DamagedStore
from hpc_recon.core.files import read_json, sync_folder, write_json
from hpc_recon.core.places import RECEIPTS, Bound, Folder, Storage
from hpc_recon.core.text import SAFE_NAME

__all__ = ["ArraysUrl", "Storage", "bind", "check", "look_again", "normalise", "of", "release"]

#: In the workspace: where its arrays lie, and the identity of the workspace.
MARKER = "arrays.json"
#: Beside the arrays: the identity of the workspace that they belong to.
OWNER = "workspace.json"
SCHEMES = ("s3", "gs", "az", "file")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")


def normalise(text: str) -> str:
    """Return the URL or absolute path of a place for arrays in its one written form.

    >>> normalise("s3://lab-data/vision/"), normalise("/scratch/arrays")
    ('s3://lab-data/vision', 'file:///scratch/arrays')

    Raises
    ------
    ValueError
        If it is none, or holds what may be a secret: user info, a query or a fragment. The message never repeats it.
    """
    if "://" not in text:
        text = f"file://{text}" if text.startswith("/") else f"://{text}"
    try:
        parts = urlsplit(text)
        hidden = "@" in parts.netloc or "?" in text or "#" in text or parts.port is not None
    except ValueError:
        hidden, parts = True, urlsplit("")
    if hidden:
        raise ValueError(
            "a URL of arrays (not shown here) holds no user, password, port, query or fragment, because a study is no "
            "place for secrets; give scheme://bucket/prefix alone, and put credentials and the endpoint into the "
            "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, ...)"
        )
    names = [name for name in parts.path.split("/") if name]
    is_file = parts.scheme == "file"
    if parts.scheme not in SCHEMES or is_file == bool(parts.netloc) or (is_file and not names):
        raise ValueError(
            "arrays lie in s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or a folder, given as its "
            "absolute path or as file:///path"
        )
    if not is_file and not _BUCKET.fullmatch(parts.netloc):
        raise ValueError("the bucket of arrays has 2 to 63 lower-case letters, digits and . _ -")
    # `urlsplit` drops line feeds and tabs without a word, so the text itself is looked at too.
    if not text.isprintable() or not all(SAFE_NAME.fullmatch(name) for name in names):
        raise ValueError(
            "each part of the path of arrays has letters, digits and _ . + @ = - only and starts with a letter or digit"
        )
    return "/".join((f"{parts.scheme}://{parts.netloc}", *names))


def of(workspace: Path) -> Storage:
    """Return where the files of a workspace lie.

    A process looks for the marker once a workspace; `bind` and `look_again` make it look anew.

    Raises
    ------
    DamagedStore
        If the marker is garbled.
    StudyError
        If obstore is not installed.
    """
    return _find(workspace)


@functools.lru_cache(maxsize=64)
def _find(workspace: Path) -> Storage:
    folder = Folder(workspace)
    marker = _marker(workspace)
    return folder if marker is None else Bound(folder, _place(marker["url"]))


def look_again() -> None:
    """Forget what was found: for a process that outlives the making of a workspace."""
    _find.cache_clear()


def _place(url: str) -> Storage:
    if url.startswith("file://"):
        return Folder(Path(url.removeprefix("file://")))
    from hpc_recon.core.objects import Objects

    return Objects(url)


def _marker(workspace: Path) -> dict[str, str] | None:
    path = workspace / MARKER
    try:
        content = read_json(path)
        return {"url": normalise(content["url"]), "id": str(content["id"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStore(
            f"{path}, which says where the arrays of this workspace lie, is damaged ({type(error).__name__}); write "
            f'{{"url": <arrays: of the study>, "id": <id in {OWNER} beside the arrays>}} into it'
        ) from None


def check(workspace: Path, url: str | None) -> None:
    """Raise unless a study's `arrays` are where those of its workspace already lie; writes nothing.

    Raises
    ------
    ChangedStudy
        If the workspace has its arrays elsewhere; names both places.
    """
    marker = _marker(workspace)
    here = f"in {workspace} itself"
    if marker is None:
        if url is not None and _has_arrays(workspace):
            raise ChangedStudy(
                f"the study puts its arrays into {url}, but they lie {here}; remove `arrays:`, or give the study "
                "another workspace"
            )
    elif url is None or normalise(url) != marker["url"]:
        raise ChangedStudy(
            f"the arrays of {workspace} lie in {marker['url']}, but the study has them "
            f"{here if url is None else f'in {url}'}; set `arrays: {marker['url']}`, or give the study another "
            "workspace"
        )


def _has_arrays(workspace: Path) -> bool:
    _, folders = Folder(workspace).listing("")
    _, verbs = Folder(workspace).listing(RECEIPTS)
    return bool(verbs) or any(name.endswith(".zarr") for name in folders)


def bind(workspace: Path, url: str | None) -> None:
    """Give a workspace its place for arrays; called by the controller, under its lease, before anything is computed.

    A prefix belongs to one workspace: two controllers with a lease each would otherwise write the same receipts. So
    the identity of the workspace is put beside the arrays, on the condition that none is there.

    Parameters
    ----------
    url
        `arrays` of the study; None: in the workspace's own folder, and nothing is written.

    Raises
    ------
    ChangedStudy
        If the workspace has its arrays elsewhere, or the place belongs to another workspace.
    StoreUnreachable
        If the object store does not answer, or refuses.
    """
    check(workspace, url)
    if url is None:
        return
    marker, path = _marker(workspace), workspace / MARKER
    is_new, place = marker is None, _place(normalise(url))
    if marker is None:
        marker = {"url": normalise(url), "id": uuid.uuid4().hex}
        # First here, then there: after a crash in between, the next start puts the same identity there.
        write_json(path, marker)
    look_again()
    try:
        owner = _claim(place, marker)
    except BaseException:
        if is_new:
            _forget(workspace)
        raise
    if owner != marker["id"]:
        if is_new:
            _forget(workspace)
        raise ChangedStudy(
            f"{marker['url']} holds the arrays of another workspace ({place.where(OWNER)} names {owner}); give the "
            f"study another prefix. If that workspace is gone and this one takes its place, write "
            f'{{"url": "{marker["url"]}", "id": "{owner}"}} into {path}'
        )


def _claim(place: Storage, marker: dict[str, str]) -> str:
    """Return the identity beside the arrays, after putting ours there if there was none."""
    content = {"id": marker["id"]}
    if place.create(OWNER, (json.dumps(content) + "\n").encode()):
        return marker["id"]
    try:
        found: Any = json.loads(place.read_bytes(OWNER))
        return str(found["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStore(
            f"{place.where(OWNER)}, which says whose arrays lie there, is damaged ({error}); remove it if no other "
            "workspace uses them"
        ) from error


def release(workspace: Path) -> None:
    """Undo `bind` for a workspace in which nothing was computed."""
    marker = _marker(workspace)
    if marker is None:
        return
    _place(marker["url"]).delete([OWNER])
    _forget(workspace)


def _forget(workspace: Path) -> None:
    (workspace / MARKER).unlink(missing_ok=True)
    sync_folder(workspace)
    look_again()


@dataclass(frozen=True)
class _Hidden:
    """A text that must not be repeated in an error message: a URL may hold a token."""

    text: str = field(repr=False)


def _hide(value: Any) -> Any:
    return _Hidden(value) if isinstance(value, str) else value


def _checked_url(value: Any) -> Any:
    if not isinstance(value, _Hidden):
        return value
    return normalise(value.text)


#: Validators run from the last to the first, so the one that checks is given, and pydantic reports, the hidden text.
ArraysUrl = Annotated[str | None, BeforeValidator(_checked_url), BeforeValidator(_hide)]
