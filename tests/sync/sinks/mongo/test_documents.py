"""A message as a document: every type, and everything that a document cannot be."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st

from dataflow.flow.spec import Field, Schema
from dataflow.message import Codec, meta
from sync.sink import Refusal
from sync.sinks.mongo import documents as module
from sync.sinks.mongo.documents import Documents

AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)


def read(schema: Schema | None, **fields: Any) -> dict[str, Any] | Refusal:
    """What a message becomes, as Python values again."""
    found = Documents(schema).read(meta("m", "hub@1") + Codec(schema).encode(fields))
    if isinstance(found, Refusal):
        return found
    assert found[0] == "m"
    return bson.decode(found[1], AWARE)


def refusal(schema: Schema | None, **fields: Any) -> Refusal:
    found = read(schema, **fields)
    assert isinstance(found, Refusal), found
    return found


class TestTypes:
    def test_without_a_schema_all_values_are_strings(self) -> None:
        assert read(None, n=5, x=0.5, ok=True, s="t", gone=None) == {
            "n": "5", "x": "0.5", "ok": "true", "s": "t", "gone": None,
        }  # fmt: skip

    def test_declared_fields_have_their_types(self) -> None:
        schema = {"n": Field("int"), "x": Field("float"), "ok": Field("bool"), "at": Field("datetime", nullable=True)}
        at = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
        found = read(schema, n=5, x=1, ok=False, at=at)
        assert found == {"n": 5, "x": 1.0, "ok": False, "at": at}
        assert isinstance(found, dict)
        assert isinstance(found["n"], Int64)
        assert read(schema, n=5, x=1, ok=False) == {"n": 5, "x": 1.0, "ok": False, "at": None}

    @pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, 2**31])
    def test_whole_numbers_of_64_bits(self, number: int) -> None:
        assert read({"n": Field("int")}, n=number) == {"n": number}

    @pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
    def test_larger_ones_are_refused(self, number: int) -> None:
        why = refusal({"n": Field("int")}, n=number)
        assert (why.field, why.type) == ("n", "int")
        assert "64 bits" in why.reason

    def test_floats_that_are_no_numbers(self) -> None:
        found = read({"x": Field("float"), "y": Field("float")}, x=math.inf, y=math.nan)
        assert isinstance(found, dict)
        assert found["x"] == math.inf
        assert math.isnan(found["y"])

    def test_dates_are_cut_to_the_millisecond(self) -> None:
        at = datetime(2024, 5, 1, 12, 30, 0, 123999, tzinfo=UTC)
        assert read({"at": Field("datetime")}, at=at) == {"at": at.replace(microsecond=123000)}
        early = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
        assert read({"at": Field("datetime")}, at=early) == {"at": early.replace(microsecond=999000)}

    def test_dates_are_utc(self) -> None:
        at = datetime(2024, 5, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))
        assert read({"at": Field("datetime")}, at=at) == {"at": datetime(2024, 5, 1, 10, 30, tzinfo=UTC)}
        naive = datetime(2024, 5, 1, 12, 30)
        assert read({"at": Field("datetime")}, at=naive) == {"at": naive.replace(tzinfo=UTC)}

    def test_a_date_beyond_the_calendar_is_refused(self) -> None:
        at = datetime(9999, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
        assert refusal({"at": Field("datetime")}, at=at).field == "at"

    def test_json_is_what_it_says(self) -> None:
        text = '{"a": [1, 2.5, null, {"b": "x"}], "n": 9007199254740993}'
        assert read({"j": Field("json")}, j=text) == {"j": {"a": [1, 2.5, None, {"b": "x"}], "n": 9007199254740993}}
        assert read({"j": Field("json")}, j="null") == {"j": None}

    @pytest.mark.parametrize(
        "text", ['{"a.b": 1}', '[{"$a": 1}]', '{"": 1}', '{"a\\u0000": 1}', "[18446744073709551616]"]
    )
    def test_json_that_bson_cannot_hold_is_refused(self, text: str) -> None:
        why = refusal({"j": Field("json")}, j=text)
        assert (why.field, why.type) == ("j", "json")

    def test_json_that_is_too_deep_is_refused(self) -> None:
        assert read({"j": Field("json")}, j="[" * 99 + "]" * 99) != {}
        assert "levels" in refusal({"j": Field("json")}, j="[" * 100 + "]" * 100).reason

    @given(st.dictionaries(st.text(min_size=1, max_size=20).filter(lambda name: name[0] != "_"), st.text(), max_size=5))
    def test_what_is_taken_comes_back(self, fields: dict[str, str]) -> None:
        encodable = {name: value for name, value in fields.items() if _utf8(name + value)}
        found = read(None, **encodable)
        addressable = all("." not in name and name[0] != "$" and "\0" not in name for name in encodable)
        assert found == encodable if addressable else isinstance(found, Refusal)


class TestRefused:
    @pytest.mark.parametrize("name", ["$a", "a.b", ".", "a\0b"])
    def test_names_that_nobody_can_address(self, name: str) -> None:
        why = refusal(None, **{name: "x"})
        assert why.field == name
        assert "the name of a field" in why.reason

    def test_a_field_without_a_name(self) -> None:
        found = Documents(None).read([b"_mid", b"m", b"", b"x"])
        assert isinstance(found, Refusal)
        assert "needs a name" in found.reason

    def test_what_does_not_fit_the_schema(self) -> None:
        found = Documents({"n": Field("int")}).read([b"_mid", b"m", b"n", b"x"])
        assert isinstance(found, Refusal)
        assert (found.field, found.type) == ("n", "int")

    def test_bytes_that_are_no_text(self) -> None:
        assert isinstance(Documents(None).read([b"_mid", b"m", b"a", b"\xff"]), Refusal)

    def test_a_document_over_16_megabytes(self) -> None:
        most = module.MAX_DOCUMENT_BYTES
        body = len(bson.encode({"_id": "m", "a": ""}))
        assert not isinstance(Documents(None).read([b"_mid", b"m", b"a", b"x" * (most - body)]), Refusal)
        found = Documents(None).read([b"_mid", b"m", b"a", b"x" * (most - body + 1)])
        assert isinstance(found, Refusal)
        assert str(most) in found.reason


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
