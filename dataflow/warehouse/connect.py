"""The warehouse at an address."""

from __future__ import annotations

from dataflow.run_file import WarehouseAddress
from dataflow.warehouse.interface import Warehouse
from dataflow.warehouse.over_socket import EmbeddedWarehouse


def connect(address: str | WarehouseAddress) -> Warehouse:
    """The warehouse at an address of `dataflow.connections.resolve`. Contacts nobody yet.

    Raises:
        UserError: the URL is not one of a ClickHouse server. It is not shown: it may hold a secret.
    """
    if isinstance(address, WarehouseAddress):
        return EmbeddedWarehouse(address)
    from dataflow.clickhouse.address import ServerAddress
    from dataflow.clickhouse.server import ServerWarehouse

    return ServerWarehouse(ServerAddress.read(address))
