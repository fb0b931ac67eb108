"""The JSON Schema that editors use says what the loader says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dataflow.flow.schema import SCHEMA_PATH, schema_text
from dataflow.flow.tree import parse, plain
from tests.dataflow.flow.bad_flows import BAD, HEAD, NET
from tests.dataflow.flow.test_load import FULL, SMALL

SCHEMA = json.loads(schema_text())
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def test_the_file_on_disk_is_current() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), "run: python -m dataflow.flow.schema"


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Validation by the keywords that our schema uses; any other keyword is an error of the test."""
    return all(RULES[word](value, schema[word], schema) for word in schema)


def _type(value: Any, names: str | list[str], _: Any) -> bool:
    wanted = [one for name in ([names] if isinstance(names, str) else names) for one in TYPES[name]]
    return isinstance(value, tuple(wanted)) and (not isinstance(value, bool) or bool in wanted)


def _properties(value: Any, properties: dict[str, Any], _: Any) -> bool:
    return not isinstance(value, dict) or all(
        fits(value[name], properties[name]) for name in properties if name in value
    )


def _additional(value: Any, allowed: Any, schema: dict[str, Any]) -> bool:
    rest = [item for name, item in (value or {}).items() if name not in schema.get("properties", {})]
    return not rest if allowed is False else all(fits(item, allowed) for item in rest)


RULES: dict[str, Any] = {
    **dict.fromkeys(("$schema", "title", "description", "default"), lambda value, word, schema: True),
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": lambda value, names, _: not isinstance(value, dict) or set(names) <= set(value),
    "propertyNames": lambda value, rule, _: all(re.search(rule["pattern"], name) for name in value or {}),
    "minProperties": lambda value, least, _: len(value) >= least,
    "items": lambda value, each, _: not isinstance(value, list) or all(fits(item, each) for item in value),
    "minItems": lambda value, least, _: not isinstance(value, list) or len(value) >= least,
    "uniqueItems": lambda value, _, __: not isinstance(value, list) or len(set(map(str, value))) == len(value),
    "anyOf": lambda value, options, _: any(fits(value, option) for option in options),
    "oneOf": lambda value, options, _: sum(fits(value, option) for option in options) == 1,
    "enum": lambda value, allowed, _: value in allowed,
    "const": lambda value, only, _: value == only,
    "pattern": lambda value, pattern, _: not isinstance(value, str) or bool(re.search(pattern, value)),
    "minLength": lambda value, least, _: not isinstance(value, str) or len(value) >= least,
    "minimum": lambda value, least, _: not isinstance(value, int | float) or value >= least,
    "maximum": lambda value, most, _: not isinstance(value, int | float) or value <= most,
    "exclusiveMinimum": lambda value, least, _: not isinstance(value, int | float) or value > least,
}


class AsWritten(dict[str, str]):
    """Variables that stand for themselves: an editor does not expand them."""

    def get(self, name: str, default: object = None) -> str:  # type: ignore[override]
        return f"${{{name}}}"


def read(text: str) -> Any:
    root, findings = parse(text, AsWritten())
    assert root is not None
    assert findings.found == []
    return plain(root)


@pytest.mark.parametrize("text", [FULL, SMALL, HEAD + NET], ids=["full", "small", "net"])
def test_a_good_file_fits(text: str) -> None:
    assert fits(read(text), SCHEMA)


SHAPE_CODES = {"F101", "F102", "F103", "F104", "F105", "F106", "F108", "F109", "F110", "F112", "F113", "F114", "F116"}
OF_SHAPE = [bad for bad in BAD if bad.code in SHAPE_CODES and not bad.environ]


@pytest.mark.parametrize("bad", OF_SHAPE, ids=lambda bad: bad.name)
def test_a_file_of_the_wrong_shape_does_not_fit(bad: Any) -> None:
    if bad.name in BEYOND_A_SCHEMA:
        assert fits(read(bad.text), SCHEMA)
    else:
        assert not fits(read(bad.text), SCHEMA)


BEYOND_A_SCHEMA = {
    "endless",
    "an address without a host",
    "an address that cannot be read",
}
"""What a regular expression or a type cannot say."""
