"""Which keys a flow file has. The one list behind validation, defaults, the JSON Schema and docs/FLOW.md."""

from __future__ import annotations

from typing import Final

from dataflow.flow.address import Address, Alias
from dataflow.flow.fields import FieldName, Types
from dataflow.flow.many import Free, Named, Several
from dataflow.flow.names import Name, Names
from dataflow.flow.schedule import Schedule
from dataflow.flow.sections import Key, OneOf, Section
from dataflow.flow.values import Choice, Flag, Number, Text, Whole

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_DOTTED: Final = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_PART_RULE: Final = "letters, digits, _ . and -, beginning with a letter or digit, at most 100"

FLOW_NAMES: Final = Names(
    "a flow",
    r"[a-z][a-z0-9_-]{0,63}",
    "lower-case letters, digits, _ and -, beginning with a letter, at most 64",
)
CONNECTION_NAMES: Final = Names(
    "a connection",
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
    "letters, digits, _ and -, beginning with a letter or digit, at most 100",
)
STREAM_NAMES: Final = Names(
    "a stream",
    _PART,
    _PART_RULE,
    frozenset(
        {"access", "alarms", "edge", "flow", "idem", "live", "marker", "run", "scheduler"}
    ),  # they are keys beside the streams'
)
STEP_NAMES: Final = Names(
    "a worker or an edge",
    _PART,
    _PART_RULE,
    # other writers of streams, and what would read as a counter or a key of something else
    frozenset({"dead", "door", "from", "hub", "replay", "counts", "groups"}),
    reserved_prefix="from.",
)
MACHINE_NAMES: Final = Names("a machine", _PART, _PART_RULE)
COLUMNS: Final = Several(FieldName(also=frozenset({"_mid"})))

CONNECTION: Final = Section(
    "a connection",
    (
        Key("redis", Address("redis"), "address of a Redis server"),
        Key("clickhouse", Address("clickhouse"), "address of a ClickHouse server"),
        Key("mongo", Address("mongo"), "address of a MongoDB server"),
        Key(
            "aliases",
            Several(Alias()),
            "what requests to the API of the sync room may call it, beside its name and its own host:port",
            default=(),
            default_words="none",
        ),
    ),
    refused={"handler": "F305"},
    exactly_one=("redis", "clickhouse", "mongo"),
)

HUB: Final = Section(
    "the hub",
    (
        Key("host", Text("a host name or address", r"[^\s/]+"), "where it listens", default="127.0.0.1"),
        Key("port", Whole(1, 65535), "TCP port", default=24100),
    ),
    refused={"handler": "F305"},
)

ACCEPTS: Final = Section(
    "accepts",
    (
        Key("task_for", Text(), "value of the message field task_for", required=True),
        Key("function_type", Text(), "value of the message field function_type", required=True),
    ),
)

KEEP: Final = Section(
    "keep",
    (
        Key("messages", Whole(1, 10**9), "the newest so many"),
        Key("hours", Number(0, above=True), "those of the last so many hours"),
    ),
    exactly_one=("messages", "hours"),
)

STREAM: Final = Section(
    "a stream",
    (
        Key(
            "on",
            Text("the name of a Redis connection"),
            "the server it lives on",
            default_words="the first Redis connection",
        ),
        Key(
            "direction",
            Choice(("in", "out")),
            "in: filled by the hub and by edges, read by workers and edges; out: filled by workers, read by edges",
            default_words="by the end of the name: `.stream_in`, `.stream_out`",
        ),
        Key("max_len", Whole(2, 10**9), "messages it holds before writers are told to wait", default=100_000),
        Key("schema", Types(), "types of its fields; what does not fit is refused at the door"),
        Key("accepts", ACCEPTS, "requests that the hub routes here"),
        Key("keep", KEEP, "what stays in a stream that nothing reads"),
    ),
    refused={"handler": "F305"},
)

WORKER: Final = Section(
    "a worker",
    (
        Key("from", Text("the name of a stream"), "the stream it reads", required=True),
        Key(
            "to",
            Several(Text("the name of a stream"), single=True),
            "where results go",
            default=(),
            default_words="nowhere",
        ),
        Key(
            "handler",
            Text("module:attribute", rf"{_DOTTED}:{_DOTTED}", "F109"),
            "function or class that does the work; the module lies beside the flow file or is installed",
            required=True,
        ),
        Key("params", Free("a mapping, given to `setup`"), "arguments of the handler's `setup`", default={}),
        Key("processes", Whole(1, 1000), "processes on each machine", default=1),
        Key("threads", Whole(1, 1000), "threads per process, for handlers that wait on I/O", default=1),
        Key("batch", Whole(1, 500), "messages read at once", default=500),
        Key("timeout_s", Number(0, above=True), "a handler that takes longer is ended", default=300.0),
        Key(
            "memory_mb",
            Whole(16, 10**7),
            "memory that the handler may take in each process, its models included; beyond it gets MemoryError",
            default_words="no limit",
        ),
        Key("max_attempts", Whole(1, 1000), "failures alone before a message is a dead letter", default=5),
        Key(
            "max_retry_s",
            Number(0, above=True),
            "so long after it first failed a message for which the handler still raises Retry is a dead letter",
            default=604_800.0,
        ),
        Key("lease_s", Number(1), "after so long without a sign of life others take over", default=15.0),
        Key(
            "batch_handler",
            Choice(("no", "list", "dataframe")),
            "what the handler is called with: one message, a list of them, a pandas DataFrame",
            default="no",
        ),
        Key("aggregate", Flag(), "whether the results of a batch belong to no single message", default=False),
    ),
)

ROUTE: Final = Section(
    "route",
    (
        Key("by", FieldName(), "the field that decides", required=True),
        Key(
            "cases",
            Named(
                Names("a value", r"[\s\S]*", "text"),
                Text("the name of a stream"),
                "a mapping: value -> stream name",
                empty=False,
            ),
            "value of the field, as it stands in the stream -> stream",
            required=True,
        ),
        Key(
            "other",
            Text("the name of a stream"),
            "stream for all other values",
            default_words="they become dead letters",
        ),
    ),
)

_LEAST: Final = "wait for so many ..."
LEAST_ROWS: Final = 1000
"""So many messages an edge waits for where its target makes a part of each batch, and the file says nothing."""


def _edge(
    kind: str,
    doc: str,
    specific: tuple[Key, ...],
    batch: tuple[int, int],
    exactly_one: tuple[str, ...] = (),
    least: Key | None = None,
) -> Section:
    most, default = batch
    return Section(
        f"an edge of kind {kind}",
        (
            Key("kind", Choice((kind,)), doc, required=True),
            Key("from", Text("the name of a stream"), "the stream it reads", required=True),
            *specific,
            Key("batch", Whole(1, most), "most messages moved at once", default=default),
            least or Key("min_batch", Whole(1, most), _LEAST, default=1),
            Key("max_wait_s", Number(0), "... but not longer than this", default=1.0),
            Key("lease_s", Number(1), "after so long without a sign of life others take over", default=30.0),
            Key(
                "delivery",
                Choice(("exactly_once", "at_least_once")),
                "at_least_once: also into a table where repeats cannot be told apart",
                default="exactly_once",
            ),
            Key(
                "join",
                Choice(("start", "now")),
                "where an edge begins that is added to a stream that has already flowed",
                default="start",
            ),
            Key(
                "task",
                Schedule(),
                "when it runs; see Schedules",
                default_words="it runs all the time",
            ),
        ),
        refused=dict.fromkeys(("handler", "params", "batch_handler", "aggregate"), "F305"),
        exactly_one=exactly_one,
    )


S2S: Final = _edge(
    "s2s",
    "stream to stream",
    (
        Key("to", Text("the name of a stream"), "the target; or `route`"),
        Key("route", ROUTE, "a target for each value of a field; or `to`"),
        Key(
            "max_hops",
            Whole(1, 1000),
            "for an edge that closes a cycle: how many hops a message may make on it; see Cycles",
            default_words="the edge closes no cycle",
        ),
    ),
    batch=(500, 500),
    exactly_one=("to", "route"),
)

S2CH: Final = _edge(
    "s2ch",
    "stream to ClickHouse table",
    (
        Key(
            "to",
            Text("<connection>.<table>", r"[A-Za-z0-9][A-Za-z0-9_-]*\.[A-Za-z_][A-Za-z0-9_]*", "F113"),
            "the target table",
            required=True,
        ),
        Key("create_table", Flag(), "make the table from the stream's schema if it is missing", default=False),
        Key("columns", COLUMNS, "fields to store", default_words="those that the table has"),
    ),
    batch=(100_000, 10_000),
    least=Key("min_batch", Whole(1, 100_000), _LEAST, default_words=f"{LEAST_ROWS}, or `batch` where that is less"),
)

_COLLECTION: Final = Text("<connection>.<collection>", r"[A-Za-z0-9][A-Za-z0-9_-]*\.[A-Za-z_][A-Za-z0-9_]*", "F117")
_DATABASE: Final = Key(
    "database",
    Text("the name of a database", r"[A-Za-z0-9_-]{1,63}"),
    "the database of the collection",
    default_words="the one in the connection's URL, else `dataflow`",
)

S2MONGO: Final = _edge(
    "s2mongo",
    "stream to MongoDB collection",
    (
        Key("to", _COLLECTION, "the target collection", required=True),
        _DATABASE,
        Key("exclusive", Flag(), "nothing else writes to the collection or deletes from it", default=False),
    ),
    batch=(10_000, 1_000),
)

_DOCUMENT_FIELD: Final = Text("the name of a field of the documents", r"[^\x00$.][^\x00.]{0,255}")

MONGO2S: Final = Section(
    "an edge of kind mongo2s",
    (
        Key("kind", Choice(("mongo2s",)), "MongoDB collection to stream", required=True),
        Key("from", _COLLECTION, "the collection that it reads", required=True),
        _DATABASE,
        Key("to", Text("the name of a stream"), "the target", required=True),
        Key(
            "by",
            _DOCUMENT_FIELD,
            "the field that gives the order: each document gets a higher value than those before it; `_id` is possible",
            required=True,
        ),
        Key(
            "fields",
            Several(_DOCUMENT_FIELD),
            "fields of a document that go over",
            default_words="all but `_id`",
        ),
        Key("id_field", FieldName(), "the message field that gets the document's `_id`", default_words="none"),
        Key(
            "settle_s",
            Number(0),
            "so long after a value of `by` was seen, no lower one may appear any more",
            default=5.0,
        ),
        Key("batch", Whole(1, 500), "most documents moved at once", default=500),
        Key("lease_s", Number(1), "after so long without a sign of life others take over", default=30.0),
        Key("task", Schedule(), "when it runs; see Schedules", default_words="it runs all the time"),
    ),
    refused=dict.fromkeys(("handler", "params", "batch_handler", "aggregate"), "F305"),
)

EDGE: Final = OneOf("kind", {"s2s": S2S, "s2ch": S2CH, "s2mongo": S2MONGO, "mongo2s": MONGO2S})

SCHEDULER: Final = Section(
    "the scheduler",
    (
        Key(
            "machine",
            Name(MACHINE_NAMES),
            "whose documents in TaskTable are this flow's",
            default="",
            default_words="the name of the flow",
        ),
        Key("host", Text("a host name or address", r"[^\s/]+"), "where its HTTP API listens", default="127.0.0.1"),
        Key("port", Whole(1, 65535), "TCP port", default=24010),
        Key(
            "timezone",
            Text("a time zone"),
            "zone of the tasks that state none",
            default="",
            default_words="the zone of the machine",
        ),
        Key(
            "tasks",
            Text("the name of a mongo connection"),
            "where TaskTable is",
            default_words="the first mongo connection",
        ),
        Key(
            "allow",
            Several(Text("http://host:port/path", r"https?://[^\s/@?#]+(/[^\s?#]*)?")),
            "addresses that jobs of kind make_a_request may call, with all below them",
            default=(),
            default_words="none",
        ),
        Key(
            "modules",
            Several(Text("the name of a module", _DOTTED)),
            "modules whose functions may be jobs",
            default=(),
            default_words="none",
        ),
    ),
    refused={"handler": "F305"},
)

SYNC: Final = Section(
    "the sync room",
    (
        Key("host", Text("a host name or address", r"[^\s/]+"), "where its HTTP API listens", default="127.0.0.1"),
        Key("port", Whole(1, 65535), "TCP port", default=24104),
    ),
    refused={"handler": "F305"},
)

FILE: Final = Section(
    "the file",
    (
        Key("flow", Name(FLOW_NAMES), "name of the flow; the prefix of all its keys in Redis", required=True),
        Key(
            "connections",
            Named(CONNECTION_NAMES, CONNECTION, "a mapping: connection name -> server"),
            "servers; each has one of the keys below",
            default_words="`main`, `warehouse` and `tasks`, see Connections",
        ),
        Key("hub", HUB, "the HTTP door", default=HUB.blank),
        Key("scheduler", SCHEDULER, "what runs the edges that have a `task`", default_words="as if it were empty"),
        Key("sync", SYNC, "the HTTP API that runs edges when asked to", default=SYNC.blank),
        Key(
            "streams",
            Named(STREAM_NAMES, STREAM, "a mapping: stream name -> its keys", empty=False),
            "streams by name",
            required=True,
        ),
        Key("workers", Named(STEP_NAMES, WORKER, "a mapping: worker name -> its keys"), "workers by name", default={}),
        Key("edges", Named(STEP_NAMES, EDGE, "a mapping: edge name -> its keys"), "edges by name", default={}),
    ),
)
