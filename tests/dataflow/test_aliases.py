"""By which words a connection may be meant."""

from __future__ import annotations

import pytest

from dataflow.aliases import is_meant, meant, words_for
from dataflow.errors import FlowError
from dataflow.flow.load import loads
from dataflow.flow.spec import Connection

HEAD = "flow: f\nstreams: {a.stream_in: {keep: {messages: 1}}}\nconnections:\n"
FLOW = loads(
    HEAD
    + "  main: {redis: 'redis://:hunter2@plant:6380/3', aliases: ['http://agent:24118/', 5f3c]}\n"
    + "  next: {redis: 'redis://[::1]', aliases: ['http://agent:24118']}\n"
    + "  here: {redis: embedded}\n"
    + "  socket: {redis: 'unix:///run/redis.sock'}\n"
    + "  many: {mongo: 'mongodb://a:1,b:2/'}\n"
    + "  store: {clickhouse: 'clickhouse://writer:hunter2@store/db'}\n"
)


def named(name: str) -> Connection:
    return FLOW.connections[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("main", {"main", "http://agent:24118", "5f3c", "plant:6380", "redis://plant:6380", "redis://plant:6380/3"}),
        ("next", {"next", "http://agent:24118", "[::1]:6379", "redis://[::1]:6379"}),
        ("here", {"here"}),
        ("socket", {"socket"}),
        ("many", {"many"}),
        ("store", {"store", "store:9000", "clickhouse://store:9000", "clickhouse://store:9000/db"}),
    ],
)
def test_every_word_for_a_connection_and_no_secret(name: str, words: set[str]) -> None:
    assert words_for(named(name)) == words


def test_all_words_must_mean_it() -> None:
    assert is_meant(named("main"), ["http://agent:24118/", "5f3c"])
    assert not is_meant(named("next"), ["http://agent:24118/", "5f3c"])
    assert [one.name for one in meant(FLOW, "redis", ["http://agent:24118"])] == ["main", "next"]
    assert [one.name for one in meant(FLOW, "clickhouse", ["http://agent:24118"])] == []


@pytest.mark.parametrize(
    ("aliases", "code"),
    [("['http://me:hunter2@agent/']", "F103"), ("['a b']", "F103"), ("[]", "F116"), ("x", "F103"), ("[a, a]", "F115")],
)
def test_aliases_that_cannot_be_used_are_refused_without_showing_a_password(aliases: str, code: str) -> None:
    with pytest.raises(FlowError) as refused:
        loads(HEAD + f"  main: {{redis: embedded, aliases: {aliases}}}\n")
    assert [problem.code for problem in refused.value.problems] == [code]
    assert "hunter2" not in str(refused.value)


def test_another_alias_is_another_flow() -> None:
    """Else running processes would not follow."""
    texts = [HEAD + f"  main: {{redis: embedded, aliases: [{alias}]}}\n" for alias in ("a", "b")]
    assert len({loads(text).digest for text in texts}) == 2
