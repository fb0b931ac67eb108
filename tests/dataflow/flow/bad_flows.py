"""One small flow file per mistake. `§` marks where the problem must be reported; it is not part of the file."""

from __future__ import annotations

from dataclasses import dataclass, field

HEAD = "flow: f\n"
PAIR = """\
streams:
  a.stream_in:
  a.stream_out:
"""
WORKER = """\
workers:
  w: {from: a.stream_in, to: a.stream_out, handler: "m:f"}
"""
ARCHIVE = """\
edges:
  e: {kind: s2ch, from: a.stream_out, to: warehouse.t}
"""
ONE_SERVER = f"{HEAD}connections:\n  r: {{redis: embedded}}\n  warehouse: {{clickhouse: embedded}}\n{PAIR}{WORKER}" + (
    "edges:\n  e:\n    kind: s2ch\n    from: a.stream_out\n    to: warehouse.t\n"
)
NET = PAIR + WORKER + ARCHIVE
"""A whole and sound net: one in, one worker, one out, one edge into a table."""


@dataclass(frozen=True)
class Bad:
    """A file with exactly one problem. `says` are words that the problem must hold."""

    name: str
    code: str
    marked: str
    says: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The file."""
        return self.marked.replace("§", "")

    @property
    def place(self) -> tuple[int, int]:
        """Line and column of the mark, from 1."""
        before = self.marked[: self.marked.index("§")]
        return before.count("\n") + 1, len(before) - before.rfind("\n")


def worker(values: str) -> str:
    """A sound net but for the worker."""
    return f"{HEAD}{PAIR}workers:\n  w: {values}\n{ARCHIVE}"


def edge(values: str, streams: str = PAIR) -> str:
    """A sound net but for the edge."""
    return f"{HEAD}{streams}{WORKER}edges:\n  e: {values}\n"


def intake(values: str) -> str:
    """A sound net but for an edge out of a collection."""
    return f"{HEAD}{NET}  x: {{kind: mongo2s, {values}}}\n"


def stream(values: str) -> str:
    """A sound net but for the stream in."""
    return f"{HEAD}streams:\n  a.stream_in: {values}\n  a.stream_out:\n{WORKER}{ARCHIVE}"


def archive(values: str) -> str:
    """A sound net but for what the edge into the table adds."""
    return edge(f"{{kind: s2ch, from: a.stream_out, to: warehouse.t, {values}}}")


FED = "flow: f\nstreams: {b.stream_in: , a.stream_in: , a.stream_out: }\n" + WORKER
TWO_INS = FED + ARCHIVE + "  x: "
"""A sound net with a second in, which only the edge x reads."""

BOMB = "\n".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9) if n else 'x'}]" for n in range(8))

TWO_REDIS = """\
connections:
  main: {redis: "redis://one:6379"}
  far: {redis: "redis://two:6379"}
  warehouse: {clickhouse: embedded}
"""

BAD: tuple[Bad, ...] = (
    # -- YAML
    Bad("an open brace", "F004", HEAD + "streams: {a.stream_in: \n§", ("stream end",)),
    Bad("a tab as indent", "F004", HEAD + "streams:\n§\ta.stream_in:\n", ("\\t",)),
    Bad("a second document", "F004", HEAD + NET + "§---\n" + HEAD, ("document",)),
    Bad("an undefined alias", "F004", HEAD + "streams: §*nothing\n", ("nothing",)),
    Bad("a control character", "F004", HEAD + "streams: §\x07\n", ("U+0007",)),
    Bad("an escape beyond Unicode", "F004", HEAD + 'streams: "\\U§FFFFFFFF"\n', ("too large",)),
    Bad("nothing at all", "F005", "§"),
    Bad("a file that says null", "F005", "# to be done\n§~\n"),
    Bad("a comment only", "F005", "§# to be done\n"),
    Bad("a key twice", "F006", HEAD + NET + "§flow: g\n", ("'flow'", "line 1")),
    Bad("a worker twice", "F006", HEAD + PAIR + WORKER + "  §w: {handler: 'm:g'}\n" + ARCHIVE, ("'w'", "line 6")),
    Bad("a list as a key", "F007", HEAD + NET + "§[a, b]: c\n", ("a list",)),
    Bad("a merge key", "F008", worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', §<<: {batch: 1}}")),
    Bad("a tag", "F009", "flow: §!!python/name:os.system f\n" + NET, ("python/name",)),
    Bad("a tag on a list", "F009", worker("{from: a.stream_in, to: §!!set [a.stream_out], handler: 'm:f'}")),
    Bad("a well", "F010", HEAD + NET + "x: " + "[" * 31 + "§[" + "]" * 32 + "\n", ("32",)),
    Bad("an alias in its anchor", "F010", HEAD + NET + "x: §&x [*x]\n"),
    Bad("a bomb of aliases", "F011", HEAD + NET + "x:\n" + BOMB.replace("[x]", "[§x]") + "\n", ("50000",)),
    # -- variables
    Bad("a variable not set", "F012", "flow: §${NAME}\n" + NET, ("NAME", "${NAME:default}")),
    Bad(
        "a variable not set in params",
        "F012",
        worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', params: {deep: [1, §'x ${GONE}']}}"),
        ("GONE",),
    ),
    Bad("a file that is not there", "F015", "flow: §${file:/none/at/all}\n" + NET, ("/none/at/all", "No such file")),
    Bad("a file beside", "F015", "flow: §${file:secret}\n" + NET, ("secret", "absolute")),
    Bad("a folder for a file", "F015", "flow: §${file:/}\n" + NET, ("directory",)),
    Bad("a file without an end", "F015", "flow: §${file:/dev/zero}\n" + NET, ("longer than",)),
    Bad("a broken reference", "F013", "flow: §'${na me}'\n" + NET, ("${na me}",)),
    Bad("an open reference", "F013", "flow: §f${NAME\n" + NET, ("${NAME",)),
    Bad(
        "half a surrogate pair",
        "F014",
        worker(r"{from: a.stream_in, to: a.stream_out, handler: §'m:f${HALF}'}"),
        environ={"HALF": "\udc80"},
    ),
    Bad(
        "half a surrogate pair in a key",
        "F014",
        worker(r'{from: a.stream_in, to: a.stream_out, handler: "m:f", params: {§"\ud800": 1}}'),
    ),
    # -- shape
    Bad("a list as the file", "F103", "§- flow\n", ("a mapping", "a list", "the file")),
    Bad("unknown section", "F101", HEAD + NET + "§conections: {}\n", ("'connections'", "the file")),
    Bad(
        "unknown key that takes the place of a known one",
        "F101",
        worker("{§form: a.stream_in, to: a.stream_out, handler: 'm:f'}"),
        ("'form'", "'from'", "workers.w"),
    ),
    Bad("misspelt section hides its readers", "F101", HEAD + PAIR + WORKER + "§edgs:" + ARCHIVE[6:], ("'edges'",)),
    Bad("unknown key like none", "F101", stream("{§xyzzy: 1}"), ("'xyzzy'", "known here: on, direction")),
    Bad("unknown key that takes the place of the kind", "F101", edge("{§knd: s2ch, from: a.stream_out}"), ("'kind'",)),
    Bad("unknown key in a schedule", "F101", archive("task: {§secnd: 5}"), ("'second'", "edges.e.task")),
    Bad("unknown key in an interval", "F101", archive("task: {interval: {§second: 5}}"), ("'seconds'",)),
    Bad("no flow name", "F102", "§" + NET, ("flow",)),
    Bad("no streams", "F102", "§flow: f\n", ("streams",)),
    Bad(
        "no handler",
        "F102",
        f"{HEAD}{PAIR}workers:\n  §w: {{from: a.stream_in, to: a.stream_out}}\n{ARCHIVE}",
        ("handler", "workers.w"),
    ),
    Bad("no function_type", "F102", stream("{accepts: §{task_for: x}}"), ("function_type", "accepts")),
    Bad("no kind", "F102", f"{HEAD}{PAIR}{WORKER}edges:\n  §e: {{from: a.stream_out, to: warehouse.t}}\n", ("kind",)),
    Bad("a list for a mapping", "F103", HEAD + PAIR + WORKER + "edges: §[e]\n", ("a mapping", "a list")),
    Bad("a worker that is text", "F103", worker("§m:f"), ("a mapping", "text")),
    Bad(
        "text for a number",
        "F103",
        worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', batch: §many}"),
        ("workers.w.batch", "a whole number, 1 to 500", "text"),
    ),
    Bad("a quoted number", "F103", worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', batch: §'5'}")),
    Bad(
        "a fraction for a whole number",
        "F103",
        worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', processes: §1.5}"),
        ("1.5",),
    ),
    Bad(
        "a bool for a number", "F103", worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', timeout_s: §true}")
    ),
    Bad("yes for true", "F103", archive("create_table: §yes"), ("true or false",)),
    Bad("nothing for text", "F103", worker("{§from: , to: a.stream_out, handler: 'm:f'}"), ("nothing",)),
    Bad(
        "nothing for text in a block",
        "F103",
        f"{HEAD}{PAIR}workers:\n  w:\n    §from:\n    to: a.stream_out\n    handler: m:f\n{ARCHIVE}",
        ("nothing",),
    ),
    Bad("a mapping for text", "F103", worker("{from: §{x: y}, to: a.stream_out, handler: 'm:f'}"), ("a mapping",)),
    Bad(
        "a number for an address",
        "F103",
        HEAD + "connections: {warehouse: {clickhouse: embedded}, main: {redis: §6379}}\n" + NET,
    ),
    Bad(
        "a variable that holds no number",
        "F103",
        worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', batch: §'${N}'}"),
        environ={"N": "ten"},
    ),
    Bad("a wrong word", "F104", archive("join: §strat"), ("'strat'", "'start'", "start, now")),
    Bad("a wrong kind", "F104", edge("{kind: §s2c, from: a.stream_out, to: warehouse.t}"), ("'s2ch'",)),
    Bad("a wrong type", "F104", stream("{schema: {x: §string}}"), ("'string'", "datetime?")),
    Bad("a wrong type written long", "F104", stream("{schema: {x: {type: §integer, nullable: true}}}"), ("'integer'",)),
    Bad(
        "a batch too large for s2s",
        "F105",
        TWO_INS + "{kind: s2s, from: b.stream_in, to: a.stream_in, batch: §501}\n",
        ("501", "1 to 500"),
    ),
    Bad("a batch too large for s2ch", "F105", archive("batch: §100001"), ("100001", "1 to 100000")),
    Bad("no process", "F105", worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', processes: §0}"), ("0",)),
    Bad(
        "no time", "F105", worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', timeout_s: §0}"), ("above 0",)
    ),
    Bad("a short lease", "F105", worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', lease_s: §0.5}")),
    Bad("no number", "F105", archive("max_wait_s: §.nan")),
    Bad("endless", "F105", archive("max_wait_s: §.inf")),
    Bad("a port too high", "F105", HEAD + "hub: {port: §70000}\n" + NET, ("hub.port",)),
    Bad("a capital in the flow's name", "F106", "flow: §Water\n" + NET, ("'Water'", "lower-case")),
    Bad("a colon in a worker's name", "F106", HEAD + PAIR + WORKER.replace("w:", "§'w:1':", 1) + ARCHIVE, ("'w:1'",)),
    Bad(
        "a blank in a stream's name",
        "F106",
        HEAD
        + PAIR.replace("a.stream_in", "§'a b.stream_in'")
        + WORKER.replace("a.stream_in", "a b.stream_in")
        + ARCHIVE,
    ),
    Bad(
        "a dot in a connection's name",
        "F106",
        HEAD + "connections: {§a.b: {redis: embedded}, warehouse: {clickhouse: embedded}}\n" + NET,
    ),
    Bad(
        "a stream named like a key of ours",
        "F107",
        HEAD
        + "streams:\n  a.stream_in:\n  §alarms: {direction: out, keep: {hours: 1}}\n  a.stream_out:\n"
        + WORKER
        + ARCHIVE,
        ("'alarms'", "a stream"),
    ),
    Bad("a worker named like a writer of ours", "F107", HEAD + PAIR + WORKER.replace("w:", "§door:", 1) + ARCHIVE),
    Bad("a worker named like a counter", "F107", HEAD + PAIR + WORKER.replace("w:", "§from.x:", 1) + ARCHIVE),
    Bad(
        "an address of another kind",
        "F108",
        HEAD + "connections: {warehouse: {clickhouse: embedded}, main: {redis: §'http://u:hunter2@h'}}\n" + NET,
        ("redis://",),
    ),
    Bad(
        "an address without a host",
        "F108",
        HEAD + "connections: {main: {redis: embedded}, warehouse: {clickhouse: §'clickhouse://:hunter2@'}}\n" + NET,
        ("no host",),
    ),
    Bad(
        "an address with a bad port",
        "F108",
        HEAD + "connections: {main: {redis: §'${R}'}, warehouse: {clickhouse: embedded}}\n" + NET,
        ("port",),
        {"R": "redis://:hunter2@h:x"},
    ),
    Bad(
        "an address that cannot be read",
        "F108",
        HEAD + "connections: {warehouse: {clickhouse: embedded}, main: {redis: §'redis://[hunter2'}}\n" + NET,
    ),
    Bad(
        "a handler without attribute",
        "F109",
        worker("{from: a.stream_in, to: a.stream_out, handler: §water}"),
        ("workers.w.handler",),
    ),
    Bad("a handler by file name", "F109", worker("{from: a.stream_in, to: a.stream_out, handler: §'water.py:f g'}")),
    Bad(
        "a connection of two kinds",
        "F110",
        HEAD + "connections: {warehouse: {clickhouse: embedded}, main: {redis: embedded, §mongo: embedded}}\n" + NET,
        ("redis and mongo",),
    ),
    Bad(
        "a connection of no kind",
        "F110",
        HEAD + "connections: {main: {redis: embedded}, warehouse: {clickhouse: embedded}, §spare: {}}\n" + NET,
        ("none",),
    ),
    Bad("keep by two measures", "F110", stream("{keep: {messages: 5, §hours: 1}}"), ("messages and hours",)),
    Bad("keep by none", "F110", stream("{keep: §{}}"), ("none",)),
    Bad(
        "neither target nor route",
        "F110",
        f"{HEAD}{NET}  §x: {{kind: s2s, from: a.stream_out}}\n",
        ("to, route", "none"),
    ),
    Bad(
        "target and route",
        "F110",
        TWO_INS + "{kind: s2s, from: b.stream_in, to: a.stream_in, §route: {by: x, cases: {y: a.stream_in}}}\n",
        ("to and route",),
    ),
    Bad("a reserved field", "F111", stream("{schema: {§_mid: str}}"), ("'_mid'",)),
    Bad("a nameless field", "F111", stream("{schema: {§'': str}}")),
    Bad(
        "a route by a reserved field",
        "F111",
        TWO_INS + "{kind: s2s, from: b.stream_in, route: {by: §_path, cases: {y: a.stream_in}}}\n",
    ),
    Bad(
        "columns of an s2s",
        "F112",
        TWO_INS + "{kind: s2s, from: b.stream_in, to: a.stream_in, §columns: [x]}\n",
        ("'columns'", "an edge of kind s2s"),
    ),
    Bad("a route of an s2ch", "F112", archive("§route: {by: x}"), ("'route'", "s2ch")),
    Bad("a table without connection", "F113", edge("{kind: s2ch, from: a.stream_out, to: §scores}"), ("edges.e.to",)),
    Bad("a table with a blank", "F113", edge("{kind: s2ch, from: a.stream_out, to: §'warehouse.a b'}")),
    Bad("two schedules", "F114", archive("task: §{interval: {seconds: 5}, hour: 3}"), ("beside",)),
    Bad("no schedule", "F114", archive("task: §{}"), ("empty",)),
    Bad("an empty interval", "F114", archive("task: {interval: §{}}"), ("interval is empty",)),
    Bad(
        "a target twice",
        "F115",
        worker("{from: a.stream_in, to: [a.stream_out, §a.stream_out], handler: 'm:f'}"),
        ("'a.stream_out'",),
    ),
    Bad("a column twice", "F115", archive("columns: [x, y, §x]"), ("'x'", "columns")),
    Bad("no streams in streams", "F116", HEAD + "§streams:\n", ("streams",)),
    Bad("an empty schema", "F116", stream("{schema: §{}}")),
    Bad("no columns", "F116", archive("columns: §[]")),
    Bad("no cases", "F116", TWO_INS + "{kind: s2s, from: b.stream_in, route: {by: x, cases: §{}}}\n"),
    # -- names
    Bad(
        "a stream nobody declared",
        "F201",
        worker("{from: §a.stream_inn, to: a.stream_out, handler: 'm:f'}"),
        ("'a.stream_inn'", "'a.stream_in'", "workers.w.from"),
    ),
    Bad(
        "a target nobody declared",
        "F201",
        worker("{from: a.stream_in, to: [a.stream_out, §z], handler: 'm:f'}"),
        ("workers.w.to[1]",),
    ),
    Bad(
        "a case nobody declared",
        "F201",
        TWO_INS + "{kind: s2s, from: b.stream_in, route: {by: x, cases: {y: a.stream_in, 5: §zz}}}\n",
        ("route.cases.5",),
    ),
    Bad(
        "another stream nobody declared",
        "F201",
        TWO_INS + "{kind: s2s, from: b.stream_in, route: {by: x, cases: {y: a.stream_in}, other: §zz}}\n",
        ("route.other",),
    ),
    Bad(
        "a connection nobody declared",
        "F202",
        edge("{kind: s2ch, from: a.stream_out, to: §warehose.t}"),
        ("'warehouse'",),
    ),
    Bad("a home nobody declared", "F202", stream("{on: §mian}"), ("'main'",)),
    Bad("a stream in a warehouse", "F203", stream("{on: §warehouse}"), ("redis", "clickhouse")),
    Bad("a table in a Redis", "F203", edge("{kind: s2ch, from: a.stream_out, to: §main.t}"), ("clickhouse",)),
    Bad(
        "no Redis",
        "F204",
        HEAD + "§connections: {warehouse: {clickhouse: embedded}}\n" + NET,
        ("main: {redis: embedded}",),
    ),
    Bad(
        "a collection without connection", "F117", edge("{kind: s2mongo, from: a.stream_out, to: §scores}"), ("edges",)
    ),
    Bad(
        "a collection in a warehouse", "F203", edge("{kind: s2mongo, from: a.stream_out, to: §warehouse.t}"), ("mongo",)
    ),
    Bad(
        "a stream for a collection", "F205", edge("{kind: s2mongo, from: a.stream_out, to: §a.stream_in}"), ("s2mongo",)
    ),
    Bad("a database with a blank", "F103", edge("{kind: s2mongo, from: a.stream_out, to: tasks.t, database: §'a b'}")),
    Bad(
        "a batch too large for s2mongo", "F105", edge("{kind: s2mongo, from: a.stream_out, to: tasks.t, batch: §10001}")
    ),
    Bad("a table in a MongoDB", "F112", edge("{kind: s2mongo, from: a.stream_out, to: tasks.t, §create_table: true}")),
    Bad("a table as a document", "F301", f"{HEAD}{NET}  x: {{kind: s2mongo, from: §warehouse.t, to: tasks.u}}\n"),
    Bad("a stream for a table", "F205", edge("{kind: s2ch, from: a.stream_out, to: §a.stream_in}"), ("s2s",)),
    Bad("an intake without a collection", "F117", intake("from: §docs, to: a.stream_in, by: seq")),
    Bad("an intake without an order", "F102", f"{HEAD}{NET}  §x: {{kind: mongo2s, from: tasks.t, to: a.stream_in}}\n"),
    Bad("an intake by a part of a field", "F103", intake("from: tasks.t, to: a.stream_in, by: §a.b")),
    Bad("an intake that waits", "F112", intake("from: tasks.t, to: a.stream_in, by: seq, §min_batch: 5")),
    Bad("an intake of half a field", "F305", intake("from: tasks.t, to: a.stream_in, by: seq, §handler: 'm:f'")),
    Bad("an intake out of a warehouse", "F203", intake("from: §warehouse.t, to: a.stream_in, by: seq"), ("mongo",)),
    Bad("an intake out of nowhere", "F202", intake("from: §task.t, to: a.stream_in, by: seq"), ("'tasks'",)),
    Bad("an intake out of a stream", "F207", intake("from: §a.stream_out, to: a.stream_in, by: seq"), ("s2s",)),
    Bad("an intake into nothing", "F201", intake("from: tasks.t, to: §a.stream_inn, by: seq"), ("a.stream_in",)),
    Bad("an intake into a worker", "F301", intake("from: tasks.t, to: §w, by: seq")),
    Bad("an intake into an edge", "F302", intake("from: tasks.t, to: §e, by: seq")),
    Bad("an intake into an out", "F308", intake("from: tasks.t, to: §a.stream_out, by: seq")),
    Bad(
        "an intake with a large batch",
        "F402",
        f"{HEAD}{PAIR.replace('a.stream_in:', 'a.stream_in: {max_len: 100}')}"
        "workers:\n  w: {from: a.stream_in, to: a.stream_out, handler: 'm:f', batch: 50}\n"
        f"{ARCHIVE}  x: {{kind: mongo2s, from: tasks.t, to: a.stream_in, by: seq, batch: §51}}\n",
    ),
    # -- the five rules
    Bad(
        "a worker behind a worker",
        "F301",
        HEAD + PAIR + WORKER + "  v: {from: §w, to: a.stream_out, handler: 'm:f'}\n" + ARCHIVE,
        ("the worker 'w'",),
    ),
    Bad(
        "a worker before a worker",
        "F301",
        HEAD + PAIR + WORKER + "  v: {from: a.stream_in, to: §w, handler: 'm:f'}\n" + ARCHIVE,
        ("the worker 'w'",),
    ),
    Bad(
        "a worker that writes a table",
        "F301",
        HEAD + PAIR + WORKER + "  v: {from: a.stream_in, to: §warehouse.t, handler: 'm:f'}\n" + ARCHIVE,
        ("the table",),
    ),
    Bad(
        "a worker that reads a database",
        "F301",
        HEAD + PAIR + WORKER + "  v: {from: §warehouse, to: a.stream_out, handler: 'm:f'}\n" + ARCHIVE,
        ("the connection",),
    ),
    Bad(
        "a worker that reads the hub",
        "F301",
        HEAD + PAIR + WORKER + "  v: {from: §hub, to: a.stream_out, handler: 'm:f'}\n" + ARCHIVE,
        ("the node 'hub'",),
    ),
    Bad(
        "table to table",
        "F301",
        f"{HEAD}{NET}  x: {{kind: s2ch, from: §warehouse.t, to: warehouse.u}}\n",
        ("the table",),
    ),
    Bad(
        "an edge out of a worker",
        "F302",
        f"{HEAD}{NET}  x: {{kind: s2s, from: §w, to: a.stream_in}}\n",
        ("the worker",),
    ),
    Bad(
        "a worker into an edge",
        "F302",
        HEAD + PAIR + WORKER + "  v: {from: a.stream_in, to: §e, handler: 'm:f'}\n" + ARCHIVE,
        ("the edge",),
    ),
    Bad(
        "an edge into a worker", "F303", f"{HEAD}{NET}  x: {{kind: s2s, from: a.stream_out, to: §w}}\n", ("the worker",)
    ),
    Bad(
        "an s2s into a table",
        "F303",
        f"{HEAD}{NET}  x: {{kind: s2s, from: a.stream_out, to: §warehouse.t}}\n",
        ("the table", "s2ch"),
    ),
    Bad(
        "a route into a worker",
        "F303",
        TWO_INS + "{kind: s2s, from: b.stream_in, route: {by: x, cases: {y: §w}}}\n",
        ("the worker",),
    ),
    Bad(
        "a worker out of an edge",
        "F303",
        HEAD + PAIR + WORKER + "  v: {from: §e, to: a.stream_out, handler: 'm:f'}\n" + ARCHIVE,
        ("the edge",),
    ),
    Bad(
        "neither in nor out",
        "F304",
        HEAD + "streams:\n  §plain: {keep: {hours: 1}}\n  a.stream_in:\n  a.stream_out:\n" + WORKER + ARCHIVE,
        ("'plain'",),
    ),
    Bad("in by name, out by word", "F304", stream("{direction: §out}"), ("in by its name", "out by its direction")),
    Bad("an edge that handles", "F305", archive("§handler: 'm:f'"), ("'handler'", "edges.e")),
    Bad("an edge with parameters", "F305", archive("§params: {x: 1}"), ("'params'",)),
    Bad("a stream that handles", "F305", stream("{§handler: 'm:f'}"), ("'handler'", "streams.a.stream_in")),
    Bad(
        "a worker that reads an out",
        "F306",
        HEAD + PAIR + WORKER + "  v: {from: §a.stream_out, handler: 'm:f'}\n" + ARCHIVE,
        ("'v'", "'a.stream_out'", "s2s"),
    ),
    Bad(
        "a worker that writes an in",
        "F307",
        FED
        + "  v: {from: a.stream_in, to: §b.stream_in, handler: 'm:f'}\n"
        + ARCHIVE
        + "  x: {kind: s2ch, from: b.stream_in, to: warehouse.u}\n",
        ("'v'", "'b.stream_in'"),
    ),
    Bad(
        "an edge that writes an out", "F308", TWO_INS + "{kind: s2s, from: b.stream_in, to: §a.stream_out}\n", ("'x'",)
    ),
    Bad(
        "an out that accepts",
        "F309",
        HEAD
        + "streams:\n  a.stream_in:\n  a.stream_out: {accepts: §{task_for: x, function_type: y}}\n"
        + WORKER
        + ARCHIVE,
    ),
    # -- the net
    Bad(
        "a stream nobody reads",
        "F401",
        HEAD + PAIR.replace("a.stream_out", "§a.stream_out") + WORKER,
        ("'a.stream_out'", "keep"),
    ),
    Bad(
        "a worker's batch that does not fit",
        "F402",
        HEAD
        + "streams:\n  a.stream_in:\n  a.stream_out: {max_len: 100}\n"
        + "workers:\n  w: {from: a.stream_in, to: a.stream_out, handler: 'm:f', batch: §51}\n"
        + ARCHIVE,
        ("51", "100", "at most 50", "at least 102"),
    ),
    Bad(
        "a default batch that does not fit",
        "F402",
        HEAD + "streams:\n  a.stream_in:\n  a.stream_out: {max_len: 999}\n" + WORKER.replace("w:", "§w:", 1) + ARCHIVE,
        ("500", "999", "499"),
    ),
    Bad(
        "an edge's batch that does not fit",
        "F402",
        HEAD
        + "streams: {b.stream_in: , a.stream_in: {max_len: 10}, a.stream_out: }\n"
        + WORKER
        + ARCHIVE
        + "  x: {kind: s2s, from: b.stream_in, to: a.stream_in, batch: §6}\n",
        ("6", "at most 5"),
    ),
    Bad(
        "a hop between servers",
        "F403",
        HEAD + TWO_REDIS + "streams:\n  a.stream_in:\n  a.stream_out: {on: far}\nworkers:\n"
        "  w: {from: a.stream_in, to: §a.stream_out, handler: 'm:f'}\n" + ARCHIVE,
        ("'main'", "'far'"),
    ),
    Bad(
        "an edge to two servers",
        "F413",
        HEAD + TWO_REDIS + "streams:\n  a.stream_in:\n  b.stream_in: {keep: {messages: 10}}\n"
        "  c.stream_in: {on: far, keep: {messages: 10}}\nedges:\n"
        "  x: {kind: s2s, from: a.stream_in, route: {by: size, cases: {small: b.stream_in, large: §c.stream_in}}}\n",
        ("'b.stream_in'", "'main'", "'c.stream_in'", "'far'"),
    ),
    Bad(
        "requests on two servers",
        "F404",
        HEAD + TWO_REDIS + "streams:\n  a.stream_in: {accepts: {task_for: x, function_type: y}}\n  a.stream_out:\n"
        "  b.stream_in: {on: §far, accepts: {task_for: x, function_type: z}}\n"
        + WORKER
        + ARCHIVE
        + "  x: {kind: s2ch, from: b.stream_in, to: warehouse.u}\n",
        ("'far'", "'main'"),
    ),
    Bad(
        "requests with two ways",
        "F405",
        HEAD + "streams:\n  a.stream_in: {accepts: {task_for: x, function_type: y}}\n  a.stream_out:\n"
        "  b.stream_in: {accepts: §{task_for: x, function_type: y}}\n"
        + WORKER
        + ARCHIVE
        + "  x: {kind: s2ch, from: b.stream_in, to: warehouse.u}\n",
        ("'a.stream_in'",),
    ),
    Bad(
        "a worker and an edge of one name",
        "F406",
        HEAD + PAIR + WORKER + "edges:\n  §w: {kind: s2ch, from: a.stream_out, to: warehouse.t}\n",
        ("'w'",),
    ),
    Bad(
        "a cycle without an end",
        "F407",
        f"{HEAD}{NET}  x: {{kind: s2s, from: a.stream_out, to: §a.stream_in}}\n",
        ("'a.stream_in' -> 'a.stream_out' -> 'a.stream_in'",),
    ),
    Bad(
        "a limit where nothing comes back",
        "F416",
        f"{HEAD}{NET.replace(PAIR, PAIR + '  b.stream_in: {keep: {hours: 1}}' + chr(10))}"
        "  x: {kind: s2s, from: a.stream_out, to: b.stream_in, max_hops: §3}\n",
        ("'x'",),
    ),
    Bad(
        "a cycle over two servers",
        "F417",
        HEAD + TWO_REDIS + "streams:\n  a.stream_in:\n  b.stream_in: {on: far}\nedges:\n"
        "  x: {kind: s2s, from: a.stream_in, to: §b.stream_in}\n"
        "  y: {kind: s2s, from: b.stream_in, to: a.stream_in, max_hops: 9}\n",
        ("'b.stream_in'", "'main'", "'far'"),
    ),
    Bad("a table without types", "F408", archive("create_table: §true"), ("'a.stream_out'", "schema")),
    Bad("an edge to its own source", "F409", f"{HEAD}{NET}  x: {{kind: s2s, from: a.stream_in, to: §a.stream_in}}\n"),
    Bad(
        "a column without a type",
        "F410",
        edge(
            "{kind: s2ch, from: a.stream_out, to: warehouse.t, create_table: true, columns: [_mid, score, §scor]}",
            "streams:\n  a.stream_in:\n  a.stream_out: {schema: {score: float}}\n",
        ),
        ("'scor'", "'score'"),
    ),
    Bad(
        "an aggregate of single messages",
        "F411",
        worker("{from: a.stream_in, to: a.stream_out, handler: 'm:f', aggregate: §true}"),
        ("batch_handler: list",),
    ),
    Bad("waiting for too many", "F412", archive("batch: 10, min_batch: §11"), ("11", "10")),
    Bad("a task without a MongoDB", "F206", ONE_SERVER + "    task: §{second: 1}\n", ("edges.e.task",)),
    Bad("a scheduler without a MongoDB", "F206", ONE_SERVER + "§scheduler: {port: 1}\n", ("scheduler",)),
    Bad("tasks on no connection", "F202", HEAD + NET + "scheduler: {§tasks: docs}\n", ("'docs'",)),
    Bad("tasks on a Redis", "F203", HEAD + NET + "scheduler: {§tasks: main}\n", ("mongo",)),
    Bad("an hour that no clock has", "F414", archive("task: §{hour: 25}"), ("'e'", "25")),
    Bad(
        "a start that no clock reaches",
        "F414",
        archive('task: §{second: "*/5", start_date: "9999-12-31 23:59:59"}'),
        ("'e'", "start_date"),
    ),
    Bad("an interval of nothing", "F414", archive("task: §{interval: {seconds: 0}}"), ("length",)),
    Bad("a zone that nobody knows", "F415", HEAD + NET + "scheduler: {§timezone: Mars/Base}\n", ("Mars/Base",)),
    Bad("a task in an unknown zone", "F414", archive("task: §{hour: 2, timezone: Nowhere}"), ("Nowhere",)),
    Bad("a machine with a blank", "F106", HEAD + NET + "scheduler: {machine: §'a b'}\n"),
    Bad("an address with a password", "F103", HEAD + NET + "scheduler: {allow: [§'http://u:p@host/']}\n"),
)
