"""Secrets taken out of text before it is shown or written: an error of a library may quote a URL or a header.

What counts as one: the values of environment variables that are called like secrets, what a URL holds between `//`
and `@`, and what looks like the value of a key, token, password or signature.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping

#: Written in place of a secret.
HIDDEN = "[hidden]"
#: Variables whose values are secrets, by a word in their names.
_SECRET_VARIABLE = re.compile(
    r"SECRET|TOKEN|PASSW|CREDENTIAL|ACCESS_KEY|ACCOUNT_KEY|API_?KEY|PRIVATE_KEY|SAS_?KEY|(^|_)SAS(_|$)", re.IGNORECASE
)
#: Shorter values are not looked for: they would be found in ordinary text.
_SHORTEST = 6
#: `scheme://user:password@host`.
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^\s/?#@:'\"]+(?::[^\s?#@'\"]*)?)@")
#: `aws_secret_access_key = ...`, `password: ...`, `token=...`, `X-Amz-Signature=...`, `Authorization: Bearer ...`.
#: Spaces around `=` count for keys and passwords only, and a call or an index is no value: tracebacks show code too.
_NAMED = re.compile(
    r"(?P<name>[\w-]*(?:(?:secret|passw(?:or)?d|access[_-]?key(?:[_-]?id)?|account[_-]?key|api[_-]?key)[\w-]*[\"']?\s*[=:]\s*"
    r"|(?:token|signature|credential|authorization)[\w-]*[\"']?(?:=|:\s*))[\"']?)"
    r"(?P<value>(?:(?:bearer|basic)\s+)?[^\s&\"',;(){}\[\]<>]{4,}+)(?![(\[])",
    re.IGNORECASE,
)
#: `?sig=...` of a shared access signature, `?key=...`: too short to be looked for elsewhere than in a query.
_QUERY = re.compile(r"(?P<name>[?&](?:sig|key|se|sp|auth|code|X-[\w-]+)=)(?P<value>[^\s&\"',;)}\]]+)", re.IGNORECASE)
#: Variables that name a file in which a secret lies.
_NAMES_A_FILE = ("_FILE", "_PATH", "APPLICATION_CREDENTIALS")


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return `text` with every secret replaced by `[hidden]`.

    Parameters
    ----------
    environment
        Where secrets are looked for; default: this process's.

    >>> redacted("cannot open s3://me:pa55word@bucket/x?sig=abc%2F", {})
    'cannot open s3://[hidden]@bucket/x?sig=[hidden]'
    >>> redacted("signed with 8hdF92ks", {"AWS_SECRET_ACCESS_KEY": "8hdF92ks"})
    'signed with [hidden]'
    """
    variables = os.environ if environment is None else environment
    values = {value for name, value in variables.items() if len(value) >= _SHORTEST and _is_secret(name)}
    for value in sorted(values, key=len, reverse=True):  # one may be a part of another
        text = text.replace(value, HIDDEN)
    text = _USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _NAMED.sub(rf"\g<name>{HIDDEN}", text)
    return _QUERY.sub(rf"\g<name>{HIDDEN}", text)


def for_terminal(text: str) -> str:
    r"""Return `text` without secrets, and with its control characters spelled out but for line feeds and tabs.

    What is printed may come from a log, a queue or a file's name: an escape sequence in it could rewrite the screen.

    >>> for_terminal("no \x1b[2J here")
    'no \\x1b[2J here'
    """
    spelled = {
        character: character.encode("unicode_escape").decode() for character in set(text) if _controls(character)
    }
    return redacted("".join(spelled.get(character, character) for character in text))


def _controls(character: str) -> bool:
    """Return whether a character moves the cursor, changes the direction of writing, or cannot be written at all."""
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cf", "Cs")


def _is_secret(name: str) -> bool:
    return _SECRET_VARIABLE.search(name) is not None and not name.upper().endswith(_NAMES_A_FILE)


@contextlib.contextmanager
def without_secrets() -> Iterator[None]:
    """Take secrets out of the text of any error that leaves the block, and of the errors that led to it."""
    try:
        yield
    except Exception as error:
        seen: set[int] = set()
        found: list[BaseException] = [error]
        while found:
            one = found.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            hidden = tuple(redacted(part) if isinstance(part, str) else part for part in one.args)
            if hidden != one.args:
                one.args = hidden
            for name in ("strerror", "filename", "filename2") if isinstance(one, OSError) else ():
                shown = getattr(one, name)  # what such an error shows instead of its arguments
                if isinstance(shown, str) and redacted(shown) != shown:
                    setattr(one, name, redacted(shown))
            found += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
        raise
