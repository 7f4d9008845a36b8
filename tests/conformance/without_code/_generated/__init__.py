"""No rows: there are no tables. A folder, since `make generate` doesn't write what the tests declare."""

from __future__ import annotations

__all__: list[str] = []
