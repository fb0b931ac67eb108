"""What `up` runs for a flow: its embedded servers at which addresses, its rooms as which commands."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

from dataflow.connections import hub_url, resolve, scheduler_url, sync_url
from dataflow.errors import UserError
from dataflow.flow.spec import Connection, ConnectionKind, Flow, Worker
from dataflow.process import ProcessId
from dataflow.run_file import RunFile, WarehouseAddress
from dataflow.store.keys import Keys
from dataflow.up import mongo_server
from dataflow.up.child import Program
from dataflow.up.folder import DataFolder
from dataflow.up.ports import HOST, free_port, is_free
from dataflow.up.readiness import Ready, beats, door_answers, mongo_answers, redis_answers
from dataflow.up.redis_server import RedisCommand, check_data, find_binary

STAGE_SERVERS, STAGE_SYNC, STAGE_SCHEDULER, STAGE_WORKERS, STAGE_HUB = range(5)
"""Children stop from the last stage to the first: the door closes first, Redis goes last."""


class PortTaken(UserError):
    """Another program listens on the port of the hub, of the scheduler or of the sync API."""


def addresses(flow: Flow, before: RunFile | None, hub_port: int | None = None) -> RunFile:
    """Choose where everything embedded will listen: where it listened before if that port is free.

    Args:
        flow: the flow.
        before: what the last `up` in this folder had written.
        hub_port: the hub's port instead of the flow's own; 0 for any free one.

    Raises PortTaken if the port of the hub, of the scheduler or of the sync API is not free.
    """
    last = before if before is not None and before.flow == flow.name else None
    redis = {c.name: _redis_url(last, c.name) for c in _embedded(flow, "redis")}
    warehouse = {c.name: _warehouse(last, c.name) for c in _embedded(flow, "clickhouse")}
    mongo = {c.name: _mongo_url(last, c.name) for c in _embedded(flow, "mongo") if flow.uses_mongo(c.name)}
    port = _hub_port(flow.hub_port if hub_port is None else hub_port, flow.hub_host, last)
    return RunFile(
        flow=flow.name,
        up=ProcessId.own(),
        hub=hub_url(flow, port),
        redis=redis,
        warehouse=warehouse,
        mongo=mongo,
        scheduler=_scheduler_url(flow, last, any_port=hub_port == 0) if flow.scheduled else "",
        sync=_sync_url(flow, last, any_port=hub_port == 0) if flow.edges else "",
    )


def servers(run: RunFile, folder: DataFolder) -> list[Program]:
    """The embedded Redis and MongoDB servers. Creates data folders. Raises NoRedisServer, DataTooNew, NoMongoServer."""
    mongo = [_mongo(name, url, folder) for name, url in run.mongo.items()]
    return [*[_redis(name, url, folder) for name, url in run.redis.items()], *mongo]


def rooms(flow: Flow, run: RunFile) -> list[Program]:
    """The rooms of the flow: the sync process if there is anything to move or keep, the scheduler if there are tasks,
    every worker, the hub, the sync room's API if there are edges.
    """
    path = str(flow.path.resolve())
    needs_sync = bool(flow.edges or run.warehouse)
    sync = [_room("sync", STAGE_SYNC, _beats(flow, flow.home, "sync", "sync"), "sync", path)] if needs_sync else []
    workers = [
        _room(
            f"worker.{name}", STAGE_WORKERS, _beats(flow, _home_of(flow, worker), "worker", name), "worker", path, name
        )
        for name, worker in flow.workers.items()
    ]
    hub = _room("hub", STAGE_HUB, door_answers(run.hub), "hub", path)
    return [*sync, *_scheduler(run, path), *workers, hub, *_sync_api(run, path)]


def _scheduler(run: RunFile, path: str) -> list[Program]:
    if not run.scheduler:
        return []
    port = _port(run.scheduler)
    return [_room("scheduler", STAGE_SCHEDULER, door_answers(run.scheduler), "scheduler", path, "--port", str(port))]


def _sync_api(run: RunFile, path: str) -> list[Program]:
    if not run.sync:
        return []
    return [_room("sync-api", STAGE_HUB, door_answers(run.sync), "sync-api", path, "--port", str(_port(run.sync)))]


def _beats(flow: Flow, connection: str, kind: str, name: str) -> Ready:
    return beats(lambda: resolve(flow).redis[connection], Keys(flow.name), kind, name)


def _home_of(flow: Flow, worker: Worker) -> str:
    """The Redis that a worker works on."""
    return flow.streams[worker.source].on


def _room(name: str, stage: int, ready: Ready, *arguments: str) -> Program:
    # -P: the current folder is the user's, and a folder `workers/` in it must not shadow ours
    return Program(name, (sys.executable, "-P", "-m", "dataflow", *arguments), stage, ready, stop_s=30.0)


def _redis(name: str, url: str, folder: DataFolder) -> Program:
    binary, data = find_binary(), folder.redis(name)
    data.mkdir(parents=True, exist_ok=True)
    check_data(binary, data)
    command = RedisCommand(binary, _port(url), data)
    return Program(f"redis.{name}", tuple(command.arguments), STAGE_SERVERS, redis_answers(url))


def _mongo(name: str, url: str, folder: DataFolder) -> Program:
    port = _port(url)
    return Program(
        f"mongo.{name}", mongo_server.command(folder.mongo(name), port), STAGE_SERVERS, mongo_answers(url, port)
    )


def _embedded(flow: Flow, kind: ConnectionKind) -> list[Connection]:
    return [c for c in flow.connections.values() if c.kind == kind and c.embedded]


def _redis_url(last: RunFile | None, name: str) -> str:
    return f"redis://{HOST}:{_kept(last, lambda run: _port(run.redis[name]))}/0"


def _mongo_url(last: RunFile | None, name: str) -> str:
    return mongo_server.url(_kept(last, lambda run: _port(run.mongo[name])))


def _warehouse(last: RunFile | None, name: str) -> WarehouseAddress:
    port = _kept(last, lambda run: run.warehouse[name].port)
    return WarehouseAddress(HOST, port, secrets.token_urlsafe(32))


def _scheduler_url(flow: Flow, last: RunFile | None, any_port: bool) -> str:
    """The scheduler's own port; any free one where the hub takes any."""
    if any_port:
        return scheduler_url(flow, _kept(last, lambda run: _port(run.scheduler)))
    _check_free("scheduler", flow.scheduler.host, flow.scheduler.port, "scheduler")
    return scheduler_url(flow, flow.scheduler.port)


def _sync_url(flow: Flow, last: RunFile | None, any_port: bool) -> str:
    """The port of the sync room's API; any free one where the hub takes any."""
    if any_port:
        return sync_url(flow, _kept(last, lambda run: _port(run.sync)))
    _check_free("sync API", flow.sync.host, flow.sync.port, "sync")
    return sync_url(flow, flow.sync.port)


def _check_free(what: str, host: str, port: int, section: str) -> None:
    if not is_free(host, port):
        raise PortTaken(
            f"port {port} for the {what} is taken by another program: stop it, or set `{section}: {{port: ...}}` in "
            "the flow file"
        )


def _hub_port(declared: int, host: str, last: RunFile | None) -> int:
    if declared == 0:
        return _kept(last, lambda run: _port(run.hub))
    if not is_free(host or HOST, declared):
        raise PortTaken(
            f"port {declared} for the message hub is taken by another program: stop it, set `hub: {{port: ...}}` in "
            "the flow file, or use --hub-port"
        )
    return declared


def _kept(last: RunFile | None, port: Callable[[RunFile], int]) -> int:
    """The port of last time if there was one and it is free now, else any free one."""
    try:
        return free_port(port(last)) if last is not None else free_port()
    except (KeyError, ValueError):  # it had none
        return free_port()


def _port(url: str) -> int:
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"{url!r} has no port")
    return port
