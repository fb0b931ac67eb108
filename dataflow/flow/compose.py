"""Text -> nodes of PyYAML, by the rules of YAML 1.2 and within bounds. No object is ever constructed."""

from __future__ import annotations

from typing import Any

import yaml

from dataflow.flow.findings import Finding, Mark, shown

MAX_DEPTH = 32
"""Levels of values within values."""

# What a node's tag may be: implicit and plain, or one of the tags that say nothing new.
PLAIN, TEXT, MAP, SEQ = "plain", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))


class Unreadable(Exception):
    """The text cannot be read any further; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


class _Loader(yaml.SafeLoader):
    """Composes nodes; never constructs an object. Tells plain scalars from tagged ones."""

    depth = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return PLAIN if implicit[0] else TEXT
        return MAP if kind is yaml.MappingNode else SEQ

    def scan_plain(self) -> yaml.ScalarToken:
        """Lets `{flow: float?}` be, as YAML 1.2 does: PyYAML ends a plain scalar at `?` between braces."""
        token = super().scan_plain()
        while self.flow_level and self.peek() == "?" and token.end_mark.index == self.index:
            self.forward()
            rest = super().scan_plain()
            token = yaml.ScalarToken(f"{token.value}?{rest.value}", True, token.start_mark, rest.end_mark)
        return token

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise Unreadable(too_deep(mark_of(event.start_mark)))
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def compose(text: str) -> yaml.Node | None:
    """The only document of the text; None if it is empty. Raises Unreadable (F004, F010)."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        reason = f"the character U+{error.character:04X} is not allowed"
        raise Unreadable(_invalid(reason, _mark_of_index(text, error.position))) from None
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(_invalid(_reason(error), mark_of(mark or loader.get_mark()))) from None
    except (ValueError, OverflowError):  # an escape or a version number beyond what the scanner can hold
        raise Unreadable(_invalid("a number is too large", mark_of(loader.get_mark()))) from None
    finally:
        loader.dispose()
    return node


def _invalid(reason: str, mark: Mark) -> Finding:
    return Finding("F004", (), {"reason": shown(reason, limit=160, quote=False)}, mark)


def too_deep(mark: Mark) -> Finding:
    """F010."""
    return Finding("F010", (), {"limit": MAX_DEPTH}, mark)


def _reason(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part)


def mark_of(mark: yaml.Mark) -> Mark:
    """The same place, counted from 1."""
    return Mark(mark.line + 1, mark.column + 1)


def _mark_of_index(text: str, index: int) -> Mark:
    before = text[:index]
    return Mark(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)
