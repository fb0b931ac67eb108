"""Edges into ClickHouse: typing against the table, one INSERT per batch, duplicates recognised.

| module | what it decides or does |
|---|---|
| `table` | what the server says about a table; how duplicates can be recognised there |
| `types` | ClickHouse's type names, taken apart |
| `encoder`, `numbers`, `times`, `texts`, `encoders` | the texts of one column -> values of its type, or why not |
| `plan` | which columns a batch is written to, and what becomes of other fields |
| `sheet`, `typing` | rows -> columns -> typed columns, and the rows that do not fit |
| `ddl` | the statements that make or mend a table |
| `native` | typed columns -> bytes |
| `backend` | what a ClickHouse must be able to do for us |
| `embedded` | the ClickHouse in this process |
| `server` | a ClickHouse server over TCP |
| `sink` | the sink itself |

All but the last three are pure (`table` asks through a back end). Another way to reach a ClickHouse is one more back
end. The rules for users stand in docs/CLICKHOUSE.md.
"""
