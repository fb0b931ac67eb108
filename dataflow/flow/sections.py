"""Kinds of mappings with known keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dataflow.flow.findings import Finding, Mark, dotted, guess, shown
from dataflow.flow.kind import BAD, Kind, Place, Schema, entries_of
from dataflow.flow.tree import Entry, Node
from dataflow.flow.values import Choice


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section: its name, the kind of its value, what it is for.

    `default_words` says what happens without the key where `default` alone does not tell.
    """

    name: str
    kind: Kind
    doc: str
    required: bool = False
    default: Any = None
    default_words: str = ""

    @property
    def absent(self) -> Any:
        """What stands for the key where it is not written."""
        return self.kind.blank if self.required else self.default


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with known keys.

    `refused` are keys with a code of their own, for what people are likely to write and may not. Of the keys
    named in `exactly_one` one must be there and no other.
    """

    title: str
    keys: tuple[Key, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    exactly_one: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Its keys."""
        return "a mapping with " + ", ".join(key.name for key in self.keys)

    @property
    def blank(self) -> dict[str, Any]:
        """Every key with what stands for it."""
        return {key.name: key.absent for key in self.keys}

    def read(self, node: Node, place: Place) -> Any:
        """A dict with every key; absent ones have their default, broken ones their blank."""
        entries = entries_of(self, node, place)
        if entries is None:
            return BAD
        self._report_unknown(entries, place)
        self._report_missing(entries, place)
        self._report_rivals(entries, place)
        return {key.name: self._value(key, entries.get(key.name), place.at(key.name)) for key in self.keys}

    def _value(self, key: Key, entry: Entry | None, place: Place) -> Any:
        if entry is None:
            return key.absent
        value = key.kind.read(entry.node, place)
        return key.kind.blank if value is BAD else value

    def _report_unknown(self, entries: Mapping[str, Entry], place: Place) -> None:
        """Report unknown keys. The known one that was probably meant counts as wrong, too."""
        known = [key.name for key in self.keys]
        free = [name for name in known if name not in entries]
        for name in [name for name in entries if name not in known]:
            close = None if name in self.refused else guess(name, free)
            self.report_key(name, close, entries[name].key_mark, place)

    def report_key(self, name: str, close: str | None, mark: Mark, place: Place) -> None:
        """Report a key that this section does not have; `close` is the one that was probably meant."""
        place.at(close or name).report(
            self.refused.get(name, "F101"),
            mark,
            key=shown(name),
            where=dotted(place.path),
            title=self.title,
            guess=f" (did you mean {shown(close)}?)" if close else "",
            known=", ".join(key.name for key in self.keys),
        )

    def _report_missing(self, entries: Mapping[str, Entry], place: Place) -> None:
        for key in self.keys:
            if key.required and key.name not in entries:
                values = {"where": dotted(place.path), "key": key.name, "wanted": key.kind.words}
                place.findings.add_all([Finding("F102", (*place.path, key.name), values)])

    def _report_rivals(self, entries: Mapping[str, Entry], place: Place) -> None:
        found = [name for name in entries if name in self.exactly_one]
        if not self.exactly_one or len(found) == 1:
            return
        names = {"keys": ", ".join(self.exactly_one), "found": " and ".join(found) or "none"}
        mark = entries[found[1]].key_mark if found else None
        rivals = tuple((*place.path, name) for name in self.exactly_one)
        values = {"where": dotted(place.path), **names}
        place.findings.add_all([Finding("F110", rivals[0], values, mark, rivals[1:])])

    def schema(self) -> Schema:
        """An object."""
        required = [key.name for key in self.keys if key.required]
        return {
            "type": "object" if required else ["object", "null"],
            "properties": {key.name: _with_doc(key) for key in self.keys},
            "additionalProperties": False,
            **({"required": required} if required else {}),
            **({"oneOf": [{"required": [name]} for name in self.exactly_one]} if self.exactly_one else {}),
        }


def _with_doc(key: Key) -> Schema:
    default = {"default": key.default} if isinstance(key.default, (str, int, float, bool)) else {}
    return {"description": key.doc, **default, **key.kind.schema()}


@dataclass(frozen=True, slots=True)
class OneOf:
    """A section whose keys depend on the word under one of them."""

    tag: str
    sections: Mapping[str, Section]

    @property
    def words(self) -> str:
        """The words."""
        return f"a mapping with {self.tag}: {' or '.join(self.sections)}"

    @property
    def blank(self) -> dict[str, Any]:
        """As if the first word had been written."""
        return next(iter(self.sections.values())).blank

    def read(self, node: Node, place: Place) -> Any:
        """What the chosen section reads. Without a word that can be read, the rest is not judged."""
        entries = entries_of(self, node, place)
        if entries is None:
            return BAD
        word = self._word(entries, place)
        if word is None:
            return {**self.blank, self.tag: ""}
        section = self.sections[word]
        return replace(section, refused=self._refused(word)).read(node, place)

    def _word(self, entries: Mapping[str, Entry], place: Place) -> str | None:
        found = self._read_word(entries, place)
        if found is BAD:
            place.findings.wrong.add(place.path)
        return None if found is BAD else str(found)

    def _read_word(self, entries: Mapping[str, Entry], place: Place) -> Any:
        if self.tag in entries:
            return Choice(tuple(self.sections)).read(entries[self.tag].node, place.at(self.tag))
        word, first = next(iter(self.sections.items()))
        close = guess(self.tag, entries)
        if close and close not in self._refused(word):
            first.report_key(close, self.tag, entries[close].key_mark, place)
            return BAD
        values = {"where": dotted(place.path), "key": self.tag, "wanted": " or ".join(self.sections)}
        place.findings.add_all([Finding("F102", place.path, values)])
        return BAD

    def _refused(self, word: str) -> Mapping[str, str]:
        foreign = {key.name: "F112" for section in self.sections.values() for key in section.keys}
        return {**foreign, **self.sections[word].refused}

    def schema(self) -> Schema:
        """One object schema per word."""
        return {"oneOf": [section.schema() for section in self.sections.values()]}
