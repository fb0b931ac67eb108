"""The embedded ClickHouse (chDB) of a flow: one process owns it and answers the others over a loopback socket."""
