"""Who goes on with whose work when a flow is applied anew. Pure: it compares what was applied with what is wanted.

    the same step under another name     goes on where the former stood
    another reader on the same stream,   goes on where the former stood, too: what that has finished is done, the rest
    where exactly one was dropped        is left to its successor
    the same name, led elsewhere         goes on where it stands, once nothing of it is on its way
    dropped, and nobody new              waits, with its messages

Whatever could mean two things is refused: then the change is made in two steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataflow.errors import UserError
from dataflow.store.leads import Lead, Leads, Reader


@dataclass(frozen=True, slots=True)
class Step:
    """One reader that goes on as another, or leads elsewhere (then `former` and `reader` are the same).

    before, now: their leads. quiet: nothing may be on its way. anew: lanes begin anew.
    """

    former: Reader
    reader: Reader
    before: Lead
    now: Lead
    quiet: bool
    anew: bool

    @property
    def wish(self) -> str:
        """What the flow file wants, for people."""
        if self.former == self.reader:
            return f"is to lead to {self.now.place}"
        return f"{self.reader.name!r} ({self.now.place}) is to take its place"


@dataclass(frozen=True, slots=True)
class Succession:
    """steps: what is to be done. leads: where all readers lead after that. dropped: who has no successor."""

    steps: Sequence[Step]
    leads: Leads
    dropped: Sequence[Reader]


def succession(before: Leads, wanted: Leads) -> Succession:
    """Compare. Raises UserError, which says what to apply first: it cannot be told who succeeds whom."""
    gone = [reader for reader in before if reader not in wanted]
    come = [reader for reader in wanted if reader not in before]
    stays = [reader for reader in wanted if reader in before]
    changed = [reader for reader in stays if not wanted[reader].is_same_step(before[reader])]
    _refuse_exchanges(before, wanted, [*gone, *changed], [*come, *changed])
    heirs = _heirs(before, wanted, gone, come)
    _refuse_names_passed_on(heirs)
    steps = [_step(before, wanted, former, reader) for reader, former in heirs.items()]
    steps += [_step(before, wanted, reader, reader) for reader in changed]
    dropped = [reader for reader in gone if reader not in heirs.values()]
    leads = {reader: before[reader] for reader in dropped}
    leads |= {reader: _with_former_names(reader, wanted[reader], before, heirs) for reader in wanted}
    return Succession([step for step in steps if step.former != step.reader or step.anew], leads, dropped)


def _heirs(before: Leads, wanted: Leads, gone: Sequence[Reader], come: Sequence[Reader]) -> dict[Reader, Reader]:
    """New reader -> the one whose place it takes."""
    heirs: dict[Reader, Reader] = {}
    for reader in come:
        rivals = [one for one in come if one.stream == reader.stream and wanted[one].is_same_step(wanted[reader])]
        formers = [one for one in gone if one.stream == reader.stream and before[one].is_same_step(wanted[reader])]
        if len(rivals) == len(formers) == 1:
            heirs[reader] = formers[0]
    for stream in dict.fromkeys(reader.stream for reader in come):
        new = [one for one in come if one.stream == stream and one not in heirs and _takes_over(wanted[one])]
        left = [one for one in gone if one.stream == stream and one not in heirs.values() and before[one].takes]
        if len(new) == len(left) == 1:
            heirs[new[0]] = left[0]
        elif new and left:
            raise UserError(
                f"stream {stream!r} loses the readers {_names(left)} and gets {_names(new)}: it cannot be told who "
                "takes whose place. Nothing was changed: apply one change, then the other; or first let go of who is "
                "to have no successor (without the new ones: `dataflow apply`, `dataflow release`)"
            )
    return heirs


def _takes_over(lead: Lead) -> bool:
    return lead.takes and not lead.late


def _refuse_exchanges(before: Leads, wanted: Leads, leaving: Sequence[Reader], coming: Sequence[Reader]) -> None:
    """A name that goes on as something else, while another does what it did, or it does what another did."""
    for one in coming:
        for other in leaving:
            exchanged = one in before or other in wanted
            if one != other and exchanged and before[other].is_same_step(wanted[one]):
                raise UserError(
                    f"{one.name!r} is to do what {other.name!r} did, and one of these names is to do something else: "
                    "messages would be done twice, or not. Nothing was changed: apply it in two steps, with a name in "
                    "between that is not in use"
                )


def _refuse_names_passed_on(heirs: dict[Reader, Reader]) -> None:
    names = {reader.name for reader in heirs} & {former.name for former in heirs.values()}
    if names:
        raise UserError(
            f"the name {sorted(names)[0]!r} is passed on from one reader to another. Nothing was changed: apply it in "
            "two steps, with a name in between that is not in use"
        )


def _step(before: Leads, wanted: Leads, former: Reader, reader: Reader) -> Step:
    elsewhere = wanted[reader].remembers_elsewhere(before[former])
    return Step(former, reader, before[former], wanted[reader], quiet=elsewhere, anew=elsewhere)


def _with_former_names(reader: Reader, lead: Lead, before: Leads, heirs: dict[Reader, Reader]) -> Lead:
    former = heirs.get(reader)
    if former is not None:
        names = (*before[former].former, former.name)
        return replace(lead, former=tuple(dict.fromkeys(name for name in names if name != reader.name)))
    return replace(lead, former=before[reader].former) if reader in before else lead


def _names(readers: Sequence[Reader]) -> str:
    return ", ".join(reader.name for reader in readers)
