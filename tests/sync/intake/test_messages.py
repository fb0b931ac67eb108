"""A document as a message: every type, and everything that a message cannot hold."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson.binary import Binary, UuidRepresentation
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex
from hypothesis import given
from hypothesis import strategies as st

from dataflow.flow.load import loads
from dataflow.flow.spec import Edge, Field, Schema
from dataflow.ids import mid_time_ms, parent_id
from dataflow.message import Codec
from dataflow.outbox import AS_IT_IS
from sync.intake import messages as module
from sync.intake.messages import Messages, Misfit
from tests.sync.intake.intake_lab import FLOW

EDGE = replace(loads(FLOW, environ={}).edges["take"], fields=None)
ID = ObjectId("6b0131ab4143533f94a01d31")
UUID = uuid.UUID("12345678123456781234567812345678")


def read(schema: Schema | None, edge: Edge = EDGE, **fields: Any) -> dict[str, Any]:
    """What a document becomes, as Python values."""
    made = Messages(edge, schema).make({"_id": ID, **fields}, 5)
    assert not isinstance(made, Misfit), made.why
    decoded = Codec(schema).decode(made)
    assert decoded.path == "take@5"
    return decoded.message


def misfit(schema: Schema | None, edge: Edge = EDGE, **fields: Any) -> Misfit:
    made = Messages(edge, schema).make({"_id": ID, **fields}, 5)
    assert isinstance(made, Misfit), made
    return made


class TestTypes:
    def test_scalars_are_as_they_are(self) -> None:
        schema = {"n": Field("int"), "x": Field("float"), "ok": Field("bool"), "gone": Field("str", nullable=True)}
        assert read(schema, n=Int64(2**60), x=0.5, ok=True, s="t", gone=None) == {
            "n": 2**60, "x": 0.5, "ok": True, "s": "t", "gone": None,
        }  # fmt: skip
        assert math.isnan(read(schema, n=1, x=math.nan, ok=True)["x"])

    def test_dates_have_their_zone(self) -> None:
        at = datetime(2026, 1, 31, 12, 30, 0, 567000, tzinfo=UTC)
        assert read({"at": Field("datetime")}, at=at) == {"at": at}
        assert read(None, at=at) == {"at": "2026-01-31T12:30:00.567000+00:00"}

    def test_ids_and_exact_numbers_are_text(self) -> None:
        binary = Binary.from_uuid(UUID, UuidRepresentation.STANDARD)
        found = read(None, o=ID, d=Decimal128("1.50"), u=binary)
        assert found == {"o": str(ID), "d": "1.50", "u": str(UUID)}

    def test_what_is_nested_is_json_where_the_stream_says_so(self) -> None:
        at = datetime(2026, 1, 31, tzinfo=UTC)
        found = read({"j": Field("json")}, j={"a": [1, {"o": ID}], "at": at, "d": Decimal128("2.0")})
        assert found["j"] == f'{{"a":[1,{{"o":"{ID}"}}],"at":"2026-01-31T00:00:00+00:00","d":"2.0"}}'
        assert read({"j": Field("json")}, j="text") == {"j": '"text"'}
        assert read({"j": Field("json", nullable=True)}, j=None) == {"j": None}

    def test_only_what_is_chosen_goes_over(self) -> None:
        edge = replace(EDGE, fields=("b", "gone"), id_field="key")
        assert read(None, edge, a=1, b=2, __v=0) == {"b": "2", "key": str(ID)}


class TestMisfits:
    @pytest.mark.parametrize(
        ("value", "says"),
        [
            ({"a": 1}, "declare the field `json`"),
            ([1], "declare the field `json`"),
            (b"\0\1", "bytes"),
            (Binary(b"ab", 5), "Binary"),
            (Regex("a"), "Regex"),
            (DatetimeMS(2**60), "DatetimeMS"),
            ("x" * (1 << 20), "bytes"),
            ("\udcff", ""),
        ],
    )
    def test_what_no_message_can_hold(self, value: Any, says: str) -> None:
        found = misfit(None, a=value)
        assert found.why.field in ("a", "")
        assert says in found.why.reason

    @pytest.mark.parametrize("value", [math.nan, {"x": math.inf}, "\udcff", ["\udcff"], {"a": b"x"}])
    def test_what_json_cannot_hold(self, value: Any) -> None:
        assert misfit({"j": Field("json")}, j=value).why.field == "j"

    def test_what_is_too_deep(self) -> None:
        value: Any = 1
        for _ in range(150):
            value = [value]
        assert "levels" in misfit({"j": Field("json")}, j=value).why.reason

    def test_names_of_ours(self) -> None:
        assert misfit(None, __v=0).why.field == "__v"

    def test_what_the_schema_refuses(self) -> None:
        assert misfit({"n": Field("int")}, n=0.5).why.field == "n"
        assert misfit({"n": Field("int")}, m=5).why.field == "n"

    def test_a_field_in_the_place_of_the_id(self) -> None:
        assert "id_field" in misfit(None, replace(EDGE, id_field="key"), key=5).why.reason

    def test_the_letter_holds_reason_id_and_document(self) -> None:
        letter = misfit(None, a=[1]).letter
        fields = dict(zip(letter[::2], letter[1::2], strict=True))
        assert fields[b"_dead_id"] == str(ID).encode()
        assert fields[b"_dead_reason"] == b"refused"
        assert fields[b"document"] == b'{"_id": {"$oid": "%b"}, "a": [1]}' % str(ID).encode()

    def test_a_letter_of_a_large_document_is_cut_and_says_so(self) -> None:
        letter = misfit(None, a=["x" * 2 * module.MAX_KEPT]).letter
        fields = dict(zip(letter[::2], letter[1::2], strict=True))
        assert len(fields[b"document"]) == module.MAX_KEPT
        assert b"are kept" in fields[b"_dead_error"]


class TestMid:
    def mid(self, id_: Any, seq: Any) -> str:
        return Messages(EDGE, None).mid({"_id": id_, "seq": seq})

    def test_it_is_the_same_for_the_same_and_another_for_another_value(self) -> None:
        assert self.mid(ID, 5) == self.mid(ID, 5)
        mids = {self.mid(id_, seq) for id_ in (ID, str(ID), 5, "5") for seq in (5, 6, "5", None)}
        assert len(mids) == 16

    @pytest.mark.parametrize("id_", [ID, "a.b.5", "5-1", 7, "x/y", "x" * 500, "", b"ab"])
    def test_it_is_neither_a_child_nor_does_it_tell_a_time(self, id_: Any) -> None:
        mid = self.mid(id_, 5)
        assert parent_id(mid) is None
        assert mid_time_ms(mid) is None
        assert len(mid) < 120


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text().filter(lambda t: "\0" not in t), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "j", "_x", "n"]), VALUES))
def test_every_document_becomes_a_message_or_a_letter(fields: dict[str, Any]) -> None:
    schema = {"j": Field("json", nullable=True), "n": Field("int", nullable=True)}
    document = bson.decode(bson.encode({"_id": ID, **fields}), AS_IT_IS)
    made = Messages(EDGE, schema).make(document, 5)
    if isinstance(made, Misfit):
        assert all(isinstance(part, bytes) for part in made.letter)
    else:
        Codec(schema).decode(made)
