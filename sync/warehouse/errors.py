"""What the engine says when it does not do what it was told."""

from __future__ import annotations

import re

from dataflow.errors import DataflowError

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")
_VERSION = re.compile(r"\(version [\d.]+\)\.?\s*")


class EngineError(DataflowError):
    """The engine answered with an error. A statement that writes may have written before it.

    `code` is ClickHouse's number of the error, 0 where none is told. The text is one line.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)

    @classmethod
    def read(cls, text: str) -> EngineError:
        """Make one of the engine's own text, without the frame it puts around it (repeated codes, its version)."""
        codes = _CODE.findall(text)
        plain = _VERSION.sub("", _CODE.sub("", text))
        return cls(int(codes[-1]) if codes else 0, _without_repeated_name(" ".join(plain.split())))


def _without_repeated_name(text: str) -> str:
    """`... (READONLY). (READONLY)` -> `... (READONLY)`."""
    return re.sub(r"(\([A-Z_]+\))(?:\.? \1)+$", r"\1", text)
