"""References in the text of a flow file: `${NAME}`, `${NAME:default}`, and to files, `${file:/path}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 1 << 16
"""A file that is referred to holds a secret or an address, and is no longer than this."""

_TOKEN = re.compile(
    r"(?P<escape>\$\$\{)"
    r"|\$\{file:(?P<file>[^}]*)\}"
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}]*))?\}"
    r"|(?P<broken>\$\{[^}]*\}?)"
)


class MissingVariable(LookupError):
    """A variable is not set and has no default. The only argument is its name."""


class UnreadableFile(OSError):
    """A file that is referred to cannot be used. The arguments are its path and why; never what is in it."""


class BrokenReference(ValueError):
    """Something that begins like a reference is none. The only argument is that text."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference replaced. Reads the files that it refers to, and nothing else.

    `${NAME:default}` takes the default when the variable is unset or empty. `${file:/path}` is the content of a file
    without the end of its last line. `$${` stands for `${` itself. What a variable or file holds is not expanded again.

    Raises MissingVariable, UnreadableFile, BrokenReference.
    """
    return _TOKEN.sub(lambda match: _replacement(match, environ), text)


def refers(text: str) -> bool:
    """Whether `expand` would change the text or refuse it."""
    return _TOKEN.search(text) is not None


def _replacement(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["escape"]:
        return "${"
    if match["file"] is not None:
        return _content(match["file"])
    if match["broken"]:
        raise BrokenReference(match["broken"])
    value, default = environ.get(match["name"]), match["default"]
    if default is not None:
        return value or default
    if value is None:
        raise MissingVariable(match["name"])
    return value


def _content(path: str) -> str:
    if not path.startswith("/"):
        raise UnreadableFile(path, "its path must be absolute")
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnreadableFile(path, getattr(error, "strerror", None) or "no such path") from None
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableFile(path, f"it is longer than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableFile(path, "it is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
