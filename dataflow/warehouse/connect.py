"""The warehouse at an address."""

from __future__ import annotations

from dataflow.run_file import WarehouseAddress
from dataflow.warehouse.interface import Warehouse
from dataflow.warehouse.over_socket import EmbeddedWarehouse


def connect(address: str | WarehouseAddress, *, in_database: bool = True) -> Warehouse:
    """The warehouse at an address of `dataflow.connections.resolve`. Contacts nobody yet.

    Args:
        in_database: be in the address's database, which names without one mean. False where it need not exist yet:
            statements must name theirs.

    Raises:
        UserError: the URL is not one of a ClickHouse server. It is not shown: it may hold a secret.
    """
    if isinstance(address, WarehouseAddress):
        return EmbeddedWarehouse(address)
    from dataflow.clickhouse.address import ServerAddress
    from dataflow.clickhouse.server import ServerWarehouse

    server = ServerAddress.read(address)
    return ServerWarehouse(server if in_database else server.without_database())
