"""Values at the `{name:Type}` places of a statement, as literals. Pure.

Servers fill such places themselves from 22.8 on only; here it is done for all of them alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from dataflow.errors import UserError

_TOKEN: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*`    # quoted: left alone
      | --[^\n]* | /\*.*?\*/                                         # comments: left alone
      | \{\s*(?P<name>\w+)\s*:\s*(?P<type>[\w(),' ]+?)\s*\}""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"})
_NUMBER: Final = re.compile(r"U?Int\d+|Float\d+")


def fill(statement: str, parameters: Mapping[str, Any]) -> str:
    """Put values at the places of a statement. Raises UserError: a place without a value, a value of no known kind."""

    def literal_at(found: re.Match[str]) -> str:
        name, type_ = found["name"], found["type"]
        if name is None:
            return found[0]
        if name not in parameters:
            raise UserError(f"the statement has a place {{{name}:{type_}}}, but no value was given for it")
        return literal(parameters[name], type_)

    return _TOKEN.sub(literal_at, statement)


def literal(value: Any, type_: str) -> str:
    """A value as ClickHouse reads it, of this type."""
    if isinstance(value, (list, tuple)):
        return f"CAST([{', '.join(map(_scalar, value))}] AS {type_})"
    if value is None:
        return "NULL"
    text = _scalar(value)
    if (isinstance(value, str) and type_ == "String") or (_NUMBER.fullmatch(type_) and not isinstance(value, str)):
        return text
    return f"CAST({text} AS {type_})"


def quoted(text: str) -> str:
    """A text as a literal."""
    return f"'{text.translate(_ESCAPES)}'"


def _scalar(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (int, float)):
        return repr(value)
    raise UserError(f"a parameter is a str, int, float, bool, None or a list of those, not {type(value).__name__}")
