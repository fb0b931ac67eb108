"""Where `up` shows what it does: a live page in a terminal, plain lines everywhere else."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from dataflow.masking import mask_urls
from dataflow.up.page import View, addresses, hints, render

log = logging.getLogger("dataflow.up")

_EVENTS = 6
_REFRESH_S = 1.0

MakeView = Callable[[list[str]], View]
"""Makes the view from the latest events; only called when it is shown."""


class Screen(Protocol):
    """What `up` shows itself on. A context manager; used by one thread."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; what is shown stays."""

    def tell(self, event: str) -> None:
        """Something happened."""

    def show(self, make: MakeView) -> None:
        """Called several times a second with the way to the current view."""

    def ready(self, view: View) -> None:
        """Everything has come up. Called once."""


class PlainScreen:
    """Events are log lines on stderr; the addresses go to stdout once everything is up."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def tell(self, event: str) -> None:
        """A log line."""
        log.info("%s", event)

    def show(self, make: MakeView) -> None:
        """Nothing: plain output has no page."""

    def ready(self, view: View) -> None:
        """Print the addresses."""
        for line in (*addresses(view.run), *hints(view.flow_path, view.run, view.logs)):
            print(line, flush=True)


class LiveScreen:
    """One page, drawn again every second. Events stand at its foot, and in the log.

    A terminal that has gone away is no error here: the signal that comes with it stops `up` in order.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._live.stop()

    def tell(self, event: str) -> None:
        """A line at the foot of the page; the page is drawn again soon."""
        log.info("%s", event)
        self._events.append(f"{time.strftime('%H:%M:%S')} {mask_urls(event)}")
        self._drawn_at = 0.0

    def show(self, make: MakeView) -> None:
        """Draw the page if a second has passed or something happened."""
        if time.monotonic() - self._drawn_at >= _REFRESH_S:
            with suppress(OSError):
                self._live.update(render(make(list(self._events))), refresh=True)
            self._drawn_at = time.monotonic()

    def ready(self, view: View) -> None:
        """The page says it already."""
