"""What an apply came to: the one value that daemon, client and command pass on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Applied:
    """An intent that the card has: committed as `generation`, on disk; what changed in words, what is doubtful."""

    generation: int
    digest: str
    summary: str = ""
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"generation {self.generation}: {self.summary or 'applied'} (intent {self.digest[:12]})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
