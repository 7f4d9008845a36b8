"""For authors of backends that keep their own tables: is it what the contract says that it must be?

    data = check_rows(insert.rows)      # INVALID, with table, row, field and limit; else the rows' bytes
    check_load(config, schema)          # INVALID, with what a configuration gets wrong
    check_base(base)                    # INVALID for what no commit gave; check_cursor likewise

They look at one argument alone. What depends on the tables that are there (ids, keys, references, room, owners, bases)
a backend asks itself; `TablesBackend` (`hal.packet.model.tables_backend`) has that too.
"""

from hal.packet.arguments import check_base, check_cursor
from hal.packet.model.check import check_rows
from hal.packet.model.load import check_load

__all__ = ["check_base", "check_cursor", "check_load", "check_rows"]
