"""Lifting the pause of an edge, with what a person may decide about data on the way."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.flow.spec import Edge, Flow
from dataflow.store.alarms import clear_alarm
from dataflow.store.intake import Intake
from dataflow.store.keys import Keys
from dataflow.store.lane import Lane
from dataflow.store.redis import Client
from dataflow.store.target import StreamTarget

PAUSED = "edge-paused"
"""Kind of the alarm of an edge that has stopped until a person resumes it."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What `resume` did: whether there was a pause, and what was given up."""

    was_paused: bool
    lost_entries: int
    lost_batches: int


def resume(
    flow: Flow, edge: Edge, redis: Client, target: Client | None, *, accept_loss: bool = False, bury: bool = False
) -> Resumed:
    """Let an edge that has paused go on. Nothing happens to one that has not.

    Args:
        redis: the server of the edge's source, or, where it reads no stream, of its target.
        target: the server of its target streams; None if it goes elsewhere.
        accept_loss: give up what is lost already: entries of a frozen batch that were deleted by hand, batches that
            the target had and has lost. Without it the edge pauses again when it finds them.
        bury: messages that are there now and do not fit go to the dead letters, however many they are.

    Raises ServerAway, OutcomeUnknown: call it again.
    """
    keys = Keys(flow.name)
    if not edge.source:
        was_paused = Intake(redis, keys, edge).resume(bury=bury)
        clear_alarm(redis, keys, PAUSED, edge.name)
        return Resumed(was_paused, 0, 0)
    paused, entries, batches = False, 0, 0
    for retry in (False, True):
        lane = Lane(redis, keys, edge.source, edge.name, retry=retry)
        if accept_loss:
            entries += lane.reopen()
            batches += _adopt(lane, keys, edge, target)
        paused |= lane.resume(bury=bury and not retry)
    clear_alarm(redis, keys, PAUSED, edge.name)
    return Resumed(paused, entries, batches)


def _adopt(lane: Lane, keys: Keys, edge: Edge, target: Client | None) -> int:
    lineage, seq = lane.state()
    if target is None or not lineage:
        return 0
    return StreamTarget(target, keys, edge.name, edge.target_streams).adopt(lineage, seq)
