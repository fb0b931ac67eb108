"""What becomes of a reader's work when the flow file gives the reader another name, leads it elsewhere, or drops it.

    another name   the new name goes on where the former stood: its group, what came back to it, its dead letters, and
                   an edge's lane with the batch that is on its way
    led elsewhere  the new place does not know what the former has; so nothing new is begun, and what is on its way is
                   waited for
    dropped        what is on its way is waited for, too; what has not been begun waits in the stream

A reader has another name if exactly one was dropped and one is new of the same kind, from the same place to the same
place (`dataflow.store.leads`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from dataflow.errors import NotDeclared, StillOnItsWay
from dataflow.store.alarms import alarms, clear_alarm, raise_alarm
from dataflow.store.keys import Keys
from dataflow.store.leads import Lead, read_leads
from dataflow.store.redis import Client
from dataflow.store.script import script

WAIT_S: Final = 10.0
"""How long what is on its way is waited for: a batch, and what a target on another server needs to confirm it."""
LOOK_S: Final = 0.05
MARK_MS: Final = 2000
"""For so long after each look an edge begins nothing new: one who looks no more hinders nobody."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """leads: of all readers as they are now, with their former names. renamed: new name -> former name."""

    leads: Mapping[str, Lead]
    renamed: Mapping[str, str]


def hand_over(redis: Client, keys: Keys, wanted: Mapping[str, Lead], wait_s: float) -> HandedOver:
    """Do what has to be done with former readers before the flow is declared. Blocks up to `wait_s`; may be repeated.

    Args:
        wanted: the readers of the flow on this server.

    Raises StillOnItsWay: an edge cannot be led elsewhere yet; nothing was changed, and it goes on where it led.
    NotDeclared: both the former and the new name of a reader have messages of their own.
    """
    before = read_leads(redis, keys)
    renamed = _renamed(before, wanted)
    elsewhere = [name for name in wanted if name in before and wanted[name].remembers_elsewhere(before[name])]
    dropped = [name for name in before if name not in wanted and name not in renamed.values()]
    new = {lead.reads: name for name, lead in wanted.items() if name not in before and name not in renamed}
    _wait_until_arrived(redis, keys, {name: before[name] for name in (*elsewhere, *dropped)}, wait_s)
    try:
        for name in dropped:
            _refuse_to_succeed(redis, keys, name, before[name], new.get(before[name].reads))
        for name in elsewhere:
            _lead_elsewhere(redis, keys, name, before[name], wanted[name])
    except StillOnItsWay:
        _begin_again(redis, keys, before)
        raise
    _begin_again(redis, keys, {name: lead for name, lead in before.items() if name in wanted})
    for name, former in renamed.items():
        _rename(redis, keys, wanted[name].anchor, former, name)
    return HandedOver({name: _with_former_names(name, wanted[name], before, renamed) for name in wanted}, renamed)


def _renamed(before: Mapping[str, Lead], wanted: Mapping[str, Lead]) -> dict[str, str]:
    dropped = [name for name in before if name not in wanted]
    found = {}
    for name, lead in wanted.items():
        rivals = [other for other in wanted if other not in before and lead.is_same_step(wanted[other])]
        formers = [other for other in dropped if lead.is_same_step(before[other])]
        if rivals == [name] and len(formers) == 1:
            found[name] = formers[0]
    return found


def _with_former_names(name: str, lead: Lead, before: Mapping[str, Lead], renamed: Mapping[str, str]) -> Lead:
    was = renamed.get(name)
    if was is not None:
        return replace(lead, former=tuple(one for one in (*before[was].former, was) if one != name))
    return replace(lead, former=before[name].former) if name in before else lead


def _wait_until_arrived(redis: Client, keys: Keys, readers: Mapping[str, Lead], wait_s: float) -> None:
    """Let readers begin nothing new until what they have on their way has arrived, or `wait_s` is over."""
    deadline = time.monotonic() + wait_s
    while sum(_on_its_way(redis, keys, name, lead, MARK_MS) for name, lead in readers.items()):
        if time.monotonic() > deadline:
            return
        time.sleep(LOOK_S)


def _begin_again(redis: Client, keys: Keys, readers: Mapping[str, Lead]) -> None:
    for name, lead in readers.items():
        _on_its_way(redis, keys, name, lead, 0)


def _on_its_way(redis: Client, keys: Keys, name: str, lead: Lead, mark_ms: int) -> int:
    """How many messages a reader has on its way. For `mark_ms` it begins nothing new; 0: it may begin again."""
    return int(script("leaving").run(redis, _places(keys, name, lead), [name, mark_ms]))


def _lead_elsewhere(redis: Client, keys: Keys, name: str, before: Lead, wanted: Lead) -> None:
    messages = int(script("elsewhere").run(redis, _places(keys, name, before), [name, wanted.at]))
    if messages:
        raise StillOnItsWay(name, before.place, f"is to lead to {wanted.place}", messages)


def _refuse_to_succeed(redis: Client, keys: Keys, name: str, before: Lead, new: str | None) -> None:
    """What a dropped reader has on its way would come to a new one of the same stream as well."""
    messages = 0 if new is None else _on_its_way(redis, keys, name, before, MARK_MS)
    if messages:
        raise StillOnItsWay(name, before.place, f"{new!r} is to read its stream instead", messages)


def _places(keys: Keys, name: str, lead: Lead) -> list[str]:
    """Where a reader's messages can be on their way."""
    return [keys.stream(lead.anchor).stream, keys.retry(lead.anchor, name).stream, *_lanes(keys, name)]


def _rename(redis: Client, keys: Keys, stream: str, former: str, name: str) -> None:
    at = keys.stream(stream)
    names = [
        at.stream,
        at.groups,
        at.counts,
        keys.joins(stream),
        *_own(keys, stream, former),
        *_own(keys, stream, name),
    ]
    answer = script("rename").run(redis, names, [former, name])
    if answer[0] != b"OK":
        raise NotDeclared(
            f"{name!r} is to go on where {former!r} stood, but both have messages of their own in "
            f"{answer[1].decode()!r}: take another name, or clear up there first (`dataflow dead`, `dataflow release`)"
        )
    for alarm in alarms(redis, keys):
        subject = _renamed_subject(alarm.subject, stream, former, name)
        if subject is not None:
            raise_alarm(redis, keys, alarm.kind, subject, alarm.text)
            clear_alarm(redis, keys, alarm.kind, alarm.subject)


def _renamed_subject(subject: str, stream: str, former: str, name: str) -> str | None:
    """What an alarm about the former name is about now; None if it is about something else."""
    own = {former: name, **{f"{former}/{lane}": f"{name}/{lane}" for lane in ("main", "retry")}}
    return {**own, f"{stream}/{former}": f"{stream}/{name}"}.get(subject)


def _own(keys: Keys, stream: str, name: str) -> list[str]:
    """The keys that a reader has for itself."""
    retry, dead = keys.retry(stream, name), keys.dead(stream, name)
    return [
        retry.stream, retry.groups, retry.counts, dead.stream, dead.counts,
        keys.parked(stream, name), keys.attempts(stream, name), *_lanes(keys, name),
    ]  # fmt: skip


def _lanes(keys: Keys, name: str) -> list[str]:
    """The keys of an edge's lanes: state and what is settled, of the stream and of what came back."""
    return [key for retry in (False, True) for key in (keys.edge(name, retry=retry), keys.settled(name, retry=retry))]
