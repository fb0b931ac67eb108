"""Messages from a file: JSON lines, a JSON list, CSV or TSV; each with the line it stands on. Pure but for reading.

What a line holds is checked for its form alone here; whether it fits a stream is checked by `dataflow.cli.send`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, Literal, NamedTuple, NoReturn

from dataflow.errors import UserError
from dataflow.faults import kind, show

Form = Literal["jsonl", "json", "csv", "tsv"]

SUFFIXES: Mapping[str, Form] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
}
"""What the end of a file's name says; .json may be a list or lines."""

_BOM = b"\xef\xbb\xbf"
_MAX_CELL = 1 << 30


class Row(NamedTuple):
    """One message, or why there is none. `line` counts from 1; of a JSON list it is the number of the item."""

    line: int
    message: dict[str, Any] | None
    fault: str = ""


def form_of(name: str, file: IO[bytes]) -> Form:
    """Find out what a file holds, by its name, else by its first bytes. Leaves the file at its start."""
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    first = next((line for line in file if line.removeprefix(_BOM).strip()), b"").removeprefix(_BOM).strip()
    file.seek(0)
    if first[:1] == b"[":
        return "json"
    if first[:1] == b"{":
        return "json" if suffix == ".json" and not _is_object(first) else "jsonl"
    return "csv"


def rows(file: IO[bytes], form: Form) -> Iterator[Row]:
    """The messages of a file from where it stands, in order. Values of CSV are text.

    Raises UserError: the file as a whole cannot be read (not UTF-8, no JSON list, a bad header).
    """
    readers: Mapping[Form, Callable[[IO[bytes]], Iterator[Row]]] = {
        "jsonl": _json_lines,
        "json": _json_list,
        "csv": lambda file: _cells(file, ","),
        "tsv": lambda file: _cells(file, "\t"),
    }
    return readers[form](file)


def _is_object(line: bytes) -> bool:
    """Whether a line is an object of its own, as in JSON lines."""
    try:
        return isinstance(json.loads(line), dict) and b'"messages"' not in line
    except (ValueError, RecursionError):
        return False


def _json_lines(file: IO[bytes]) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        text = line.removeprefix(_BOM).strip() if number == 1 else line.strip()
        if not text:
            continue
        try:
            yield _row(number, _strict(text))
        except ValueError as error:
            yield Row(number, None, f"not JSON: {error}")


def _json_list(file: IO[bytes]) -> Iterator[Row]:
    try:
        found = _strict(file.read().removeprefix(_BOM))
    except ValueError as error:
        raise UserError(f"the file is not JSON: {error}") from error
    if isinstance(found, dict) and isinstance(found.get("messages"), list) and len(found) == 1:
        found = found["messages"]
    items = found if isinstance(found, list) else [found]
    for number, item in enumerate(items, 1):
        yield _row(number, item)


def _row(line: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(line, value)
    return Row(line, None, f"a message is an object of names and values, not {kind(value)}")


def _strict(text: bytes) -> Any:
    """JSON without NaN and without a name twice. Raises ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested far too deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {show(twice)!r} stands twice in one object")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _cells(file: IO[bytes], delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = next(reader, [])
        _check_header(header)
        yield from _records(reader, header)
    except UnicodeDecodeError as error:
        raise UserError(f"the file is not UTF-8: {error}") from error
    except csv.Error as error:
        raise UserError(f"line {reader.line_num}: not CSV: {error}") from error
    finally:
        if not file.closed:
            text.detach()


def _records(reader: Any, header: Sequence[str]) -> Iterator[Row]:
    before = reader.line_num
    for cells in reader:
        line, before = before + 1, reader.line_num
        if not cells:
            continue
        if len(cells) == len(header):
            yield Row(line, dict(zip(header, cells, strict=True)))
        else:
            yield Row(line, None, f"{len(cells)} cells where the header has {len(header)}")


def _check_header(header: Sequence[str]) -> None:
    if not header:
        raise UserError("the file has no header: the first line of CSV names the fields")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise UserError(f"the header names {', '.join(sorted(map(repr, twice)))} twice")
    if "" in header:
        raise UserError("the header has a column without a name")
