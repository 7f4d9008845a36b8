"""The checks, a module for each part of the contract."""

from hal.conformance.checks import (
    capacity,
    commits,
    counting,
    deriving,
    events,
    failures,
    forwarding,
    limits,
    live,
    loading,
    owners,
    refusals,
    sessions,
    shards,
    snapshots,
    staging,
)

MODULES = (
    loading,
    commits,
    snapshots,
    refusals,
    capacity,
    owners,
    failures,
    deriving,
    staging,
    events,
    forwarding,
    shards,
    live,
    counting,
    sessions,
    limits,
)
