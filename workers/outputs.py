"""Makes results of what a user's function returned. Pure."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

from dataflow.handler import Reject, Retry, To
from workers.fate import BadOutput
from workers.task import Failed, Filtered, Handled, Result, Results

EXPECTED = "expected a dict, a list of dicts, or None"

# Tuples, and the most common first: they are asked for every message.
_MESSAGE = (dict, To, Mapping)
_SEVERAL = (list, tuple, Iterator)
_PUT_OFF = (Reject, Retry)


def result_of(returned: Any) -> Result:
    """The result for one message: dict, list (or generator) of dicts, or None for filtered.

    Raises BadOutput for anything else, and whatever a generator raises.
    """
    if returned is None:
        return Filtered()
    if isinstance(returned, _MESSAGE):
        return Handled((returned,))
    if isinstance(returned, _SEVERAL):
        return Handled([_message(item) for item in returned])
    raise BadOutput(f"the handler returned {_shown(returned)}: {EXPECTED}")


def results_of_batch(returned: Any, n: int, *, aggregate: bool) -> Results:
    """The results of a batch call for n messages.

    Accepted: a list of n items, each as for one message, or a Reject or Retry for that message; (index, message)
    pairs, or a DataFrame whose index names the inputs, where what does not occur was filtered; None or an empty list:
    all was filtered. With `aggregate`: messages in any number, which belong to the batch as a whole.
    Raises BadOutput.
    """
    if type(returned) is list and len(returned) == n and set(map(type, returned)) == {dict} and not aggregate:
        return Results(list(map(Handled, zip(returned, strict=True))))
    rows = _rows(returned)
    items = _items(returned)
    if aggregate:
        found = [item for _, item in rows] if rows is not None else items
        return _whole(returned if found is None else found, n)
    if rows is None and items is not None and all(_is_pair(item) for item in items):
        rows = items
    if rows is not None:
        return Results(_by_index(rows, n))
    if items is None or len(items) != n:
        raise BadOutput(
            f"the batch handler returned {_shown(returned)} for {n} messages: expected one item per message, "
            "(index, message) pairs, or `aggregate: true` in the flow file"
        )
    return Results([_result_in_batch(item) for item in items])


def _items(returned: Any) -> list[Any] | None:
    if returned is None:
        return []
    return list(returned) if isinstance(returned, _SEVERAL) else None


def _rows(returned: Any) -> list[tuple[Any, Any]] | None:
    """(index, record) of a DataFrame, None for anything else. Told by its shape: pandas may not be imported.

    pandas knows one missing value; all of its forms (None, NaN, NaT, NA) become null.
    """
    if not all(hasattr(returned, name) for name in ("to_dict", "columns", "index", "notna")):
        return None
    records = returned.astype(object).where(returned.notna(), None).to_dict("records")
    return list(zip(returned.index.tolist(), records, strict=True))


def _whole(returned: Any, n: int) -> Results:
    """Everything is booked on the first message of the batch."""
    result = result_of(returned)
    messages = result.messages if isinstance(result, Handled) else ()
    return Results([Handled(messages), *(Handled(()) for _ in range(n - 1))], together=True)


def _by_index(rows: Iterable[tuple[Any, Any]], n: int) -> Sequence[Result]:
    messages: list[list[Any]] = [[] for _ in range(n)]
    for index, item in rows:
        messages[_place(index, n)].append(_message(item))
    return [Handled(found) if found else Filtered() for found in messages]


def _place(index: Any, n: int) -> int:
    place = operator.index(index) if isinstance(index, SupportsIndex) else -1
    if not 0 <= place < n:
        raise BadOutput(f"the batch handler answered for index {_shown(index)}; the batch has 0 to {n - 1}")
    return place


def _is_pair(item: Any) -> bool:
    return (
        isinstance(item, tuple)
        and len(item) == 2
        and isinstance(item[0], SupportsIndex)
        and isinstance(item[1], _MESSAGE)
    )


def _result_in_batch(item: Any) -> Result:
    if isinstance(item, _PUT_OFF):
        return Failed(item)
    try:
        return result_of(item)
    except BadOutput as error:
        return Failed(error)


def _message(item: Any) -> Mapping[str, Any] | To:
    if isinstance(item, _MESSAGE):
        return item
    raise BadOutput(f"the handler returned a list with {_shown(item)} in it: {EXPECTED}")


def _shown(value: Any) -> str:
    """A value's type and beginning; the user's repr may raise."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the user's class may do anything
        text = "(its repr raises)"
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"
