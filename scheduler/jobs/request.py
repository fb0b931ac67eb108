"""`make_a_request`: an HTTP call to an address that the flow's settings allow.

| argument | meaning | default |
|---|---|---|
| `url` | what to call; one of `scheduler.allow`, or below one | |
| `method` | GET, POST, PUT, PATCH, DELETE | POST with `json`, else GET |
| `json` | body | none |
| `timeout_s` | seconds for the whole call, from looking up the name to the end of the answer; at most 300 | 30 |

What is beyond ASCII in the path or query of `url` is sent percent-encoded as UTF-8; the host has to be ASCII.
A redirect is not followed. The flow's own hub, sync API and scheduler are sent the key of our own services, nobody else
is. Link-local and other addresses where clouds hand out secrets are refused whatever is allowed, however they are
written: the name is looked up once, and the connection goes to the address that was checked.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from queue import Empty, Queue
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urlsplit, urlunsplit

from dataflow.access.own import key_headers, own_key
from dataflow.masking import MASK, mask_url, mask_urls
from scheduler.jobs.kind import BadJob
from scheduler.record import Outcome

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
MOST_S: Final = 300.0
ANSWER_BYTES: Final = 65_536
SHOWN: Final = 500
"""Characters of an answer that the history keeps."""

_CLOUDS: Final = tuple(
    map(ipaddress.ip_network, ("fd00:ec2::/32", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
"""Where clouds answer that is not link-local: AWS and Google over IPv6, Alibaba, Azure, Oracle."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_LOCAL_LAYOUTS: Final = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
"""Which bytes of an address hold the one of IPv4, for a prefix of 48, 56, 64 and 96 bits: byte 8 is left out."""
_TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")
_ISATAP: Final = 0x0000_5EFE
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PACKED: Final = 3
"""How often a path may be packed (%252e for %2e for .) before it is refused unread."""

_PORTS: Final = {"http": 80, "https": 443}
_ARGUMENTS: Final = ("url", "method", "json", "timeout_s")


@dataclass(frozen=True, slots=True)
class Request:
    """A call that has been checked."""

    url: SplitResult
    method: str
    body: bytes | None
    timeout_s: float

    @property
    def shown(self) -> str:
        """What is called, for people: without the secrets that its query may hold."""
        return f"{self.method} {mask_url(self.url.geturl())}"

    @property
    def host(self) -> str:
        """Name or address of the server."""
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        """Its port."""
        return self.url.port or _PORTS[self.url.scheme]

    @property
    def target(self) -> str:
        """Path and query."""
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")


class RequestJob:
    """The job `make_a_request`.

    Args:
        allow: gives the allowed addresses; one of them, or what lies below it, may be called.
        own: gives the addresses of the flow's own services, which are sent `key`.
        key: gives the key of our own services, None if there is none. May raise UserError, the call is not made then.
    """

    elsewhere = False

    def __init__(
        self,
        allow: Callable[[], Sequence[str]],
        own: Callable[[], Sequence[str]] = tuple,
        key: Callable[[], str | None] = own_key,
    ) -> None:
        self._allow, self._own, self._key = allow, own, key

    def check(self, kwargs: Mapping[str, Any]) -> None:
        """The address must be allowed, and the rest make sense."""
        request_of(kwargs, self._allow())

    def run(self, kwargs: Mapping[str, Any], tick: int, hint: str) -> Outcome:
        """Make the call. An answer of 300 or more is an error, and so is none."""
        request = request_of(kwargs, self._allow())
        own = is_own(request.url, self._own())
        key = self._key() if own else None
        try:
            status, text = _call(request, key_headers(key))
        except (OSError, HTTPException, ValueError) as error:
            return Outcome("error", f"{request.shown}: {error or type(error).__name__}")
        facts = {"status": status, "answer": text[:SHOWN]}
        if status < 300:
            return Outcome("ok", facts=facts)
        return Outcome("error", f"{request.shown}: status {status}{_remark(status, own, key)}", facts)


def request_of(kwargs: Mapping[str, Any], allow: Sequence[str]) -> Request:
    """The call that arguments ask for. Pure. Raises BadJob."""
    strange = [str(name) for name in kwargs if name not in _ARGUMENTS]
    if strange:
        raise BadJob(f"make_a_request has no argument {', '.join(strange)}; it has: {', '.join(_ARGUMENTS)}")
    url = _url(kwargs.get("url"), allow)
    method = str(kwargs.get("method") or ("POST" if "json" in kwargs else "GET")).upper()
    if method not in METHODS:
        raise BadJob(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    timeout_s = kwargs.get("timeout_s", 30)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= MOST_S:
        raise BadJob(f"timeout_s must be a number of seconds up to {MOST_S:g}, not {timeout_s!r}")
    return Request(url, method, json.dumps(kwargs["json"]).encode() if "json" in kwargs else None, float(timeout_s))


def in_ascii(address: str) -> str:
    """An address as it goes over the wire: what is beyond ASCII in its path and query packed as UTF-8. Its host stays.

    Pure. Raises ValueError, as `urlsplit` does, and for what is no text (half a surrogate pair).
    """
    url = urlsplit(address)
    return urlunsplit(url._replace(**{part: _packed(getattr(url, part)) for part in ("path", "query", "fragment")}))


def _packed(text: str) -> str:
    return _BEYOND_ASCII.sub(lambda found: quote(found[0]), text)


def is_allowed(url: SplitResult, allow: Sequence[str]) -> bool:
    """Whether an address is one of those, or lies below one. Pure."""
    return any(_covers(urlsplit(in_ascii(one)), url) for one in allow)


def is_own(url: SplitResult, own: Sequence[str]) -> bool:
    """Whether an address is at one of these services: the same scheme, host and port. Pure.

    The names of loopback are one host: what listens there is this machine's.
    """
    return any(_place(urlsplit(one)) == _place(url) for one in own)


def _place(url: SplitResult) -> tuple[str, str | None, int]:
    host = "127.0.0.1" if url.hostname in ("localhost", "::1") else url.hostname
    return url.scheme, host, url.port or _PORTS[url.scheme]


def _remark(status: int, own: bool, key: str | None) -> str:
    """What a person should know of a status that is an error."""
    if status < 400:
        return " (redirects are not followed)"
    if status != 401:
        return ""
    if not own:
        return " (keys are sent to the flow's own services only)"
    if key is None:
        return " (the flow has API keys: give the scheduler one, by DATAFLOW_API_KEY or DATAFLOW_API_KEY_FILE)"
    return " (the scheduler's API key does not hold: see `dataflow key list`)"


def _url(text: object, allow: Sequence[str]) -> SplitResult:
    try:
        url = urlsplit(in_ascii(text) if isinstance(text, str) else "")
        _ = url.port
    except ValueError:
        url = urlsplit("")
    if not url.netloc.isascii():
        raise BadJob(f"write the host in ASCII (xn--...), not as in {_without_user(repr(text))}")
    if url.scheme not in _PORTS or not url.hostname or "@" in url.netloc or not str(text).isprintable():
        raise BadJob(f"url must be http:// or https:// with a host and no password, not {_without_user(repr(text))}")
    if not _is_text(url.path):
        raise BadJob(
            f"the path of {mask_url(str(text))} packs a control character, or bytes that are not UTF-8; leave them out"
        )
    if " " in str(text) or not is_allowed(url, allow):
        known = ", ".join(allow) or "nothing"
        raise BadJob(
            f"{mask_url(str(text))} may not be called; `scheduler: {{allow: [...]}}` of the flow file allows: {known}"
        )
    return url


def _without_user(text: str) -> str:
    """An address that cannot be read is shown without all that may be a password, whatever characters it holds."""
    return mask_urls(re.sub(r"://.*@", f"://{MASK}@", text, flags=re.DOTALL))


def _covers(allowed: SplitResult, url: SplitResult) -> bool:
    def place(one: SplitResult) -> tuple[str, str | None, int]:
        return one.scheme, one.hostname, one.port or _PORTS[one.scheme]

    below = allowed.path.rstrip("/") + "/"
    readable = _is_text(url.path) and not _climbs(url.path)
    return place(allowed) == place(url) and readable and (url.path.rstrip("/") + "/").startswith(below)


def _is_text(path: str) -> bool:
    """Whether a path is UTF-8 without control characters, however often it is packed: what is not, each server reads in
    a way of its own (the bytes C0 AE are a dot to some, and a text ends at a zero byte).
    """
    for _ in range(_PACKED):
        try:
            path = unquote_to_bytes(path).decode()
        except UnicodeError:
            return False
        if _CONTROL.search(path):
            return False
    return True


def _climbs(path: str) -> bool:
    """Whether some server may read the path as one that leads upwards: `..` in any writing, a backslash for a slash,
    parameters behind it (`..;x`), packed more than once.
    """
    for _ in range(_PACKED):
        path = unquote(path)
    parts = re.split(r"[/\\]", path)
    return "%" in path or any(part.partition(";")[0].strip() == ".." for part in parts)


def _call(request: Request, headers: Mapping[str, str]) -> tuple[int, str]:
    """Status and answer. Raises OSError, HTTPException."""
    deadline = time.monotonic() + request.timeout_s
    connection = HTTPConnection(request.host, request.port)
    typed = {"Content-Type": "application/json"} if request.body is not None else {}
    sent = {**headers, **typed, "Connection": "close"}
    with closing(_connected(request, deadline)) as sock, closing(connection), _Limit(sock, deadline):
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection.sock = sock
        connection.request(request.method, request.target, request.body, sent)
        answer = connection.getresponse()
        return answer.status, _text(answer.read1)


class _Limit:
    """Ends a connection at a moment, whatever it waits for then: each byte that comes would begin a time-out anew.

    Left after that moment, it raises TimeoutError in place of what came of it.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._over = False
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._over:
            raise TimeoutError("the call did not end in time, which is timeout_s; what the server did is not known")

    def _end(self) -> None:
        self._over = True
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # beneath TLS, which waits for the other side


def _text(read: Callable[[int], bytes]) -> str:
    """The beginning of an answer."""
    data = b""
    while len(data) < ANSWER_BYTES and (part := read(ANSWER_BYTES - len(data))):
        data += part
    return data.decode(errors="replace")


def _connected(request: Request, deadline: float) -> socket.socket:
    """A connection to the one address that was looked up and checked; for https it has not shaken hands yet."""
    found = _looked_up(request, deadline)
    for address in found:
        if hands_out_secrets(address):
            raise OSError(f"{request.host} is the address {address}, link-local or of a cloud: it is never called")
    left_s = max(0.001, deadline - time.monotonic())
    plain = socket.create_connection((found[0], request.port), timeout=left_s)
    plain.settimeout(request.timeout_s)
    if request.url.scheme == "http":
        return plain
    context = ssl.create_default_context()
    return context.wrap_socket(plain, server_hostname=request.host, do_handshake_on_connect=False)


def _looked_up(request: Request, deadline: float) -> list[str]:
    """The addresses of the host. A look-up cannot be ended; one that takes too long is left to itself."""
    answer: Queue[list[str] | OSError] = Queue()

    def look() -> None:
        try:
            found = socket.getaddrinfo(request.host, request.port, type=socket.SOCK_STREAM)
            answer.put([str(where[0]) for *_, where in found])
        except (OSError, ValueError) as error:
            answer.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=look, name="look up", daemon=True).start()
    try:
        found = answer.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise TimeoutError(f"{request.host} was not found in time, which is timeout_s; nothing was sent") from None
    if isinstance(found, OSError):
        raise found
    return found


def hands_out_secrets(address: str) -> bool:
    """Whether an address is link-local, or one where a cloud tells its machines secrets, however written. Pure."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return any(one.is_link_local or any(one in net for net in _CLOUDS) for one in (found, *_inside(found)))


def _inside(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The addresses of IPv4 that one of IPv6 may stand for: mapped, compatible, 6to4, Teredo, ISATAP, NAT64."""
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    last = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _LOCAL_NAT64:
        found += [ipaddress.IPv4Address(bytes(address.packed[n] for n in layout)) for layout in _LOCAL_LAYOUTS]
    holders = (_NAT64, _TRANSLATED, _COMPATIBLE)
    isatap = (int(address) >> 32) & 0xFCFF_FFFF == _ISATAP
    found += [last] if isatap or any(address in one for one in holders) else []
    return [one for one in found if one is not None]
