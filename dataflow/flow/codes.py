"""The table of everything that can be wrong with a flow file. docs/FLOW.md shows it, the tests walk it.

F0xx reading the text, F1xx the shape of the file, F2xx names, F3xx the five rules, F4xx the net as a whole,
F5xx the code around the file. A code keeps its meaning for ever; a new meaning gets a new code.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of problem. `text` and `fix` are `str.format` templates over the values of the finding."""

    text: str
    fix: str


CODES: dict[str, Code] = {
    # -- reading the text
    "F001": Code("cannot read the file: {reason}", "give the path of a flow file that this user may read"),
    "F002": Code("the file is not UTF-8 text", "save it as UTF-8"),
    "F003": Code("the file is {size} bytes long", "keep it under {limit} bytes; split it into several flows"),
    "F004": Code("not valid YAML: {reason}", "correct it here; often an indent, a colon or a quote is missing"),
    "F005": Code("the file declares nothing", "begin with `flow: <name>` and `streams:`"),
    "F006": Code("key {key} stands twice (first in line {line})", "remove one of the two"),
    "F007": Code("a key must be plain text, not {found}", "write the key as text"),
    "F008": Code("the merge key << is not supported", "write the keys out; an alias may stand for a whole value only"),
    "F009": Code("the YAML tag {tag} is not supported", "remove the tag; quote the value if it is text"),
    "F010": Code(
        "nested deeper than {limit} levels, or an alias inside its own anchor", "flatten the value or drop the alias"
    ),
    "F011": Code("aliases blow the file up to more than {limit} values", "write fewer aliases"),
    "F012": Code(
        "environment variable {name} is not set", "set it, or give a default in the file: ${{{name}:default}}"
    ),
    "F013": Code(
        "{written} is not a reference to an environment variable",
        "write ${{NAME}}, ${{NAME:default}} or ${{file:/path}}; $${{ stands for ${{ itself",
    ),
    "F014": Code("the text holds a character that UTF-8 cannot carry", "remove the lone surrogate"),
    "F015": Code(
        "the file {file} that is referred to cannot be used: {reason}",
        "write ${{file:/path}} with the path of a small text file that this user may read",
    ),
    # -- the shape of the file
    "F101": Code("unknown key {key} in {where}{guess}", "remove or correct it; known here: {known}"),
    "F102": Code("{where} lacks the key {key}", "add `{key}: ...` ({wanted})"),
    "F103": Code("{where} must be {wanted}, not {found}", "write {wanted}"),
    "F104": Code("{where} cannot be {found}{guess}", "write one of: {allowed}"),
    "F105": Code("{where} is out of range: {found}", "write {wanted}"),
    "F106": Code("{found} is not a legal name for {what}", "use {rule}"),
    "F107": Code("the name {found} is reserved and cannot name {what}", "choose another name"),
    "F108": Code("{where} is not an address: {reason}", "write `embedded` or {example}"),
    "F109": Code("{where} does not name a handler", "write `module:attribute`, for instance `water:Anomaly`"),
    "F110": Code("{where} needs exactly one of the keys {keys}, not {found}", "write one of them"),
    "F111": Code(
        "{found} cannot be a field name", "use 1 to 256 bytes of text that do not begin with _ (those names are ours)"
    ),
    "F112": Code("key {key} does not belong to {title}", "remove it; known here: {known}"),
    "F113": Code(
        "{where} does not name a table", "write `<connection>.<table>`, both of letters, digits and underscores"
    ),
    "F114": Code(
        "{where} is not one schedule: {reason}",
        'write cron fields (`{{second: "*/5"}}`), or `{{interval: {{seconds: 5}}}}`, '
        'or `{{date: "2030-01-01 00:00:00"}}`, or `external`',
    ),
    "F115": Code("{found} stands twice in {where}", "name it once"),
    "F116": Code("{where} must not be empty", "write at least one entry, or remove the key"),
    "F117": Code(
        "{where} does not name a collection",
        "write `<connection>.<collection>`, both of letters, digits and underscores",
    ),
    # -- names
    "F201": Code("{where} names the stream {name}, which is not declared{guess}", "declare it under `streams:`"),
    "F202": Code(
        "{where} names the connection {name}, which is not declared{guess}", "declare it under `connections:`"
    ),
    "F203": Code("{where} needs a {wanted} connection; {name} is {kind}", "name a connection of kind {wanted}"),
    "F204": Code("no connection is a Redis, so streams have nowhere to live", "add `main: {{redis: embedded}}`"),
    "F205": Code("edge {name} of kind {kind} leads to the stream {stream}", "make it `kind: s2s`, or name {wanted}"),
    "F206": Code(
        "{where} needs a MongoDB for the documents of its tasks, and no connection is one",
        "add `tasks: {{mongo: embedded}}` to `connections:`",
    ),
    "F207": Code(
        "edge {name} of kind mongo2s reads the stream {stream}",
        "make it `kind: s2s`, or name a collection: `<connection>.<collection>`",
    ),
    # -- the five rules
    "F301": Code(
        "a node never leads straight to another node: {where} names {what} {name}",
        "put a stream between the two",
    ),
    "F302": Code("every exit of a node is a stream: {where} names {what} {name}", "name the stream it writes to"),
    "F303": Code(
        "every entry of a node is a stream: {where} names {what} {name}",
        "name a stream (a table is entered by an edge of kind s2ch, a collection by one of kind s2mongo)",
    ),
    "F304": Code(
        "a stream is an in or an out: {name} {reason}",
        "end the name in .stream_in or .stream_out, or say `direction: in` or `direction: out`, not both ways",
    ),
    "F305": Code("only a worker processes a stream: {where} has {key}", "move {key} to a worker"),
    "F306": Code(
        "worker {name} reads {stream}, which is an out",
        "a worker reads ins; move the messages to an in with an edge of kind s2s",
    ),
    "F307": Code(
        "worker {name} writes to {stream}, which is an in",
        "a worker writes to outs; move on from there with an edge of kind s2s",
    ),
    "F308": Code("edge {name} writes to {stream}, which is an out", "an edge writes to ins"),
    "F309": Code("{name} is an out but accepts requests", "let an in accept them; outs are written by workers"),
    # -- the net as a whole
    "F401": Code(
        "nothing reads the stream {name}; it would fill up and stop its writers",
        "add a worker or an edge that reads it, or `keep: {{messages: 1000}}`",
    ),
    "F402": Code(
        "batch {batch} of {name} is more than half of what {stream} can hold ({max_len})",
        "set batch to at most {limit}, or max_len of {stream} to at least {need}",
    ),
    "F403": Code(
        "worker {name} reads from {source_on} and writes to {stream} on {target_on}: a hop needs one server",
        "put both streams on one connection, and an edge of kind s2s between the servers",
    ),
    "F404": Code(
        "{name} accepts requests on {on}, but {first} does so on {first_on}: a request is all or nothing",
        "put all accepting streams on one connection, and edges of kind s2s behind them",
    ),
    "F405": Code(
        "{name} accepts the same task_for and function_type as {first}", "let one accept them and route from there"
    ),
    "F406": Code("worker and edge share the name {name}", "rename one: both name consumer groups"),
    "F407": Code(
        "the streams run in a cycle that nothing ends: {cycle}",
        "give the edge of kind s2s that closes it `max_hops: 100`: what goes on for longer becomes a dead letter",
    ),
    "F408": Code(
        "edge {name} creates its table, but {stream} has no schema to make columns of",
        "give the stream a schema, or create the table yourself",
    ),
    "F409": Code("edge {name} leads from {stream} back to itself", "name another target"),
    "F410": Code(
        "edge {name} creates a column {column} that the schema of {stream} lacks{guess}",
        "add the field to the schema, or drop the column",
    ),
    "F411": Code(
        "worker {name} is an aggregate but handles single messages",
        "add `batch_handler: list` or `batch_handler: dataframe`, or remove `aggregate`",
    ),
    "F412": Code("min_batch {min_batch} of edge {name} exceeds its batch of {batch}", "lower min_batch or raise batch"),
    "F413": Code(
        "edge {name} leads to {first} on {first_on} and to {stream} on {on}: a batch arrives at all targets or at none",
        "put the targets of one edge on one connection, and edges of kind s2s behind them",
    ),
    "F414": Code("the schedule of edge {name} cannot be followed: {reason}", "correct the schedule"),
    "F415": Code("the scheduler has no such time zone: {reason}", "correct it, or leave it out"),
    # -- the code around the file
    "F416": Code("edge {name} has max_hops but closes no cycle", "remove max_hops"),
    "F417": Code(
        "edge {name} leads from {source_on} to {stream} on {target_on}, and both lie on one cycle: its streams are "
        "counted together, on one server",
        "put all streams of the cycle on one connection",
    ),
    "F501": Code(
        "worker {name} has the handler {handler}, but there is no module {module}",
        "put {file} beside the flow file, or install it",
    ),
    "F502": Code(
        "worker {name} has the handler {handler}, but the module beside the flow file is hidden by {other}",
        "rename {module}; installed modules come first",
    ),
}
