"""A text of several statements, taken apart. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<quoted>'(?:\\.|[^'\\])*'? | "(?:\\.|[^"\\])*"? | `(?:\\.|[^`\\])*`? | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<comment>--[^\n]* | \#[ !][^\n]* | /\*.*?(?:\*/|\Z))
    | (?P<end>;)
    | (?P<rows>\bFORMAT\s+(?!VALUES\b)\w+)
    | (?P<word>\w+)
    | (?P<space>\s+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def split(text: str) -> list[str]:
    """The statements of a text, in order, each without its semicolon; what holds comments alone is left out.

    Semicolons in quotes and comments separate nothing, nor do those of the rows after `INSERT ... FORMAT <name>`, which
    go to the end of the text. A quote that is not closed goes to the end too: the server says what is wrong with it.
    """
    return [part.strip() for part in _parts(text) if part.strip()]


def without_comments(statement: str) -> str:
    """A statement for people to recognise it by: comments stand as blanks."""
    return "".join(
        " " if token.lastgroup == "comment" else token.group() for token in _TOKEN.finditer(statement)
    ).strip()


def _parts(text: str) -> Iterator[str]:
    begin, first, words = 0, "", set[str]()
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "end":
            if first:
                yield text[begin : token.start()]
            begin, first, words = token.end(), "", set()
        elif kind not in ("comment", "space"):
            first = first or token.group().upper()
            words.add(token.group().upper())
        if kind == "rows" and first == "INSERT" and "SELECT" not in words:
            break
    if first:
        yield text[begin:]
