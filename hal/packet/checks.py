"""For authors of backends that keep their own tables: is it what the contract says that it must be?

    check_commit(operations, ...)       # before all else: arguments that no card could mean are INVALID
    data = check_rows(insert.rows)      # INVALID, with table, row, field and limit; else the rows' bytes
    check_load(config, schema)          # INVALID, with what a configuration gets wrong

They look at what is handed over alone. What depends on the tables that are there (ids, keys, references, room, owners,
bases) a backend asks itself; `TablesBackend` (`hal.packet.model.tables_backend`) has that too.
"""

from hal.packet.arguments import (
    check_base,
    check_commit,
    check_cursor,
    check_filter,
    check_lease,
    check_packets,
    check_shard,
    check_transaction,
    check_words,
)
from hal.packet.model.check import check_rows
from hal.packet.model.load import check_load

__all__ = [
    "check_base",
    "check_commit",
    "check_cursor",
    "check_filter",
    "check_lease",
    "check_load",
    "check_packets",
    "check_rows",
    "check_shard",
    "check_transaction",
    "check_words",
]
