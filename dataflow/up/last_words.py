"""Which line of its log says best why a process has ended. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_STAMP = re.compile(r"^\d{4}-\d\d-\d\d[ T][\d:.,Z]+ ")
_TELLING = re.compile(
    r"^(ERROR|CRITICAL)\b"  # a log line of ours, without its time
    r'|"level": "(error|critical)"'
    r"|\[(ERROR|CRITICAL)\]"  # of gunicorn
    r"|^dataflow: "  # what a command says when it gives up
    r"|^[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b"  # the last line of a traceback
)


def last_words(lines: Sequence[str]) -> str:
    """The last line that tells of an error, without its time; else the last that says anything; else ""."""
    said = [_STAMP.sub("", line.rstrip()) for line in lines if line.strip()]
    telling = [line for line in said if _TELLING.search(line)]
    return (telling or said or [""])[-1].strip()
