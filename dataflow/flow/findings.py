"""What a step of reading a flow file found wrong, before it has a place in the text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dataflow.errors import Problem
from dataflow.flow.codes import CODES
from dataflow.masking import mask_urls

Path = tuple[str | int, ...]
"""Where a value stands: ("workers", "score", "to", 0)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text, both numbers from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong.

    `because` are further values that the judgement rests on: if one of those was already found wrong, this
    finding would only be its echo. `mark` is set where the place is known better than the path tells. A harmless
    finding leaves a value that can be judged further.
    """

    code: str
    path: Path
    values: Mapping[str, object] = field(default_factory=dict)
    mark: Mark | None = None
    because: tuple[Path, ...] = ()
    harmless: bool = False

    def echoes(self, earlier: Iterable[Finding]) -> bool:
        """Whether one of the values it rests on is, or lies in, one of those found wrong earlier."""
        rests_on = (self.path, *self.because)
        wrong = [finding.path for finding in earlier if not finding.harmless]
        return any(path[: len(bad)] == bad for bad in wrong for path in rests_on)

    def problem(self, file: str, mark: Mark) -> Problem:
        """The finding as the user sees it."""
        code = CODES[self.code]
        text, fix = code.text.format(**self.values), code.fix.format(**self.values)
        return Problem(file, mark.line, mark.column, self.code, text, fix)


def dotted(path: Path) -> str:
    """A path for reading: workers.score.to[0]."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return shown("".join(parts).lstrip("."), limit=200, quote=False) or "the file"


def shown(text: str, limit: int = 60, *, quote: bool = True) -> str:
    """Text for a message: on one line, quoted, not too long, printable by any terminal, no password of a URL in it."""
    text = mask_urls(text)
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    plain = ascii(short) if not short.isprintable() else repr(short)
    return plain if quote else plain[1:-1]


def guess(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The guess as the end of a sentence, or nothing."""
    close = guess(name, known)
    return f" (did you mean {shown(close)}?)" if close else ""
