"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

flow_argument = click.argument(
    "flow",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default="flow.yml",
)
"""FLOW, the path of a flow file; `flow.yml` of the current folder if left out."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
"""--json, given to the command as `as_json`."""
