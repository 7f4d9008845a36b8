"""Twins, each broken in one thing: for every check of the kit one on which it fails, and it alone."""

from tests.conformance.broken import commits, failures, loading, packets, reading, sessions
from tests.conformance.broken.parts import Break

BREAKS: dict[str, Break] = {
    name: how
    for module in (loading, commits, failures, reading, packets, sessions)
    for name, how in module.BREAKS.items()
}
"""Check -> what breaks it."""
