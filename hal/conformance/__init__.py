"""The conformance kit: holds anyone's packet engine to the contract. See README.md.

from hal.conformance import Device, Level, run
"""

from hal.conformance.check import Check, Level, Unmet
from hal.conformance.device import Device, Wire, find_device
from hal.conformance.run import Report, Result, State, checks_for, run, run_one

__all__ = [
    "Check",
    "Device",
    "Level",
    "Report",
    "Result",
    "State",
    "Unmet",
    "Wire",
    "checks_for",
    "find_device",
    "run",
    "run_one",
]
