"""ClickHouse servers over their native protocol: what `dataflow.warehouse` and the sync room share.

| module | what it does |
|---|---|
| `address` | a `clickhouse://` address taken apart and checked |
| `literals` | values at the `{name:Type}` places of a statement |
| `link` | one connection: questions, changes, INSERTs, and what broken ones mean |
| `render` | a result as text: a table, CSV, TSV, JSON |
| `server` | a server as a `Warehouse` |
"""
