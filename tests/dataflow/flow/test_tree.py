"""What the text of a flow file means, value by value."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dataflow.flow.findings import Mark
from dataflow.flow.tree import Block, locate, parse, plain


def value(text: str, **environ: str) -> object:
    root, findings = parse(f"key: {text}\n", environ)
    assert root is not None
    assert findings.found == []
    return plain(root)["key"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("", None),
        ("''", ""),
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2030-01-01", "2030-01-01"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        (".inf", math.inf),
        ("1.2.3", "1.2.3"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("float?", "float?"),
        ("[float?, a?b, what?]", ["float?", "a?b", "what?"]),
        ("{a: float?, b: 1}", {"a": "float?", "b": 1}),
        ("{on: 1, no: 2, 5: 3, ~: 4}", {"on": 1, "no": 2, "5": 3, "~": 4}),
        ("[1, {a: [b]}]", [1, {"a": ["b"]}]),
    ],
)
def test_yaml_is_read_by_its_core_schema(text: str, meaning: object) -> None:
    found = value(text)
    assert found == meaning
    assert type(found) is type(meaning)


@pytest.mark.parametrize(
    ("content", "meaning"),
    [(b"hunter2\n", "a-hunter2"), (b"hunter2\r\n", "a-hunter2"), (b"a\n\n", "a-a\n"), (b"", "a-"), (b"${A}", "a-${A}")],
)
def test_a_file_stands_for_its_content(tmp_path: Path, content: bytes, meaning: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert value(f"a-${{file:{tmp_path}/secret}}", A="x") == meaning


def test_a_file_that_is_no_text_is_told_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter2\xff")
    _, findings = parse(f"key: ${{file:{tmp_path}/secret}}\n", {})
    (found,) = findings.found
    assert found.code == "F015" and "hunter2" not in str(found)


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(value(".nan"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "environ", "meaning"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("${A}", {"A": ""}, None),
        ("${A}", {"A": "5"}, 5),
        ("'${A}'", {"A": "5"}, "5"),
        ("${A:5}", {}, 5),
        ("${A:5}", {"A": ""}, 5),
        ("${A:5}", {"A": "6"}, 6),
        ("'${A:}'", {}, ""),
        ("a-${A}-${B:b}", {"A": "x"}, "a-x-b"),
        ("${A:redis://h:1/0}", {}, "redis://h:1/0"),
        ("$${A}", {}, "${A}"),
        ("$A", {"A": "x"}, "$A"),
        ("'${A}'", {"A": "${B}"}, "${B}"),
        ("'a: ${A}'", {"A": "{x: y}"}, "a: {x: y}"),
    ],
)
def test_variables_stand_in_any_value(text: str, environ: dict[str, str], meaning: object) -> None:
    assert value(text, **environ) == meaning


def test_variables_do_not_stand_in_keys() -> None:
    root, _ = parse("${A}: 1\n", {"A": "x"})
    assert root is not None
    assert plain(root) == {"${A}": 1}


TEXT = """\
streams:
  a: {on: main,
      list: [1, two]}
  b:
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (1, 1)),
        (("streams",), (1, 1)),
        (("streams", "a"), (2, 3)),
        (("streams", "a", "on"), (2, 11)),
        (("streams", "a", "list"), (3, 13)),
        (("streams", "a", "list", 1), (3, 17)),
        (("streams", "a", "list", 7), (3, 13)),
        (("streams", "a", "gone"), (2, 3)),
        (("streams", "b"), (4, 3)),
        (("gone", "a"), (1, 1)),
    ],
)
def test_a_path_has_a_place(path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    root, _ = parse(TEXT, {})
    assert isinstance(root, Block)
    assert locate(root, path) == Mark(*place)
