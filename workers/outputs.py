"""Makes results of what a user's function returned. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import GeneratorType
from typing import Any

from dataflow.handler import To
from workers.fate import BadOutput
from workers.task import Filtered, Handled, Result, Results

EXPECTED = "expected a dict, a list of dicts, or None"


def result_of(returned: Any) -> Result:
    """The result of a call for one message: dict, list (or generator) of dicts, or None for filtered.

    Raises BadOutput for anything else.
    """
    if returned is None:
        return Filtered()
    if isinstance(returned, Mapping | To):
        return Handled((returned,))
    if isinstance(returned, list | tuple | GeneratorType):
        return Handled([_message(item) for item in returned])
    raise BadOutput(f"the handler returned {_shown(returned)}: {EXPECTED}")


def results_of_batch(returned: Any, n: int, *, aggregate: bool) -> Results:
    """The results of a batch call for n messages.

    Accepted: a list of n items, each as for one message; a list of (index, message) pairs, where an index that does
    not occur was filtered; a DataFrame whose index names the inputs. With `aggregate`: a list of any length (or a
    DataFrame), which belongs to the batch as a whole. Raises BadOutput.
    """
    rows = _rows(returned)
    if aggregate:
        items = [_message(item) for _, item in rows] if rows is not None else _aggregated(returned)
        return Results([Handled(items), *(Handled(()) for _ in range(n - 1))], together=True)
    if rows is None and isinstance(returned, list) and returned and all(_is_pair(item) for item in returned):
        rows = returned
    if rows is not None:
        return Results(_by_index(rows, n))
    if not isinstance(returned, list | tuple) or len(returned) != n:
        raise BadOutput(
            f"the batch handler returned {_shown(returned)} for {n} messages: expected one item per message, "
            "(index, message) pairs, or `aggregate: true` in the flow file"
        )
    return Results([result_of(item) for item in returned])


def _aggregated(returned: Any) -> Sequence[Mapping[str, Any] | To]:
    result = result_of(returned)
    return result.messages if isinstance(result, Handled) else ()


def _rows(returned: Any) -> list[tuple[Any, Any]] | None:
    """(index, record) of a DataFrame, None for anything else. Told by its shape: pandas may not be imported."""
    if not (hasattr(returned, "to_dict") and hasattr(returned, "columns") and hasattr(returned, "index")):
        return None
    return list(zip(returned.index.tolist(), returned.to_dict("records"), strict=True))


def _by_index(rows: Sequence[tuple[Any, Any]], n: int) -> list[Result]:
    messages: list[list[Any]] = [[] for _ in range(n)]
    for index, item in rows:
        if not isinstance(index, int) or not 0 <= index < n:
            raise BadOutput(f"the batch handler answered for index {index!r}; the batch has 0 to {n - 1}")
        messages[index].append(_message(item))
    return [Handled(found) if found else Filtered() for found in messages]


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Mapping | To)


def _message(item: Any) -> Mapping[str, Any] | To:
    if isinstance(item, Mapping | To):
        return item
    raise BadOutput(f"the handler returned a list with {_shown(item)} in it: {EXPECTED}")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"
