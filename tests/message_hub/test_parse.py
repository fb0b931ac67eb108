"""Strict JSON: what is taken, what is refused, and that a name twice is always found."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from message_hub.body import gunzip
from message_hub.parse import names_are_unique, parse
from message_hub.refusal import Refusal

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
plain_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['":', '" :', '\\":', ":", '"']
)
flat = st.dictionaries(plain_texts, st.none() | st.booleans() | st.integers() | plain_texts, max_size=4)


def refused(body: bytes, form: Any = "json") -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(body, form)
    return caught.value


def spelled(pairs: list[tuple[str, Any]], chance: random.Random) -> str:
    """One JSON object, spaced by chance."""

    def space() -> str:
        return chance.choice(["", "", " ", "\n", "\t\r"])

    parts = [f"{json.dumps(name)}{space()}:{space()}{json.dumps(value)}{space()}" for name, value in pairs]
    return "{" + space() + ("," + space()).join(parts) + "}"


@given(st.lists(flat, max_size=4))
def test_every_form_gives_the_same_messages(messages: list[dict[str, Any]]) -> None:
    assert parse(json.dumps(messages).encode(), "json") == messages
    assert parse(json.dumps({"messages": messages}, indent=1).encode(), "json") == messages
    if messages:
        assert parse("\n".join(map(json.dumps, messages)).encode(), "lines") == messages
    for message in messages:
        if list(message) != ["messages"]:
            assert parse(json.dumps(message).encode(), "json") == [message]


@given(
    st.lists(st.lists(st.tuples(plain_texts, st.none() | plain_texts), max_size=4), min_size=1, max_size=4),
    st.randoms(),
)
def test_a_name_twice_is_found_however_it_is_spelled(objects: list[list[tuple[str, Any]]], chance: Any) -> None:
    twice = [index for index, pairs in enumerate(objects) if len(dict(pairs)) < len(pairs)]
    texts = [spelled(pairs, chance) for pairs in objects]
    for body, form in (("[" + ",".join(texts) + "]", "json"), ("\n".join(texts), "lines")):
        if twice:
            answer = refused(body.encode(), form)
            assert answer.status == 400
            assert sorted({fault.index for fault in answer.faults}) == twice
        else:
            assert parse(body.encode(), form) == [dict(pairs) for pairs in objects]  # type: ignore[arg-type]


@given(st.binary(max_size=30) | st.text(max_size=30).map(str.encode), st.sampled_from(["json", "lines"]))
def test_any_bytes_are_parsed_or_refused(body: bytes, form: Any) -> None:
    try:
        parse(body, form)
    except Refusal as refusal:
        assert refusal.status == 400


@given(
    st.text(max_size=20)
    | st.lists(st.dictionaries(st.text(max_size=3), scalars, max_size=3), max_size=3).map(json.dumps)
)
def test_nothing_is_taken_that_the_standard_library_refuses(text: str) -> None:
    body = text.encode(errors="surrogatepass")
    try:
        messages = parse(body, "json")
    except Refusal:
        return
    assert json.loads(body) in (messages, messages[0] if messages else None, {"messages": messages})


def test_the_short_way_to_see_unique_names_is_taken_for_ordinary_bodies() -> None:
    messages = [{"rec_id": f"r{n}", "flow": n / 7, "text": "a: b"} for n in range(10)]
    assert names_are_unique(json.dumps(messages).encode(), 30)
    assert not names_are_unique(b'{"a":1,"a":2}', 1)
    assert not names_are_unique(b'{"a":1,"a" :2,"b":1}', 2)
    assert not names_are_unique(b'{"a":1,"a"\n:2,"b":1}', 2)
    assert names_are_unique(b'{"a": 1, "b": "x :y"}', 2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"nonsense",
        b"[{]",
        b'[{"a":NaN}]',
        b'[{"a":Infinity}]',
        b'[{"a":1e999}]',
        b'[{"a":01}]',
        b'[{"a":1,}]',
        b"[{'a':1}]",
        b'[{"a":1}] x',
        b'[{"a":"\xff"}]',
        b'[{"a":"\\ud800"}]',
        b"\xef\xbb\xbf[]",
        b"5",
        b'"text"',
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'[{"a":' + b"[" * 100_000,
        b'[{"a":' + b"1" * 5000 + b"}]",
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    assert refused(body).status == 400


def test_faults_of_a_wrapped_list_count_from_its_first_message() -> None:
    answer = refused(b'{"messages": [{"a": 1}, {"b": 1, "b": 2}]}')
    assert [(fault.index, fault.field, fault.code) for fault in answer.faults] == [(1, "b", "duplicate")]


def test_nested_messages_are_left_for_the_codec_to_name() -> None:
    assert parse(b'[{"a": {"b": 1}}, 5]', "json") == [{"a": {"b": 1}}, 5]
    assert parse(b'{"messages": [1]}', "json") == [1]
    assert parse(b'{"messages": [], "x": 1}', "json") == [{"messages": [], "x": 1}]
    assert parse(b'{"messages": "no list"}', "json") == [{"messages": "no list"}]
    assert parse(b'{"a": [1]}\n{"b": 2}', "lines") == [{"a": [1]}, {"b": 2}]


def test_gzip_is_unpacked_up_to_the_limit_and_no_further() -> None:
    assert gunzip(gzip.compress(b"x" * 100), 100) == b"x" * 100
    assert gunzip(gzip.compress(b"a") + gzip.compress(b"b"), 2) == b"ab"
    for body, status in (
        (gzip.compress(b"x" * 101), 413),
        (gzip.compress(b"x" * 60) + gzip.compress(b"x" * 60), 413),
        (gzip.compress(b"x" * (1 << 28)), 413),
        (b"no gzip", 400),
        (gzip.compress(b"x" * 50)[:-4], 400),
        (gzip.compress(b"x") + b"rest", 400),
    ):
        with pytest.raises(Refusal) as caught:
            gunzip(body, 100)
        assert caught.value.status == status
