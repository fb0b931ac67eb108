"""The way into a flow file: `load` for what runs it, `check` for what reports on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataflow.errors import FlowError, Problem
from dataflow.flow import build, shape
from dataflow.flow.findings import Finding, Findings, Mark
from dataflow.flow.handlers import handler_faults
from dataflow.flow.judge import judge
from dataflow.flow.kind import BAD, Place
from dataflow.flow.spec import Flow
from dataflow.flow.tree import Node, locate, parse, plain

MAX_BYTES = 1 << 20
"""A larger file is refused unread."""
UNSET = "F012"
"""The code of a variable that is not set."""


def load(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> Flow:
    """Read and check a flow file. Imports no handler, contacts no server.

    Args:
        path: the file; problems name it as given, `Flow.path` is absolute.
        environ: where `${NAME}` is looked up.

    Raises FlowError with every problem of the file, sorted by position; nothing is changed by then.
    """
    return loads(_text(path), path, environ)


def loads(text: str, path: str | os.PathLike[str] = "flow.yml", environ: Mapping[str, str] = os.environ) -> Flow:
    """As `load`, for text that is at hand. `path` need not exist; handlers are looked for beside it."""
    return _good(_read(text, path, environ), path)


def check(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> Flow:
    """As `load`, and the modules of all handlers must be there (F501, F502), though none is imported."""
    reading = _read(_text(path), path, environ)
    if reading.flow:
        reading.findings.add_all(handler_faults(reading.flow))
    return _good(reading, path)


@dataclass(frozen=True, slots=True)
class Outline:
    """A flow as its file alone tells it, where the environment that it will run with is not at hand.

    `unset` are the variables that are not set, as the file names them; blanks stand for what they would say.
    """

    flow: Flow
    unset: tuple[str, ...]


def outline(
    path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ, *, handlers: bool = False
) -> Outline:
    """As `load` (with `handlers`: as `check`), but that a variable is not set is no problem (F012).

    For whoever installs or packs a flow. Nothing may be run from it: what depends on such a variable is not judged.
    """
    reading = _read(_text(path), path, environ)
    if reading.flow and handlers:
        reading.findings.add_all(handler_faults(reading.flow))
    found = reading.findings.found
    others = [finding for finding in found if finding.code != UNSET]
    if reading.flow is None or others:
        raise FlowError(_problems(reading.root, others or found, os.fspath(path)))
    return Outline(reading.flow, tuple(dict.fromkeys(str(finding.values["name"]) for finding in found)))


@dataclass(frozen=True, slots=True)
class _Reading:
    """How far reading came. `flow` holds blanks where something was found."""

    root: Node | None
    flow: Flow | None
    findings: Findings


def _read(text: str, path: str | os.PathLike[str], environ: Mapping[str, str]) -> _Reading:
    root, findings = parse(text, environ)
    if root is None:
        return _Reading(None, None, findings)
    values = shape.FILE.read(root, Place((), findings))
    if values is BAD:
        return _Reading(root, None, findings)
    if values["connections"] is None:
        values["connections"] = build.default_connections(environ)
    flow = build.flow(values, Path(path).absolute(), plain(root))
    judge(flow, findings)
    return _Reading(root, flow, findings)


def _good(reading: _Reading, path: str | os.PathLike[str]) -> Flow:
    if reading.flow is None or reading.findings.found:
        raise FlowError(_problems(reading.root, reading.findings.found, os.fspath(path)))
    return reading.flow


def _problems(root: Node | None, findings: list[Finding], file: str) -> list[Problem]:
    """Findings as the user sees them, sorted by position, none twice."""
    placed = {finding.problem(file, _mark(root, finding)) for finding in findings}
    return sorted(placed, key=lambda one: (one.line, one.column, one.code, one.text))


def _mark(root: Node | None, finding: Finding) -> Mark:
    if finding.mark is not None:
        return finding.mark
    return Mark(1, 1) if root is None else locate(root, finding.path)


def _text(path: str | os.PathLike[str]) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        raise _unreadable(path, "F001", reason=getattr(error, "strerror", None) or str(error)) from None
    if len(data) > MAX_BYTES:
        raise _unreadable(path, "F003", size=max(size, len(data)), limit=MAX_BYTES)
    return _decoded(data, path)


def _decoded(data: bytes, path: str | os.PathLike[str]) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _unreadable(path, "F002", mark) from None


def _unreadable(path: str | os.PathLike[str], code: str, mark: Mark | None = None, **values: object) -> FlowError:
    finding = Finding(code, (), values, mark or Mark(1, 1))
    return FlowError([finding.problem(os.fspath(path), mark or Mark(1, 1))])
