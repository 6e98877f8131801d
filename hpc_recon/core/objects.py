"""An object store as a place for arrays and receipts: S3, Google Cloud Storage or Azure, through obstore.

Credentials come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...) or the machine's own role, never
from a study. What replaces rename and fsync: docs/store_format.md, section 9.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

from hpc_recon.core.errors import StoreUnreachable, StudyError
from hpc_recon.core.places import Storage
from hpc_recon.core.redaction import redacted

#: Requests at once; each waits for the network far longer than it computes.
AT_ONCE = 32
#: Up to so many objects are asked for their sizes one by one; of more, their folder is listed (1,000 a request).
ASKED_SINGLY = 8
#: How long a request is repeated while the store does not answer.
RETRIES: dict[str, Any] = {"max_retries": 10, "retry_timeout": timedelta(seconds=120)}
#: How long one request may take; obstore's own 30 s are short for a shard of 94 MiB on a busy network.
TIMEOUT = "300s"
#: Settings of the connection that `AWS_<NAME>`, `GOOGLE_<NAME>` or `AZURE_<NAME>` may give. obstore reads them there
#: itself, but no longer once it is given a setting such as the time above.
FROM_ENVIRONMENT = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "http1_only",
    "http2_only",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "root_certificate",
    "timeout",
)
PREFIXES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
#: Characters of the store's own message that are shown.
SHOWN = 300

Answer = TypeVar("Answer")


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise StudyError(
            "arrays", [f"an object store needs the package obstore ({error}): pip install 'hpc_recon[s3]'"]
        ) from error
    return obstore


def _connection(url: str) -> dict[str, str]:
    prefix = PREFIXES[url.partition(":")[0]]
    given = {key: os.environ.get(f"{prefix}_{key.upper()}") for key in FROM_ENVIRONMENT}
    return {"timeout": TIMEOUT, **{key: value for key, value in given.items() if value}}


def public(error: BaseException) -> str:
    """Return an error's text on one line without what may be secret: user info and queries of URLs.

    >>> public(ValueError("GET https://me:pw@host/lab/x?sig=abc failed"))
    'GET https://host/lab/x failed'
    """
    text = str(error).partition("Debug source")[0]
    text = re.sub(r"//[^/@\s]*@", "//", text)
    text = re.sub(r"\?[^\s)\"']*", "", text)
    return redacted(" ".join(text.split()))[:SHOWN]


class Objects(Storage):
    """A prefix of an object store. A put is whole and durable when it returns, so nothing is renamed or flushed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._api = _obstore()
        with self.reaching():
            self.client = self._api.store.from_url(url, retry_config=RETRIES, client_options=_connection(url))

    def where(self, name: str) -> str:
        """Return the URL."""
        return f"{self.url}/{name}"

    @contextlib.contextmanager
    def reaching(self) -> Iterator[None]:
        """Translate the errors of obstore; its own text may hold a signed URL, so it is shortened."""
        try:
            yield
        except self._api.exceptions.BaseError as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> StoreUnreachable:
        return StoreUnreachable(
            f"the object store {self.url} cannot be used: {public(error)}. Check the network, that the bucket exists, "
            "and the credentials in the environment, of the workers too (docs/store_format.md, section 9)"
        )

    def read_bytes(self, name: str) -> bytes:
        """Get an object."""
        with self.reaching():
            return bytes(self._api.get(self.client, name).bytes())

    def write_atomic(self, name: str, payload: bytes) -> None:
        """Put an object."""
        self._put(name, payload, "overwrite")

    def create(self, name: str, payload: bytes) -> bool:
        """Put an object on the condition that there is none."""
        try:
            self._put(name, payload, "create")
        except self._api.exceptions.AlreadyExistsError:
            return False
        return True

    def _put(self, name: str, payload: bytes, mode: str) -> None:
        try:
            self._api.put(self.client, name, payload, mode=mode)
        except self._api.exceptions.AlreadyExistsError:
            raise
        except (FileNotFoundError, self._api.exceptions.BaseError) as error:  # not found: the bucket itself
            raise self._unreachable(error) from None

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Ask for a few objects one by one; of more, list the folders that hold them."""
        if len(names) <= ASKED_SINGLY:
            found = dict(zip(names, self._at_once(self._size, names), strict=True))
            return {name: size for name, size in found.items() if size is not None}
        wanted = set(names)
        by_top: dict[str, list[str]] = {}
        for name in names:
            by_top.setdefault(name.partition("/")[0], []).append(name)
        folders = [os.path.commonpath([os.path.dirname(name) for name in part]) for part in by_top.values()]  # noqa: PTH120
        return {o["path"]: o["size"] for folder in folders for o in self._list(folder) if o["path"] in wanted}

    def _size(self, name: str) -> int | None:
        try:
            with self.reaching():
                return int(self._api.head(self.client, name)["size"])
        except FileNotFoundError:
            return None

    def measure(self, name: str) -> tuple[int, int]:
        """Get an object in pieces: what the store holds, not what was sent."""
        length = value = 0
        with self.reaching():
            for piece in self._api.get(self.client, name).stream(min_chunk_size=1 << 22):
                length, value = length + len(piece), zlib.crc32(piece, value)
        return length, value

    def delete(self, names: Iterable[str], *, flush: bool = True) -> None:
        """Delete objects; S3 takes 1,000 a request."""
        del flush
        listed = list(names)
        try:
            with self.reaching():
                self._api.delete(self.client, listed)
        except FileNotFoundError:  # some stores refuse to delete what is not there, and leave the rest
            self._at_once(self._delete_one, listed)

    def _delete_one(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self.reaching():
            self._api.delete(self.client, name)

    def flush(self, names: Sequence[str], root: str) -> None:
        """Do nothing: a put has returned only when it was durable."""

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """List one level."""
        with self.reaching():
            found = self._api.list_with_delimiter(self.client, folder or None)
        files = [str(o["path"]).rpartition("/")[2] for o in found["objects"]]
        return sorted(files), sorted(str(p).rpartition("/")[2] for p in found["common_prefixes"])

    def walk(self, prefix: str) -> Iterator[str]:
        """List all objects below a prefix."""
        for found in self._list(prefix):
            yield str(found["path"])

    def versions(self, prefix: str) -> frozenset[tuple[Any, ...]]:
        """Return name, size, tag and time of each object, from the listing."""
        return frozenset((o["path"], o["size"], o["e_tag"], o["last_modified"]) for o in self._list(prefix))

    def _list(self, prefix: str) -> Iterator[dict[str, Any]]:
        with self.reaching():
            for batch in self._api.list(self.client, prefix or None, chunk_size=1000):
                yield from batch

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Get objects, several at once."""
        found = self._at_once(lambda name: super(Objects, self).read_many([name]), names)
        return {name: payload for one in found for name, payload in one.items()}

    def _at_once(self, function: Callable[[str], Answer], names: Sequence[str]) -> list[Answer]:
        if len(names) < 2:
            return [function(name) for name in names]
        with ThreadPoolExecutor(min(AT_ONCE, len(names))) as pool:
            return list(pool.map(function, names))
