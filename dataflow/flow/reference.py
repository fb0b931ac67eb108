"""The generated parts of docs/FLOW.md: the keys of the file and the table of codes.

A generated part stands between `<!-- generated: <name> -->` and `<!-- end -->`.
`python -m dataflow.flow.reference docs/FLOW.md` writes them anew; a test tells when that is due.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from string import Formatter

from dataflow.flow import schedule, shape
from dataflow.flow.codes import CODES
from dataflow.flow.sections import Key, Section

SECTIONS: Mapping[str, Section] = {
    "file": shape.FILE,
    "connection": shape.CONNECTION,
    "hub": shape.HUB,
    "scheduler": shape.SCHEDULER,
    "sync": shape.SYNC,
    "stream": shape.STREAM,
    "accepts": shape.ACCEPTS,
    "keep": shape.KEEP,
    "worker": shape.WORKER,
    "s2s": shape.S2S,
    "route": shape.ROUTE,
    "s2ch": shape.S2CH,
    "s2mongo": shape.S2MONGO,
    "mongo2s": shape.MONGO2S,
    "interval": schedule.INTERVAL,
}

_PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def render(page: str) -> str:
    """The page with every generated part made anew. Pure. Raises KeyError for a part that nobody generates."""
    parts: dict[str, Callable[[], str]] = {name: partial(keys, one) for name, one in SECTIONS.items()}
    parts["codes"] = codes
    return _PART.sub(lambda match: f"{match[1]}\n{parts[match[2]]()}\n{match[3]}", page)


def keys(section: Section) -> str:
    """The keys of a section as a table."""
    rows = [f"| `{key.name}` | {_cell(key.kind.words)} | {_default(key)} | {_cell(key.doc)} |" for key in section.keys]
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows, ""])


def codes() -> str:
    """The table of codes."""
    return "\n".join(["| code | what is wrong | what to do |", "|---|---|---|", *_code_rows(), ""])


def _code_rows() -> Iterator[str]:
    for name, code in CODES.items():
        yield f"| {name} | {_template(code.text)} | {_template(code.fix)} |"


def _template(template: str) -> str:
    """A template of codes.py with its blanks as words; optional ends of sentences are left out."""
    parts = Formatter().parse(template)
    return _cell("".join(text + (f"\0{blank}\1" if blank and blank != "guess" else "") for text, blank, _, _ in parts))


def _cell(text: str) -> str:
    """Text for a cell of a table. What stands between \\0 and \\1 is a blank: in italics, or in <> inside code."""
    return "`".join(_code(part) if index % 2 else _prose(part) for index, part in enumerate(text.split("`")))


def _code(text: str) -> str:
    return text.replace("\0", "<").replace("\1", ">").replace("|", "\\|")


def _prose(text: str) -> str:
    safe = text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
    return safe.replace("\0", "*").replace("\1", "*")


def _default(key: Key) -> str:
    if key.required:
        return "**required**"
    if key.default_words:
        return _cell(key.default_words)
    if isinstance(key.default, bool):
        return str(key.default).lower()
    return f"{key.default:g}" if isinstance(key.default, float) else str(key.default) if _tells(key.default) else ""


def _tells(default: object) -> bool:
    return isinstance(default, (str, int))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(render(target.read_text(encoding="utf-8")), encoding="utf-8")
