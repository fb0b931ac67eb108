"""What a step of reading a flow file found wrong, before it has a place in the text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from dataflow.errors import Problem
from dataflow.flow.codes import CODES
from dataflow.masking import mask_urls

Where = tuple[str | int, ...]
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
    path: Where
    values: Mapping[str, object] = field(default_factory=dict)
    mark: Mark | None = None
    because: tuple[Where, ...] = ()
    harmless: bool = False

    def echoes(self, wrong: Set[Where]) -> bool:
        """Whether one of the values it rests on is, or lies in, one of these wrong ones."""
        return any(path[:end] in wrong for path in (self.path, *self.because) for end in range(len(path) + 1))

    def problem(self, file: str, mark: Mark) -> Problem:
        """The finding as the user sees it."""
        code = CODES[self.code]
        text, fix = code.text.format(**self.values), code.fix.format(**self.values)
        return Problem(file, mark.line, mark.column, self.code, text, fix)


@dataclass(slots=True)
class Findings:
    """What was found so far, and the values that cannot be judged any more because of it."""

    found: list[Finding] = field(default_factory=list)
    wrong: set[Where] = field(default_factory=set)

    def add(self, finding: Finding) -> None:
        """Note a finding."""
        self.found.append(finding)
        if not finding.harmless:
            self.wrong.add(finding.path)

    def add_all(self, findings: Iterable[Finding]) -> None:
        """Note findings that know nothing of each other, but for echoes of earlier ones."""
        for finding in [one for one in findings if not one.echoes(self.wrong)]:
            self.add(finding)


def dotted(path: Where) -> str:
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
