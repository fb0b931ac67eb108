"""The encoding of messages: what goes in comes out; what does not fit is refused with every fault named."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.errors import InvalidMessage
from dataflow.flow.spec import Field, FieldType
from dataflow.message import (
    MAX_FIELDS,
    MAX_MESSAGE_BYTES,
    MAX_NAME_BYTES,
    MAX_VALUE_BYTES,
    MID,
    PATH,
    Codec,
    meta,
)

FREE = Codec(None)


def lead(mids: Iterable[bytes]) -> tuple[Iterable[bytes], ...]:
    """Ids and the path `hub@1`, column by column."""
    return repeat(MID), mids, repeat(PATH), repeat(b"hub@1")


TYPES: tuple[FieldType, ...] = ("str", "int", "float", "bool", "datetime", "json")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda name: not name.startswith("_")
)
offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda delta: timezone(timedelta(seconds=int(delta.total_seconds())))
)
moments = st.datetimes(timezones=st.none() | offsets)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
VALUES: dict[FieldType, st.SearchStrategy[Any]] = {
    "str": texts,
    "int": st.integers(),
    "float": st.floats(),
    "bool": st.booleans(),
    "datetime": moments,
    "json": json_values.map(json.dumps),
}


@st.composite
def declared(draw: st.DrawFn) -> tuple[dict[str, Field], dict[str, Any]]:
    """A schema and a message that fits it, undeclared fields among them."""
    schema: dict[str, Field] = {}
    message: dict[str, Any] = {}
    for name in draw(st.lists(names, unique=True, max_size=8)):
        kind = draw(st.sampled_from(TYPES))
        schema[name] = Field(kind, nullable=draw(st.booleans()))
        message[name] = None if schema[name].nullable and draw(st.booleans()) else draw(VALUES[kind])
    for name in draw(st.lists(names.filter(lambda name: name not in schema), unique=True, max_size=3)):
        message[name] = draw(texts | st.none())
    return schema, dict(draw(st.permutations(list(message.items()))))


def same(left: Any, right: Any) -> bool:
    """Equal in type and value; nan equals nan and 0.0 is not -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, datetime):
        return bool(left.isoformat() == right.isoformat())
    return bool(left == right)


def same_message(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)


def codes(codec: Codec, message: object) -> dict[str, str]:
    return {fault.field: fault.code for fault in codec.faults(message, 0)}


@given(declared())
def test_what_a_schema_declares_comes_back_as_it_was_sent(
    case: tuple[dict[str, Field], dict[str, Any]],
) -> None:
    schema, message = case
    codec = Codec(schema)
    for _ in range(2):  # the second time from the caches
        decoded = codec.decode(meta("m-0", "hub@1") + codec.encode(message))
        assert (decoded.mid, decoded.path, decoded.attempt) == ("m-0", "hub@1", 0)
        assert same_message(decoded.message, message)


@given(st.dictionaries(names, texts | st.none(), max_size=8))
def test_without_a_schema_text_and_null_come_back(message: dict[str, str | None]) -> None:
    assert FREE.decode(FREE.encode(message)).message == message


@given(declared(), st.randoms())
def test_the_order_of_the_fields_in_an_entry_does_not_matter(
    case: tuple[dict[str, Field], dict[str, Any]], random: Any
) -> None:
    schema, message = case
    fields = [*meta("m-0", "hub@1"), b"_attempt", b"3", *Codec(schema).encode(message)]
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    random.shuffle(pairs)
    decoded = Codec(schema).decode([part for pair in pairs for part in pair])
    assert (decoded.mid, decoded.path, decoded.attempt) == ("m-0", "hub@1", 3)
    assert same_message(decoded.message, message)


@given(st.lists(st.binary(max_size=12), max_size=8).map(lambda parts: parts[: len(parts) // 2 * 2]))
def test_whatever_stands_in_an_entry_is_read_or_refused(fields: list[bytes]) -> None:
    codec = Codec({"a": Field("int", nullable=True), "b": Field("datetime", nullable=True)})
    try:
        decoded = codec.decode(fields)
    except InvalidMessage as invalid:
        assert all(fault.code and json.dumps(fault.field).encode() for fault in invalid.faults)
    else:
        assert all(type(value) is str for name, value in decoded.message.items() if name not in "ab")


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes() | st.binary() | moments,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=5) | st.sampled_from("abcdef"), anything, max_size=6) | anything)
def test_faults_and_encode_agree(message: Any) -> None:
    schema = {name: Field(kind, nullable=name in "ab") for name, kind in zip("abcdef", TYPES, strict=True)}
    for codec in (FREE, Codec(schema)):
        faults = codec.faults(message, 7)
        assert all(fault.index == 7 for fault in faults)
        assert all(f"{fault.field}{fault.text}".encode() for fault in faults)
        if not faults:
            codec.encode(message)
            continue
        with pytest.raises(InvalidMessage) as refused:
            codec.encode(message)
        assert [fault.code for fault in refused.value.faults] == [fault.code for fault in faults]


@st.composite
def alike(draw: st.DrawFn) -> tuple[dict[str, Field], list[dict[str, Any]]]:
    """A schema and messages that have the same names, mostly of the same types."""
    schema, first = draw(declared())
    messages = [first]
    for _ in range(draw(st.integers(0, 4))):
        message = dict(first)
        for name, field in schema.items():
            if message[name] is not None and draw(st.booleans()):
                message[name] = draw(
                    VALUES[field.type] | (st.integers(-9, 9) if field.type == "float" else st.nothing())
                )
        messages.append(message)
    return schema, messages


@given(alike())
def test_many_messages_are_written_as_each_alone(case: tuple[dict[str, Field], list[dict[str, Any]]]) -> None:
    schema, messages = case
    mids = [b"m-%d" % n for n in range(len(messages))]
    for codec in (Codec(schema), FREE):
        entries = codec.encode_all(messages, lead(mids))
        assert entries == [
            [*meta(mid.decode(), "hub@1"), *codec.encode(message)] for mid, message in zip(mids, messages, strict=True)
        ]
        each = [codec.encode(message) for message in messages]
        assert codec.encode_all(messages) == each
        alike = codec.encode_alike(messages)
        if alike is None:  # as one by one: nulls, no names, or a single message
            assert len(messages) == 1 or any(None in message.values() or not message for message in messages)
        else:
            names, columns = alike
            assert all(row[::2] == names for row in each)
            assert list(map(list, zip(*columns, strict=True))) == [row[1::2] for row in each]


@given(alike())
def test_many_entries_are_read_as_each_alone(case: tuple[dict[str, Field], list[dict[str, Any]]]) -> None:
    schema, messages = case
    codec = Codec(schema)
    rows = codec.encode_all(messages, lead([b"m-%d" % n for n in range(len(messages))]))
    found = codec.decode_all(rows)
    if found is None:  # nulls, line breaks, or not all of them alike
        assert any(
            None in message.values() or b"\n" in b"".join(row) for message, row in zip(messages, rows, strict=True)
        )
        return
    for mid, path, attempt, message, row in zip(*found, rows, strict=True):
        alone = codec.decode(row)
        assert (mid, path, attempt) == (alone.mid, alone.path, alone.attempt)
        assert same_message(message, alone.message)


def test_many_entries_without_our_fields_have_no_id() -> None:
    found = FREE.decode_all([[b"a", b"1"], [b"a", b"2"]])
    assert found == (["", ""], ["", ""], [0, 0], [{"a": "1"}, {"a": "2"}])


@given(st.lists(st.lists(st.binary(max_size=3) | st.sampled_from([b"a", b"1", b"_mid"]), max_size=6), max_size=4))
def test_entries_of_any_kind_are_read_together_only_where_each_can_be(rows: list[list[bytes]]) -> None:
    codec = Codec({"a": Field("int")})
    rows = [row[: len(row) // 2 * 2] for row in rows]
    found = codec.decode_all(rows)
    if found is not None:
        assert [codec.decode(row).message for row in rows] == found.messages


@pytest.mark.parametrize(
    "rows",
    [
        [[b"a", b"1"], [b"a", b"x"]],
        [[b"a", b"1"], [b"a", b"1_0"]],
        [[b"a", b"1\n2"], [b"a", b""]],
        [[b"a", b"1"], [b"b", b"2"]],
        [[b"a", b"1"], [b"b", b"2", b"a", b"1"]],
        [[b"\xff", b"1"], [b"\xff", b"2"]],
        [[b"a", b"1", b"_null", b"[]"]] * 2,
        [],
    ],
)
def test_what_is_unusual_is_read_one_by_one(rows: list[list[bytes]]) -> None:
    assert Codec({"a": Field("int")}).decode_all(rows) is None


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), anything, max_size=6) | anything, max_size=4))
def test_of_many_messages_every_fault_is_named_by_position(messages: list[Any]) -> None:
    schema = {name: Field(kind, nullable=name in "ab") for name, kind in zip("abcdef", TYPES, strict=True)}
    for codec in (FREE, Codec(schema)):
        faults = [fault for index, message in enumerate(messages) for fault in codec.faults(message, index)]
        if not faults:
            assert len(codec.encode_all(messages)) == len(messages)
            continue
        with pytest.raises(InvalidMessage) as refused:
            codec.encode_all(messages)
        assert refused.value.faults == faults


def test_whole_numbers_become_decimal_ones_in_every_message_of_a_float_field() -> None:
    codec = Codec({"f": Field("float")})
    assert codec.encode_all([{"f": 3}, {"f": 0.5}, {"f": 10**20}]) == [[b"f", b"3.0"], [b"f", b"0.5"], [b"f", b"1e+20"]]
    assert FREE.encode_all([{"f": 3}, {"f": 0.5}]) == [[b"f", b"3"], [b"f", b"0.5"]]


def test_of_many_messages_the_one_that_is_too_long_is_named() -> None:
    half = {"v": "x" * (MAX_MESSAGE_BYTES // 2)}
    assert len(FREE.encode_all([half] * 4)) == 4
    with pytest.raises(InvalidMessage) as refused:
        FREE.encode_all([half, {"v": "x" * MAX_MESSAGE_BYTES}, half])
    assert [(fault.index, fault.code) for fault in refused.value.faults] == [(1, "too_long")]


def test_the_text_of_every_scalar() -> None:
    message = {"s": "ü: x", "i": -(10**30), "f": 1e30, "n": None, "t": True, "u": False, "e": ""}
    assert FREE.encode(message) == [
        *(b"s", "ü: x".encode(), b"i", b"-1000000000000000000000000000000", b"f", b"1e+30"),
        *(b"t", b"true", b"u", b"false", b"e", b"", b"_null", b'["n"]'),
    ]
    assert FREE.encode({"a": math.nan, "b": math.inf, "c": -math.inf}) == [
        b"a",
        b"nan",
        b"b",
        b"inf",
        b"c",
        b"-inf",
    ]


def test_an_int_in_a_float_field_becomes_a_float_but_a_bool_is_no_number() -> None:
    codec = Codec({"f": Field("float")})
    assert codec.encode({"f": 3}) == [b"f", b"3.0"]
    assert codes(codec, {"f": True}) == {"f": "wrong_type"}
    assert codes(Codec({"i": Field("int")}), {"i": True}) == {"i": "wrong_type"}
    assert codes(Codec({"i": Field("int")}), {"i": 1.0}) == {"i": "wrong_type"}
    assert codes(codec, {"f": 10**400}) == {"f": "wrong_type"}


def test_a_datetime_may_be_sent_as_text() -> None:
    codec = Codec({"ts": Field("datetime")})
    sent = codec.encode({"ts": "2024-05-01T12:30:00.123456789Z"})
    assert sent == [b"ts", b"2024-05-01T12:30:00.123456+00:00"]
    assert codec.decode(sent).message == {"ts": datetime(2024, 5, 1, 12, 30, 0, 123456, tzinfo=UTC)}
    assert codes(codec, {"ts": "yesterday"}) == {"ts": "wrong_type"}
    assert codes(codec, {"ts": 1714566600}) == {"ts": "wrong_type"}


def test_a_json_field_holds_valid_json_text() -> None:
    codec = Codec({"j": Field("json")})
    assert codec.decode(codec.encode({"j": '{"a": [1, null]}'})).message == {"j": '{"a": [1, null]}'}
    for wrong in ("{", "", "NaN", "[" * 100_000, "1 2"):
        assert codes(codec, {"j": wrong}) == {"j": "wrong_type"}
        with pytest.raises(InvalidMessage):
            codec.decode([b"j", wrong.encode()])


def test_numpy_and_pandas_scalars_are_taken_from_handlers() -> None:
    message = {
        "i": np.int64(3),
        "f": np.float32(0.5),
        "g": np.float64(0.25),
        "b": np.bool_(True),
        "s": np.str_("x"),
        "t": pd.Timestamp("2024-05-01T12:30:00.123456789"),
        "d": np.datetime64("2024-05-01T12:30:00", "ns"),
        "n": pd.NaT,
        "a": pd.NA,
    }
    kinds = {
        "i": "int",
        "f": "float",
        "g": "float",
        "b": "bool",
        "s": "str",
        "t": "datetime",
        "d": "datetime",
    }
    schema = {name: Field(kind) for name, kind in kinds.items()}  # type: ignore[arg-type]
    codec = Codec(schema)
    assert codec.decode(codec.encode(message)).message == {
        "i": 3,
        "f": 0.5,
        "g": 0.25,
        "b": True,
        "s": "x",
        "t": datetime(2024, 5, 1, 12, 30, 0, 123456),
        "d": datetime(2024, 5, 1, 12, 30),
        "n": None,
        "a": None,
    }


def test_every_fault_of_a_message_is_named() -> None:
    codec = Codec({"a": Field("int"), "gone": Field("str"), "z": Field("float", nullable=True), "never": Field("bool")})
    message = {
        "a": "1",
        "_mid": "x",
        "": 1,
        "n": {"x": 1},
        "l": [1],
        "u\ud800": 1,
        "v": "\udfff",
        "never": None,
    }
    assert codes(codec, message) == {
        "a": "wrong_type",
        "_mid": "reserved",
        "": "empty_name",
        "n": "nested",
        "l": "nested",
        "u\\ud800": "bad_unicode",
        "v": "bad_unicode",
        "never": "null",
        "gone": "missing",
    }
    assert codes(FREE, [1]) == {"": "not_a_dict"}
    assert codes(FREE, {1: 2}) == {"1": "wrong_type"}
    assert codes(FREE, {"x": b"bytes"}) == {"x": "wrong_type"}


def test_the_limits_are_exact() -> None:
    FREE.encode({f"f{i}": i for i in range(MAX_FIELDS)})
    assert codes(FREE, {f"f{i}": i for i in range(MAX_FIELDS + 1)}) == {"": "too_many_fields"}
    FREE.encode({"n" * MAX_NAME_BYTES: 1})
    assert codes(FREE, {"é" * (MAX_NAME_BYTES // 2) + "n": 1})["é" * 77 + "..."] == "too_long"
    FREE.encode({"v": "x" * (MAX_MESSAGE_BYTES - 1)})
    assert codes(FREE, {"v": "x" * MAX_VALUE_BYTES}) == {"": "too_long"}
    assert codes(FREE, {"v": "x" * (MAX_VALUE_BYTES + 1)}) == {"v": "too_long"}
    assert codes(FREE, {"i": 10**4300}) == {"i": "too_long"}


def test_a_missing_nullable_field_comes_back_as_null() -> None:
    codec = Codec({"a": Field("int", nullable=True), "b": Field("int")})
    assert codec.decode(codec.encode({"b": 1})).message == {"a": None, "b": 1}
    assert codec.decode([b"b", b"1", b"_null", b'["a"]']).message == {"a": None, "b": 1}


def test_a_foreign_entry_has_no_mid() -> None:
    decoded = Codec({"a": Field("int")}).decode([b"x", b"y", b"a", b"7", b"_other", b"z"])
    assert decoded == (None, "", 0, {"x": "y", "a": 7})


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ([b"a", b"1_0"], "a", "wrong_type"),
        ([b"a", b"1.5"], "a", "wrong_type"),
        ([b"a", b"\xff"], "a", "wrong_type"),
        ([b"a", b"1", b"x", b"\xff"], "x", "bad_unicode"),
        ([b"a", b"1", b"\xff", b"x"], "\\xff", "bad_unicode"),
        ([b"a", b"1", b"a", b"2"], "a", "duplicate"),
        ([b"x", b"1"], "a", "missing"),
        ([b"_null", b'["a"]'], "a", "null"),
        ([b"a", b"1", b"_null", b'["a"]'], "a", "duplicate"),
        ([b"a", b"1", b"_null", b"{}"], "_null", "reserved"),
        ([b"x", b"1", b"_null", b'["y"]'], "a", "missing"),
        ([b"_mid", b"\xff", b"a", b"1"], "_mid", "reserved"),
        ([b"_attempt", b"x", b"a", b"1"], "_attempt", "reserved"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused_with_its_fault(fields: list[bytes], field: str, code: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        Codec({"a": Field("int")}).decode(fields)
    assert [(fault.field, fault.code) for fault in refused.value.faults] == [(field, code)]
