"""References to environment variables in the text of a flow file: `${NAME}` and `${NAME:default}`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(
    r"(?P<escape>\$\$\{)"
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}]*))?\}"
    r"|(?P<broken>\$\{[^}]*\}?)"
)


class MissingVariable(LookupError):
    """A variable is not set and has no default. The only argument is its name."""


class BrokenReference(ValueError):
    """Something that begins like a reference is none. The only argument is that text."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference replaced. Pure.

    `${NAME:default}` takes the default when the variable is unset or empty. `$${` stands for `${` itself. What a
    variable holds is not expanded again.

    Raises MissingVariable, BrokenReference.
    """
    return _TOKEN.sub(lambda match: _replacement(match, environ), text)


def refers(text: str) -> bool:
    """Whether `expand` would change the text or refuse it."""
    return _TOKEN.search(text) is not None


def _replacement(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["escape"]:
        return "${"
    if match["broken"]:
        raise BrokenReference(match["broken"])
    value, default = environ.get(match["name"]), match["default"]
    if default is not None:
        return value or default
    if value is None:
        raise MissingVariable(match["name"])
    return value
