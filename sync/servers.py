"""The servers of a flow, as one process reaches them."""

from __future__ import annotations

from threading import Lock

from dataflow import mongo
from dataflow.clickhouse.address import ServerAddress
from dataflow.connections import Resolved
from dataflow.errors import TargetRefused
from dataflow.flow.spec import Flow
from dataflow.mongo import MongoClient
from dataflow.store.redis import Client, connect
from sync.warehouse.chdb import ChdbWarehouse


class Servers:
    """One client per Redis and per MongoDB, and the embedded warehouse where this process owns it. Thread-safe.

    Args:
        resolved: where everything is.
        warehouse: the embedded ClickHouse; None in a process that does not own it. Not closed here.
    """

    def __init__(self, resolved: Resolved, warehouse: ChdbWarehouse | None = None) -> None:
        self._resolved = resolved
        self._warehouse = warehouse
        self._clients: dict[str, Client] = {}
        self._mongo: dict[str, MongoClient] = {}
        self._lock = Lock()

    def redis(self, connection: str) -> Client:
        """The client of a Redis connection. Does not connect. Raises NotRunning: it is embedded and not running."""
        url = self._resolved.redis[connection]
        with self._lock:
            if connection not in self._clients:
                self._clients[connection] = connect(url)
            return self._clients[connection]

    def warehouse(self, connection: str) -> ChdbWarehouse | ServerAddress:
        """The embedded warehouse behind a connection, or the address of the server that it is.

        Raises TargetRefused: it is embedded and not in this process. UserError: its address cannot be used.
        """
        address = self._resolved.warehouse[connection]
        if isinstance(address, str):
            return ServerAddress.read(address)
        if self._warehouse is None:
            raise TargetRefused(
                f"connection {connection!r} is embedded: only the process of `dataflow sync` may write to it"
            )
        return self._warehouse

    def mongo(self, connection: str) -> MongoClient:
        """The client of a MongoDB connection. Does not connect. Raises NotRunning, UserError: a URL it cannot use."""
        url = self._resolved.mongo[connection]
        with self._lock:
            if connection not in self._mongo:
                self._mongo[connection] = mongo.connect(url)
            return self._mongo[connection]

    def close(self) -> None:
        """Close every client. Safe to call twice."""
        with self._lock:
            clients, self._clients = self._clients, {}
            stores, self._mongo = self._mongo, {}
        for client in clients.values():
            client.close()
        for store in stores.values():
            store.close()


def home(flow: Flow) -> str:
    """The Redis connection where a flow keeps what belongs to no stream: its revision and heartbeats."""
    return flow.home
