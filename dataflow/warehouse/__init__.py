"""Asking a flow's warehouse from another process: what `dataflow sql`, `audit` and the console use.

warehouse = connect(resolve(flow).warehouse["warehouse"])
warehouse.rows("SELECT count() AS n FROM scores WHERE flow > {least:Float64}", {"least": 3.5})

interface      what every warehouse can be asked, and the form of its rows
ask            a request to an embedded warehouse, and its answer, as they go over the wire
over_socket    an embedded warehouse, answered for by the process that owns it
statements     a text of several statements, taken apart
connect        the warehouse at an address: that, or a ClickHouse server (`dataflow.clickhouse`)
"""

from dataflow.warehouse.ask import MAX_ANSWER_BYTES, MAX_ASK_BYTES, Ask, Failure, FailureKind
from dataflow.warehouse.connect import connect
from dataflow.warehouse.interface import ROWS_FORMAT, Parameter, QueryFailed, Warehouse, read_rows

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_ASK_BYTES",
    "ROWS_FORMAT",
    "Ask",
    "Failure",
    "FailureKind",
    "Parameter",
    "QueryFailed",
    "Warehouse",
    "connect",
    "read_rows",
]
