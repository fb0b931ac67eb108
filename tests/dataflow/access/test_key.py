"""Keys and scopes: pure."""

from __future__ import annotations

import re

import pytest

from dataflow.access.gate import Denied, check_scope, key_of
from dataflow.access.key import Key, Token, digest, mint, read_token
from dataflow.access.scopes import ANY_KEY, SCOPES, Need, Scope, holds, needs

NOW = 1_000_000
TOKEN = Token("0123456789ab", "s" * 43)
OTHER = Token("ba9876543210", "t" * 43)
"""Fixed, for they stand in the names of tests, which every process must agree about."""


def made(*scopes: Scope, **facts: int) -> Key:
    return Key(id=TOKEN.id, name="meter", scopes=scopes, digest=digest(TOKEN.secret), created_ms=1, **facts)


def ring(*scopes: Scope, **facts: int) -> dict[str, Key]:
    return {TOKEN.id: made(*scopes, **facts)}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_a_token_reads_back_and_hides_its_secret() -> None:
    assert read_token(TOKEN.text) == TOKEN
    assert TOKEN.secret not in repr(TOKEN)
    assert len({mint() for _ in range(100)}) == 100


def test_what_is_stored_does_not_hold_the_secret() -> None:
    assert TOKEN.secret not in repr(made("admin")) and re.fullmatch("[0-9a-f]{64}", made("admin").digest)


@pytest.mark.parametrize("text", ["", "dfk_", "dfk_1_2", TOKEN.text + "x", TOKEN.text[:-1], "x" + TOKEN.text, TOKEN.id])
def test_what_is_no_token(text: str) -> None:
    assert read_token(text) is None


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ("viewer", {"viewer"}),
        ("produce", {"produce"}),
        ("operate", {"operate", "viewer"}),
        ("admin", set(SCOPES)),
    ],
)
def test_what_a_scope_includes(scope: Scope, may: set[Scope]) -> None:
    assert holds([scope]) == may


@pytest.mark.parametrize(
    ("scopes", "need", "in_"),
    [
        (("produce",), needs("produce"), True),
        (("viewer",), needs("produce"), False),
        (("viewer",), needs("produce", "viewer"), True),
        (("operate",), needs("viewer"), True),
        (("operate",), needs("admin"), False),
        (("operate",), needs("produce"), False),
        (("admin",), needs("produce"), True),
        (("viewer", "produce"), needs("produce"), True),
        (("viewer",), ANY_KEY, True),
    ],
)
def test_who_may(scopes: tuple[Scope, ...], need: Need, in_: bool) -> None:
    if in_:
        check_scope(made(*scopes), need)
        return
    with pytest.raises(Denied) as denied:
        check_scope(made(*scopes), need)
    assert denied.value.status == 403 and denied.value.data["needs"] and denied.value.data["has"] == list(scopes)


@pytest.mark.parametrize(
    "headers", [bearer(TOKEN.text), {"X-API-Key": TOKEN.text}, {"Authorization": "bearer  " + TOKEN.text}]
)
def test_ways_to_send_a_key(headers: dict[str, str]) -> None:
    assert key_of(headers, ring("viewer").get, needs("viewer"), NOW).name == "meter"


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "a key with the scope viewer is needed"),
        ({"Authorization": "Basic " + TOKEN.text}, "a key with the scope viewer is needed"),
        (bearer("nonsense"), "not known"),
        (bearer(OTHER.text), "not known"),
        (bearer(f"dfk_{TOKEN.id}_{OTHER.secret}"), "not known"),
    ],
)
def test_who_does_not_get_in(headers: dict[str, str], says: str) -> None:
    with pytest.raises(Denied, match=says) as denied:
        key_of(headers, ring("viewer").get, needs("viewer"), NOW)
    assert denied.value.status == 401 and denied.value.headers["WWW-Authenticate"].startswith("Bearer")
    assert denied.value.data == {"needs": ["viewer"]}


def test_two_different_keys_at_once_are_refused() -> None:
    with pytest.raises(Denied) as denied:
        key_of({**bearer(TOKEN.text), "X-API-Key": OTHER.text}, ring("viewer").get, needs("viewer"), NOW)
    assert denied.value.status == 400


@pytest.mark.parametrize(("facts", "state"), [({"expires_ms": NOW}, "expired"), ({"revoked_ms": 5}, "revoked")])
def test_only_who_has_the_secret_learns_that_a_key_is_over(facts: dict[str, int], state: str) -> None:
    over = ring("admin", **facts)
    with pytest.raises(Denied, match=f"is {state}"):
        key_of(bearer(TOKEN.text), over.get, needs("viewer"), NOW)
    with pytest.raises(Denied, match="not known"):
        key_of(bearer(f"dfk_{TOKEN.id}_{OTHER.secret}"), over.get, needs("viewer"), NOW)


def test_a_key_holds_until_it_expires() -> None:
    assert made(expires_ms=NOW).state(NOW - 1) == "live"
    assert made(expires_ms=NOW).state(NOW) == "expired"
    assert made().state(10**15) == "live"
