"""The checks, a module for each part of the contract."""

from hal.conformance.checks import capacity, commits, events, loading, owners, refusals, snapshots, staging

MODULES = (loading, commits, snapshots, refusals, capacity, owners, staging, events)
