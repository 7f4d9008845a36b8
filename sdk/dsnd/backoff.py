"""How long to wait before something that died is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Pure: the state after each death says how long to wait.

    Args:
        first_s: wait after the first death.
        most_s: longest wait.
        settled_s: having lived that long makes the next death a first one.
    """

    first_s: float = 0.05
    most_s: float = 10.0
    settled_s: float = 60.0

    def wait_s(self, deaths: int) -> float:
        """Seconds before start number `deaths` + 1, `deaths` >= 1 counted since it last settled."""
        return min(self.most_s, self.first_s * float(2 ** min(deaths - 1, 30)))

    def deaths_after(self, deaths: int, lived_s: float) -> int:
        """The count of deaths when one more happens after `lived_s` seconds of life."""
        return 1 if lived_s >= self.settled_s else deaths + 1
