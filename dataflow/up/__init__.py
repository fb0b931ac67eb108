"""Everything of a flow from one command: embedded servers, the rooms as child processes, one page of status.

With `dataflow.cli` this is the composition root, the only place that names rooms; it runs them as commands.
"""
