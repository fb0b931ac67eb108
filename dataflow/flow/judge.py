"""All rules in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dataflow.flow import cycles, names_used, net, rules
from dataflow.flow.findings import Finding, Findings
from dataflow.flow.spec import Flow

Rule = Callable[[Flow], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    names_used.streams_are_declared,
    names_used.tables_are_no_streams,
    names_used.connections_are_declared,
    names_used.connections_are_of_kind,
    names_used.streams_have_a_home,
    names_used.tasks_have_a_home,
    names_used.steps_differ,
    rules.node_to_node,
    rules.exit_is_a_stream,
    rules.entry_is_a_stream,
    rules.direction_is_clear,
    net.edges_lead_on,
    rules.workers_read_ins,
    rules.workers_write_outs,
    rules.edges_write_ins,
    rules.requests_enter_ins,
    net.streams_are_read,
    net.batches_fit,
    net.hops_stay_on_one_server,
    net.targets_are_on_one_server,
    net.requests_enter_one_server,
    net.requests_have_one_way,
    cycles.cycles_are_declared,
    cycles.limits_close_cycles,
    cycles.cycles_stay_on_one_server,
    net.created_tables_have_columns,
    net.created_columns_have_types,
    net.aggregates_see_batches,
    net.least_batches_fit,
    net.schedules_can_run,
    net.the_zone_is_known,
)
"""What makes others superfluous comes first: a finding is dropped where it only echoes an earlier one."""


def judge(flow: Flow, findings: Findings) -> None:
    """Add what the rules find, but for echoes of what was found earlier or by a rule further up."""
    for rule in RULES:
        findings.add_all(rule(flow))
