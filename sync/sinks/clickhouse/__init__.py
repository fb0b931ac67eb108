"""Edges into ClickHouse: typing against the table, one INSERT per batch, duplicates recognised.

| module | what it decides or does |
|---|---|
| `table` | what the server says about a table; how duplicates can be recognised there |
| `types` | ClickHouse's type names, taken apart |
| `numbers`, `times`, `texts`, `encoders` | the texts of one column -> values of its type, or why not |
| `plan` | which columns a batch is written to, and what becomes of other fields |
| `typing` | rows -> typed columns, and the rows that do not fit |
| `ddl` | the statements that make or mend a table |
| `backend` | what a ClickHouse must be able to do for us |
| `embedded`, `native` | the one that runs in this process |
| `sink` | the sink itself |

All but the last three are pure.
"""
