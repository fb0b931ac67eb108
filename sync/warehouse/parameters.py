"""Values bound to the `{name:Type}` places of a statement, in the text form that the engine reads."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.errors import UserError
from dataflow.warehouse import Parameter

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "'": "\\'"})


def bind(parameters: Mapping[str, Parameter]) -> dict[str, str]:
    """The texts of parameters. The engine reads a negative zero as zero.

    Raises UserError for a value that is neither a scalar nor a list of scalars.
    """
    return {name: _text(value) for name, value in parameters.items()}


def _text(value: Parameter) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_element(item) for item in value) + "]"
    return "\\N" if value is None else _scalar(value)


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    return f"'{_scalar(value)}'" if isinstance(value, str) else _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    raise UserError(f"a parameter is a str, int, float, bool, None or a list of those, not {type(value).__name__}")
