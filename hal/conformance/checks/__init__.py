"""The checks, a module for each part of the contract."""

from hal.conformance.checks import (
    capacity,
    commits,
    deriving,
    events,
    failures,
    forwarding,
    limits,
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
    sessions,
    limits,
)
