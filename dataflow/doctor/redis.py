"""A Redis server: does it keep what it was given, and may we do what we must?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis.exceptions import AuthenticationError, ResponseError

from dataflow.doctor.clock import judge_clock
from dataflow.doctor.finding import Finding
from dataflow.errors import DataflowError, ServerFull
from dataflow.store.keys import Keys
from dataflow.store.reading import server_ms
from dataflow.store.redis import Client, call, connect

OLDEST: Final = (6, 2)
TIMEOUT_S: Final = 3.0
NEARLY_FULL: Final = 0.9
LOOPBACK: Final = ("127.", "localhost", "::1")

_PROBE: Final = Path(__file__).with_name("probe.lua").read_text(encoding="utf-8")
_MAY_ASK: Final = "return redis.acl_check_cmd == nil or redis.acl_check_cmd('CONFIG', 'GET', ARGV[1])"
"""Whether this user may read a setting. A server before 7 cannot tell; one that can writes no refusal down."""


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a server says about itself.

    info: INFO. appendfsync: "" where it may not be asked. refused: commands that this user may not run, each with the
    server's reason. open: whether it answers without a password. host: as the address names it.
    """

    host: str
    info: Mapping[str, str]
    appendfsync: str
    refused: tuple[str, ...]
    open: bool
    latency_ms: float
    skew_s: float


def examine(name: str, url: str, flow: str) -> list[Finding]:
    """Look at the server of a connection. Blocks for some seconds at most. Leaves nothing behind."""
    subject = f"redis {name}"
    with closing(connect(url, timeout_s=TIMEOUT_S)) as client:
        try:
            facts = look(client, url, flow)
        except (DataflowError, ResponseError) as error:
            return [_trouble(subject, error)]
    return list(judge(subject, facts))


def _trouble(subject: str, error: Exception) -> Finding:
    """Why nothing could be asked. The driver takes a refused login for a broken connection."""
    if isinstance(error.__cause__, AuthenticationError) or isinstance(error, ResponseError):
        remedy = "correct user and password in the address of this connection, or what the user may do"
        return Finding(subject, "wrong", "refused", f"it does not let us in: {error.__cause__ or error}", remedy)
    return Finding(subject, "wrong", "unreachable", str(error), "start it, or correct the address of this connection")


def look(client: Client, url: str, flow: str) -> RedisFacts:
    """Ask a server about itself. Raises DataflowError, ResponseError."""
    call(client, "PING")  # connects and logs in
    began, clock = time.perf_counter(), time.time()
    there_ms = server_ms(client)
    took_s = time.perf_counter() - began
    return RedisFacts(
        host=urlsplit(url).hostname or "localhost",
        info=_info(client),
        appendfsync=_setting(client, "appendfsync"),
        refused=_refused(client, flow),
        open=_is_open(url),
        latency_ms=took_s * 1000,
        skew_s=there_ms / 1000 - (clock + took_s / 2),
    )


def judge(subject: str, facts: RedisFacts) -> Iterator[Finding]:
    """What is to be said about a server. Pure."""
    yield _version(subject, facts)
    yield _eviction(subject, facts.info)
    yield _append_only(subject, facts)
    yield from _writing(subject, facts.info)
    yield _memory(subject, facts.info)
    yield _rights(subject, facts.refused)
    yield _password(subject, facts)
    yield judge_clock(subject, facts.skew_s)


def _version(subject: str, facts: RedisFacts) -> Finding:
    text = facts.info.get("redis_version", "0")
    version = tuple(int(part) for part in text.split(".") if part.isdecimal())
    if version < OLDEST:
        return Finding(
            subject, "wrong", "version", f"Redis {text} is too old", "use Redis 7; 6.2 is the oldest that works"
        )
    said = f"Redis {text} answers in {facts.latency_ms:.1f} ms"
    if version < (7,):
        remedy = "Redis 7 counts what was added to a stream and how far behind a reader is; the audit sees more with it"
        return Finding(subject, "note", "version", said, remedy)
    return Finding(subject, "ok", "version", said)


def _eviction(subject: str, info: Mapping[str, str]) -> Finding:
    policy = info.get("maxmemory_policy", "")
    if policy == "noeviction":
        return Finding(subject, "ok", "eviction", "it never evicts keys")
    text = f"maxmemory-policy is {policy or 'unknown'}: when its memory is full it deletes streams and what is in them"
    return Finding(subject, "wrong", "eviction", text, _set("maxmemory-policy", "noeviction"))


def _append_only(subject: str, facts: RedisFacts) -> Finding:
    if facts.info.get("aof_enabled") != "1":
        text = "there is no append-only file: at a restart all that came since the last snapshot is lost"
        return Finding(subject, "wrong", "aof", text, _set("appendonly", "yes"))
    if facts.appendfsync == "no":
        text = "appendfsync is no: power loss costs what the kernel had not written, half a minute or more"
        return Finding(subject, "wrong", "aof", text, _set("appendfsync", "everysec"))
    if facts.appendfsync == "always":
        return Finding(subject, "ok", "aof", "append-only file, written through at every command")
    if not facts.appendfsync:
        text = "append-only file, appendfsync unknown: this user may not ask for it"
        return Finding(subject, "note", "aof", text, "see that redis.conf says `appendfsync everysec` or `always`")
    return Finding(
        subject, "ok", "aof", "append-only file, written through every second; power loss can cost that second"
    )


def _writing(subject: str, info: Mapping[str, str]) -> Iterator[Finding]:
    states = {
        "aof_last_write_status": "append-only file",
        "aof_last_bgrewrite_status": "rewrite of the append-only file",
        "rdb_last_bgsave_status": "snapshot",
    }
    for key, what in states.items():
        if info.get(key, "ok") != "ok":
            text = f"its last {what} failed; it refuses writes while that lasts, or cannot be restarted"
            yield Finding(
                subject, "wrong", "disk", text, "look into its log: most often its disk is full or not its own"
            )
    if info.get("loading") == "1":
        yield Finding(subject, "wrong", "loading", "it is still loading its data", "wait until it has")
    if info.get("role", "master") != "master":
        text = "it is a replica: it takes no writes"
        yield Finding(subject, "wrong", "replica", text, "name the primary in the address of this connection")


def _memory(subject: str, info: Mapping[str, str]) -> Finding:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if limit == 0:
        text = "maxmemory is not set: when the machine is out of memory the kernel ends Redis, or something else"
        return Finding(subject, "note", "memory", text, _set("maxmemory", "<three quarters of what it may have>"))
    said = f"{used / limit:.0%} of {limit / (1 << 20):,.0f} MB are used"
    if used > NEARLY_FULL * limit:
        remedy = (
            "let readers catch up (`dataflow status` shows who is behind), lower max_len of streams, or raise maxmemory"
        )
        return Finding(subject, "wrong", "memory", f"{said}: soon it takes no messages", remedy)
    return Finding(subject, "ok", "memory", said)


def _rights(subject: str, refused: tuple[str, ...]) -> Finding:
    if not refused:
        return Finding(subject, "ok", "rights", "every command that a flow needs may be run")
    text = "it refuses commands that a flow needs: " + "; ".join(refused)
    return Finding(
        subject, "wrong", "rights", text, "allow them to the user in the address of this connection (ACL SETUSER)"
    )


def _password(subject: str, facts: RedisFacts) -> Finding:
    if not facts.open:
        return Finding(subject, "ok", "password", "it asks for a password")
    remedy = "set requirepass or an ACL user in redis.conf, and the password in the address of this connection"
    if facts.host.startswith(LOOPBACK):
        return Finding(
            subject, "note", "password", "every program of this machine may use it without a password", remedy
        )
    return Finding(subject, "wrong", "password", f"whoever reaches {facts.host} may use it without a password", remedy)


def _set(name: str, value: str) -> str:
    return f"set `{name} {value}` in redis.conf, and at once with CONFIG SET {name} {value}"


def _info(client: Client) -> dict[str, str]:
    lines = _text(call(client, "INFO")).splitlines()
    return {key: value for key, sign, value in (line.partition(":") for line in lines) if sign}


def _setting(client: Client, name: str) -> str:
    """A setting; "" where it may not be asked, as with many who run Redis for others."""
    try:
        if not call(client, "EVAL", _MAY_ASK, 0, name):
            return ""
        answer = call(client, "CONFIG", "GET", name)
    except ResponseError:
        return ""
    return _text(answer[1]) if len(answer) == 2 else ""


def _refused(client: Client, flow: str) -> tuple[str, ...]:
    base = Keys(flow).stream("doctor").stream
    keys = (base, f"{base}:hash", f"{base}:zset", f"{base}:list")
    try:
        return tuple(_text(line) for line in call(client, "EVAL", _PROBE, len(keys), *keys))
    except ResponseError as error:
        return (f"EVAL: {error}",)
    except ServerFull:
        return ()  # the memory is full, which is told elsewhere
    except DataflowError as error:
        return (str(error),)


def _is_open(url: str) -> bool:
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    with closing(connect(bare, timeout_s=TIMEOUT_S)) as client:
        try:
            call(client, "PING")
        except (ResponseError, DataflowError):
            return False
    return True


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
