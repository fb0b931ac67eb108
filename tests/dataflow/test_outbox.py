"""Positions and the queries on them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson.binary import Binary
from bson.int64 import Int64
from bson.objectid import ObjectId

from dataflow.outbox import ORDERED, Order, Position, kind_of

A, B = Position(1, "a"), Position(2, "b")


@pytest.mark.parametrize(
    "value", [0.1, 2**40, Int64(5), "ä\0'", datetime(2026, 1, 31, 12, 30, 0, 567000, tzinfo=UTC), ObjectId(), b"\0\1"]
)
def test_a_position_is_kept_as_text_with_its_types(value: Any) -> None:
    found = Position.load(Position(value, ObjectId("6b0131ab4143533f94a01d31")).dump())
    assert found is not None
    assert kind_of(found.by) == kind_of(value)
    assert found.by == (value.replace(tzinfo=None) if isinstance(value, datetime) and not found.by.tzinfo else value)
    assert found.id == ObjectId("6b0131ab4143533f94a01d31")


def test_before_the_first_document_there_is_no_position() -> None:
    assert Position.load("") is None


def test_the_query_names_both_bounds() -> None:
    order = Order("seq")
    assert order.between(None, None) == {}
    assert order.between(A, None) == {"$or": [{"seq": {"$gt": 1}}, {"seq": 1, "_id": {"$gt": "a"}}]}
    assert order.between(A, B)["$and"][1] == {"$or": [{"seq": {"$lt": 2}}, {"seq": 2, "_id": {"$lte": "b"}}]}
    assert Order("_id").between(A, B) == {"$and": [{"_id": {"$gt": "a"}}, {"_id": {"$lte": "b"}}]}


def test_the_order_is_that_of_both_fields() -> None:
    assert Order("seq").sort() == [("seq", 1), ("_id", 1)]
    assert Order("_id").sort(-1) == [("_id", -1)]
    assert Order("seq").position({"_id": 5}) == Position(None, 5)


@pytest.mark.parametrize("value", [True, None, float("nan"), "\udcff", [1], {"a": 1}])
def test_kinds_without_an_order(value: Any) -> None:
    assert kind_of(value) not in ORDERED


@pytest.mark.parametrize(
    ("one", "other"), [(1, 2.5), ("", "b"), (Binary(b"a", 4), b"b"), (Int64(1), float("inf"))], ids=str
)
def test_kinds_that_are_compared(one: Any, other: Any) -> None:
    assert kind_of(one) == kind_of(other)
    assert kind_of(one) in ORDERED
