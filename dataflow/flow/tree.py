"""Text of a flow file -> nodes that know their line and column.

YAML is read by the core schema of YAML 1.2, which editors use too: only true and false are booleans, `on`, `no` and
`12:30` are text. Keys are text whatever they look like. Aliases are followed within bounds; merge keys, tags, second
documents and repeated keys are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from dataflow.flow.compose import MAP, MAX_DEPTH, PLAIN, SEQ, TEXT, Unreadable, compose, mark_of, too_deep
from dataflow.flow.core_schema import Scalar, meaning
from dataflow.flow.expand import BrokenReference, MissingVariable, UnreadableFile, expand, refers
from dataflow.flow.findings import Finding, Findings, Mark, Where, shown

MAX_VALUES = 50_000
"""Values of a file, those of an alias counted wherever it stands."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar.

    `mark` is that of the key where nothing is written. `written` is the text in the file, `text` the same after
    expansion, `value` what it means: a quoted scalar is text, a plain one what the core schema says. `broken`: it
    could not be read, which was reported.
    """

    mark: Mark
    written: str
    text: str
    value: Scalar
    broken: bool = False

    @property
    def typed(self) -> Scalar:
        """The value where a number or a boolean is wanted: quotes around a `${...}` do not make it text."""
        return meaning(self.text) if refers(self.written) else self.value


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value in a mapping and where its key stands."""

    key_mark: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping, in the order written."""

    mark: Mark
    entries: Mapping[str, Entry]


Node = Leaf | Listing | Block


def parse(text: str, environ: Mapping[str, str]) -> tuple[Node | None, Findings]:
    """Read the text, and the files that it refers to.

    Returns the root, None where nothing can be read further, and everything found wrong. Values that were found
    wrong are in the tree as broken leaves.
    """
    growth = _Growth(environ)
    try:
        composed = compose(text)
        root = growth.node(composed, ()) if composed else Leaf(Mark(1, 1), "", "", None)
        if isinstance(root, Leaf) and root.value is None and not root.broken:
            raise Unreadable(Finding("F005", (), mark=root.mark))
        return root, growth.findings
    except Unreadable as error:
        growth.findings.add(error.finding)
        return None, growth.findings


def plain(node: Node) -> Any:
    """A node as plain data: dicts, lists and scalars."""
    if isinstance(node, Leaf):
        return node.value
    if isinstance(node, Listing):
        return [plain(item) for item in node.items]
    return {key: plain(entry.node) for key, entry in node.entries.items()}


def locate(root: Node, path: Where) -> Mark:
    """Where a path stands: the value, or its key for sections and the things in them; else the nearest there is."""
    node, mark = root, root.mark
    for depth, part in enumerate(path):
        if isinstance(node, Block) and part in node.entries:
            entry = node.entries[str(part)]
            node = entry.node
            mark = entry.key_mark if depth < 2 else node.mark
        elif isinstance(node, Listing) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            mark = node.mark
        else:
            break
    return mark


@dataclass(slots=True)
class _Growth:
    """Turns composed nodes into ours; collects what is wrong on the way."""

    environ: Mapping[str, str]
    findings: Findings = field(default_factory=Findings)
    values: int = 0

    def node(self, node: yaml.Node, path: Where) -> Node:
        mark = mark_of(node.start_mark)
        self._count(mark, path)
        if isinstance(node, yaml.MappingNode):
            return self._block(node, mark, path)
        if isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node, SEQ, mark, path)
            return Listing(mark, tuple(self.node(item, (*path, i)) for i, item in enumerate(node.value)))
        return self._leaf(node, mark, path)

    def _count(self, mark: Mark, path: Where) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise Unreadable(Finding("F011", (), {"limit": MAX_VALUES}, mark))
        if len(path) > MAX_DEPTH:
            raise Unreadable(too_deep(mark))

    def _block(self, node: yaml.MappingNode, mark: Mark, path: Where) -> Block:
        self._refuse_tag(node, MAP, mark, path)
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, entries, path)
            if key is not None:
                entries[key] = self._entry(mark_of(key_node.start_mark), value_node, (*path, key))
        return Block(mark, entries)

    def _entry(self, key_mark: Mark, value_node: yaml.Node, path: Where) -> Entry:
        node = self.node(value_node, path)
        nothing = isinstance(node, Leaf) and not node.written and value_node.tag == PLAIN
        return Entry(key_mark, replace(node, mark=key_mark) if nothing else node)

    def _key(self, node: yaml.Node, entries: Mapping[str, Entry], path: Where) -> str | None:
        mark, text = mark_of(node.start_mark), node.value
        if not isinstance(node, yaml.ScalarNode):
            return self._report("F007", path, mark, found=_KINDS[type(node)])
        self._refuse_tag(node, TEXT, mark, path)
        if text == "<<" and node.tag == PLAIN:
            return self._report("F008", path, mark)
        if text in entries:
            return self._report("F006", (*path, text), mark, key=shown(text), line=entries[text].key_mark.line)
        if not _carried(text):
            return self._report("F014", path, mark)
        return str(text)

    def _leaf(self, node: yaml.Node, mark: Mark, path: Where) -> Leaf:
        written = str(node.value)
        text = self._expanded(written, mark, path)
        if text is None or self._refuse_tag(node, TEXT, mark, path):
            return Leaf(mark, written, "", None, broken=True)
        return Leaf(mark, written, text, meaning(text) if node.tag == PLAIN else text)

    def _expanded(self, written: str, mark: Mark, path: Where) -> str | None:
        try:
            text = expand(written, self.environ)
        except MissingVariable as error:
            return self._report("F012", path, mark, name=error.args[0])
        except UnreadableFile as error:
            return self._report("F015", path, mark, file=shown(error.args[0]), reason=error.args[1])
        except BrokenReference as error:
            return self._report("F013", path, mark, written=shown(error.args[0]))
        return text if _carried(text) else self._report("F014", path, mark)

    def _refuse_tag(self, node: yaml.Node, allowed: str, mark: Mark, path: Where) -> bool:
        if node.tag in (PLAIN, allowed):
            return False
        self._report("F009", path, mark, tag=shown(node.tag))
        return True

    def _report(self, code: str, path: Where, mark: Mark, **values: object) -> str | None:
        """Note a finding; answers None, in place of the text that could not be had."""
        self.findings.add(Finding(code, path, values, mark))
        return None


_KINDS: dict[type[yaml.Node], str] = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}


def _carried(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
