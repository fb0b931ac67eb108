"""Keeping a lease while a long write runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dataflow.errors import DataflowError
from dataflow.store.lane import Lease
from sync.source import Source

log = logging.getLogger("dataflow.sync")

MOST_RENEWALS = 30
"""A write that takes ten leases hangs: then another runner may have the edge."""


class Renewal:
    """Renews the lease every third of it while `during` is entered, from a thread of its own. A context manager.

    The thread is one per run and not per write: starting one takes longer than a small write.
    """

    def __init__(self, source: Source, lease_ms: int) -> None:
        self._source = source
        self._lease_ms = lease_ms
        self._lease: Lease | None = None
        self._left = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Renewal:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @contextmanager
    def during(self, lease: Lease) -> Iterator[None]:
        """Renew this lease while the body runs."""
        self._lease, self._left = lease, MOST_RENEWALS
        try:
            yield
        finally:
            self._lease = None

    def _keep(self) -> None:
        while not self._done.wait(self._lease_ms / 3000):
            lease = self._lease
            if lease is not None and self._left > 0:
                self._left -= 1
                self._extend(lease)

    def _extend(self, lease: Lease) -> None:
        try:
            self._source.extend(lease, self._lease_ms)
        except DataflowError as error:
            log.warning("cannot renew the lease: %s", error)
