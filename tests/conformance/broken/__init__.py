"""Twins, each broken in one thing: for every check of the kit one on which it fails, and it alone."""

from tests.conformance.broken import (
    arguments,
    belonging,
    commits,
    failures,
    live,
    loading,
    owners,
    packets,
    reading,
    sessions,
    shards,
    staging,
    telling,
    times,
    tracking,
    uses,
)
from tests.conformance.broken.parts import Break

MODULES = (
    loading,
    arguments,
    commits,
    owners,
    failures,
    live,
    reading,
    staging,
    telling,
    packets,
    shards,
    sessions,
    belonging,
    times,
    tracking,
    uses,
)
BREAKS: dict[str, Break] = {name: how for module in MODULES for name, how in module.BREAKS.items()}
"""Check -> what breaks it."""
