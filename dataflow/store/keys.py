"""Every Redis key of a flow, in one place.

All keys of a flow begin with its hash tag `{flow}:`, so that they share a slot of a cluster and several flows share a
server. Stream and group names hold no colon (checked by the flow loader), so no two keys collide.

| key | type | what it holds |
|---|---|---|
| `{f}:<stream>` | stream | messages, one entry each, one field per message field |
| `{f}:<stream>:groups` | hash | the declared readers: group -> frontier (`<id>`: all up to and with it is finished; `(<id>`: all before it) |
| `{f}:<stream>:counts` | hash | `max_len`; `removed`; `from.<writer>` (entries written by door, worker, edge, dead, replay); per group `<group>.joined`, `.handled`, `.filtered`, `.dead`, `.released`, `.lost`, `.out`, `.kept` (settled by an edge, not yet confirmed); `kept` (their sum); `cycle` (1: the stream lies on one) |
| `{f}:<stream>:joins` | hash | group -> `<start, now or found> <ms>`: where it began on a stream that had flowed, and when |
| `{f}:<stream>:cycle` | hash | of a stream on a cycle: `streams` (their keys), `steps` (who writes inside it, between spaces), `closing` (1: an edge closes it here) |
| `{f}:<stream>:retry:<group>` | stream | messages of one group that come back to that group only; with `:groups` and `:counts` of its own |
| `{f}:<stream>:parked:<group>` | zset | messages waiting for their back-off; score = due time in ms |
| `{f}:<stream>:dead:<group>` | stream | dead letters of one group; with `:counts` of its own |
| `{f}:<stream>:attempts:<group>` | hash | `<lane>/<entry id>` -> how often an entry was begun alone and not finished |
| `{f}:edge:<edge>` | hash | an edge's lane on its source stream: lineage, seq, position, epoch, nonce, lease, the frozen batch, the server it was leased on; for an edge that reads a collection, on the Redis of its target |
| `{f}:edge:<edge>:retry` | hash | the same for the edge's retry stream |
| `{f}:edge:<edge>:settled`, `{f}:edge:<edge>:retry:settled` | list | batches that are settled, but not yet confirmed by a target on another server |
| `{f}:marker:<lineage>` | hash | at a target: the last batch applied from that lineage |
| `{f}:idem:<hash>` | hash | an idempotency record of the door; expires |
| `{f}:flow` | hash | `format`, `digest`, `revision` of the applied flow |
| `{f}:leads` | hash | `<stream>/<reader>` -> JSON {kind, reads, to, at, former, late}: where it leads as applied |
| `{f}:applying` | hash | who applies a flow just now: `nonce`, `until_ms` |
| `{f}:alarms` | hash | `<kind>:<subject>` -> JSON {at_ms, text}: what an operator should look at |
| `{f}:rebased` | list | JSON of every time that counters were corrected after a loss, the newest first |
| `{f}:scheduler:<machine>` | hash | lease of the scheduler of a machine: `nonce`, `until_ms`; `tick.<task>` -> its last tick (ms) |
| `{f}:access:keys` | hash | API keys: id -> JSON {name, scopes, digest of the secret, times, rate} |
| `{f}:access:rate:<id>` | hash | the token bucket of an API key that has a rate; expires |
| `{f}:access:history` | stream | who changed what; the newest 10,000 or so |
| `{f}:run:records` | hash | runs of edges that the sync API was asked for: `<id>` -> JSON {edge, asked_ms}; `<id>:begun` -> JSON {at_ms}; `<id>:ended` -> JSON, what the run did |
| `{f}:run:ages` | zset | their ids, score = when they were asked for (ms, and behind the point in which order); the oldest go first |
| `{f}:trend` | list | JSON {at_ms, depths}: how full the streams of this server were in the last minute, the newest first |
| `{f}:run:edges` | hash | `<edge>` -> JSON {state, error, at_ms} of its last run; `<edge>:mode` -> how its target was seen to know a batch again |
| `{f}:run:hints` | hash | edge -> `<id> <tick> <until>` (ms): hints that the broker did not take, as it is full or away |
| `{f}:run:end:<id>` | string | how a run ended that such a hint asked for, as JSON; expires |
| `{f}:live` | hash | `<kind>:<process>` -> JSON heartbeat of a running process |
"""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = 1
"""Version of the layout above. A program refuses a flow whose `format` is higher than its own."""


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """The keys that every stream has: entries, declared readers, counts; and `cycle`, if it lies on one."""

    stream: str

    @property
    def groups(self) -> str:
        """Hash of declared readers and their frontiers."""
        return f"{self.stream}:groups"

    @property
    def counts(self) -> str:
        """Hash of counters."""
        return f"{self.stream}:counts"

    @property
    def cycle(self) -> str:
        """Hash with the cycle that the stream lies on."""
        return f"{self.stream}:cycle"


@dataclass(frozen=True, slots=True)
class Keys:
    """Names the keys of one flow."""

    flow: str

    def stream(self, name: str) -> StreamKeys:
        """A declared stream."""
        return StreamKeys(f"{{{self.flow}}}:{name}")

    def retry(self, stream: str, group: str) -> StreamKeys:
        """The stream from which one group gets its retried and replayed messages."""
        return StreamKeys(f"{{{self.flow}}}:{stream}:retry:{group}")

    def dead(self, stream: str, group: str) -> StreamKeys:
        """The dead letters of one group."""
        return StreamKeys(f"{{{self.flow}}}:{stream}:dead:{group}")

    def parked(self, stream: str, group: str) -> str:
        """Messages of one group in back-off."""
        return f"{{{self.flow}}}:{stream}:parked:{group}"

    def joins(self, stream: str) -> str:
        """Where the readers of a stream began."""
        return f"{{{self.flow}}}:{stream}:joins"

    def attempts(self, stream: str, group: str) -> str:
        """Attempt counters of one group."""
        return f"{{{self.flow}}}:{stream}:attempts:{group}"

    def edge(self, edge: str, *, retry: bool = False) -> str:
        """State of an edge's lane."""
        return f"{{{self.flow}}}:edge:{edge}" + (":retry" if retry else "")

    def settled(self, edge: str, *, retry: bool = False) -> str:
        """Batches of an edge's lane that its target may still lose."""
        return self.edge(edge, retry=retry) + ":settled"

    def marker(self, lineage: str) -> str:
        """What a target stream remembers of one lineage."""
        return f"{{{self.flow}}}:marker:{lineage}"

    def idempotency(self, record: str) -> str:
        """An idempotency record of the door."""
        return f"{{{self.flow}}}:idem:{record}"

    def scheduler(self, machine: str) -> str:
        """Lease and last ticks of the scheduler of a machine."""
        return f"{{{self.flow}}}:scheduler:{machine}"

    @property
    def access_keys(self) -> str:
        """API keys."""
        return f"{{{self.flow}}}:access:keys"

    def access_rate(self, key_id: str) -> str:
        """Rate limit of an API key."""
        return f"{{{self.flow}}}:access:rate:{key_id}"

    @property
    def history(self) -> str:
        """Who changed what."""
        return f"{{{self.flow}}}:access:history"

    @property
    def runs(self) -> tuple[str, str]:
        """Runs that were asked for, and how old each is."""
        return f"{{{self.flow}}}:run:records", f"{{{self.flow}}}:run:ages"

    @property
    def edge_runs(self) -> str:
        """How the last run of each edge ended."""
        return f"{{{self.flow}}}:run:edges"

    @property
    def left_hints(self) -> str:
        """Hints that the broker did not take."""
        return f"{{{self.flow}}}:run:hints"

    def left_end(self, hint: str) -> str:
        """How the run ended that such a hint asked for."""
        return f"{{{self.flow}}}:run:end:{hint}"

    @property
    def applied(self) -> str:
        """The applied flow."""
        return f"{{{self.flow}}}:flow"

    @property
    def applying(self) -> str:
        """Who applies a flow just now."""
        return f"{{{self.flow}}}:applying"

    @property
    def leads(self) -> str:
        """Where each reader leads, as it was applied."""
        return f"{{{self.flow}}}:leads"

    @property
    def alarms(self) -> str:
        """What an operator should look at."""
        return f"{{{self.flow}}}:alarms"

    @property
    def rebased(self) -> str:
        """Who corrected counters after a loss, and which."""
        return f"{{{self.flow}}}:rebased"

    @property
    def trend(self) -> str:
        """How full streams were."""
        return f"{{{self.flow}}}:trend"

    @property
    def live(self) -> str:
        """Heartbeats."""
        return f"{{{self.flow}}}:live"
