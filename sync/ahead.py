"""Reading and preparing the next batch while the last one is being written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Looks at what comes after a position, in a thread of its own, before it is asked for. A context manager.

    Args:
        look: says what comes after a position. Called in that thread, or by who asks; never in both at once.
    """

    def __init__(self, look: Callable[[bytes], T]) -> None:
        self._look = look
        self._pool = ThreadPoolExecutor(1, "read-ahead")
        self._position = b""
        self._looking: Future[T] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def begin(self, position: bytes) -> None:
        """Begin to look at what comes after a position. Does not block. To be followed by `after`, if by anything."""
        self._position = position
        self._looking = self._pool.submit(self._look, position)

    def after(self, position: bytes) -> T:
        """What comes after a position; it may have been looked up before. Blocks; raises what `look` raises."""
        looking, self._looking = self._looking, None
        if looking is not None and position == self._position:
            return looking.result()
        if looking is not None:
            looking.exception()  # wait: it is of no use, and must not look while we do
        return self._look(position)
