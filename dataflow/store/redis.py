"""Connections to Redis, and the one way a command is sent: never repeated on its own, errors told apart.

A command that may have run must not be sent again by a library, so redis-py's retry is off (one stalled XADD would
become two entries). `call` says which of the two happened: `ServerAway` (not sent) or `OutcomeUnknown` (sent, no
answer). Replies are raw: bytes, ints and lists, as the server gives them under RESP2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import TimeoutError as LinkTimeout
from redis.retry import Retry

from dataflow.errors import OutcomeUnknown, ServerAway, ServerFull, UserError
from dataflow.store.pool import Pool, client_of

Client = redis.Redis

_BROKEN = (LinkError, LinkTimeout, OSError)
_NOT_NOW = (ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError)
_NOT_NOW_CODES = ("READONLY ", "MISCONF ", "MASTERDOWN ", "NOREPLICAS ", "BUSY ", "CLUSTERDOWN ", "TRYAGAIN ")
"""What a server answers before it does anything, as long as something is not as it should be."""


def connect(url: str, *, timeout_s: float = 5.0) -> Client:
    """A thread-safe pooled client that never retries. Does not connect yet.

    Args:
        url: redis://, rediss:// or unix:// address with its password.
        timeout_s: of connecting and of waiting for any answer; keep it above every BLOCK.

    Raises UserError, which shows nothing of the address but the place: it cannot be used.
    """
    over_tcp = {} if url.startswith("unix:") else {"socket_keepalive": True}
    try:
        return client_of(
            url,
            protocol=2,
            decode_responses=False,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
            **over_tcp,
        )
    except (TypeError, ValueError):
        raise UserError(
            f"the address of {_place(url)} cannot be used: its port, or an option behind its `?`, is not one that "
            "redis-py knows or has a value that cannot be used"
        ) from None


def call(client: Client, *args: Any) -> Any:
    """Send one command once and return the raw reply. Blocks up to the client's time-out.

    Args:
        args: the command and its arguments: str, bytes, int or float. Packed by hiredis at once; redis-py would first
            look at each of what may be ten thousand.

    Raises:
        ServerAway: no connection, or the server is loading, or takes no writes just now (it is a replica, its disk
            fails, a script keeps it busy); the command was not carried out.
        OutcomeUnknown: the connection broke or timed out after sending; it may have been carried out.
        ServerFull: the server is at maxmemory; nothing was written.
        redis.exceptions.ResponseError: the server refused the command.
    """
    return send(client, *args)()


def send(client: Client, *args: Any) -> Callable[[], Any]:
    """Send one command as `call` does, and leave its reply for later: what is returned waits for it.

    Must be called, once: a connection is kept for it until then. Both raise what `call` raises; when `send` does, there
    is no reply to wait for.
    """
    pool = cast(Pool, client.connection_pool)
    command = pack_command(args)
    try:
        link = pool.lend()
    except _BROKEN as error:
        raise ServerAway(f"cannot reach Redis at {address(client)}: {error}") from error
    sent = False
    try:
        link.send_packed_command([command])
        sent = True
    except _BROKEN as error:
        raise _unknown(client, error) from error
    finally:
        if not sent:
            pool.discard(link)

    def reply() -> Any:
        whole = False
        try:
            answer = link.read_response()
            whole = True
            return answer
        except BusyLoadingError as error:
            raise ServerAway(f"Redis at {address(client)} is still loading its data") from error
        except ResponseError as error:
            whole = True
            meaning = _refusal(client, error)
            if meaning is error:
                raise
            raise meaning from error
        except _BROKEN as error:
            raise _unknown(client, error) from error
        finally:
            if whole:
                pool.keep(link)
            else:
                pool.discard(link)

    return reply


def connections_made(client: Client) -> int:
    """How many connections a client has made so far. While that stays the same, the server was not restarted."""
    return cast(Pool, client.connection_pool).connects


def _unknown(client: Client, error: Exception) -> OutcomeUnknown:
    return OutcomeUnknown(f"Redis at {address(client)} did not answer ({error}); the request may have been carried out")


def _refusal(client: Client, error: ResponseError) -> Exception:
    """What a refused command means. Redis 7 begins the text of a script's error with its code, 6.2 has it inside."""
    text = str(error)
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in text:
        return ServerFull(f"Redis at {address(client)} is at its memory limit; nothing was written")
    if isinstance(error, _NOT_NOW) or any(code in text for code in _NOT_NOW_CODES):
        return ServerAway(f"Redis at {address(client)} takes no writes just now: {text}")
    return error


def _place(url: str) -> str:
    """The host that an address names, as far as it can be read."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return f"Redis at {host}" if host else "a Redis"


def address(client: Client) -> str:
    """host:port/db of a client, without its secret."""
    kwargs = client.connection_pool.connection_kwargs
    if "path" in kwargs:
        return str(kwargs["path"])
    return f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}/{kwargs.get('db') or 0}"
