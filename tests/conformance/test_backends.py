"""Every check, against every backend of ours."""

import pytest

from hal.conformance import Check, Level, State, checks_for, run_one
from tests.conformance.devices import DEVICES


@pytest.mark.parametrize("check", checks_for(Level.ALL), ids=lambda check: check.name)
@pytest.mark.parametrize("device", DEVICES)
def test_backend(device: str, check: Check) -> None:
    result = run_one(DEVICES[device], check)
    assert result.state is State.PASSED, result.words
