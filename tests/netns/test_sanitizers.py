"""What a sanitizer says of a card's engine is a failure, also where dsnd starts another at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.netns.world import without_a_trace


def test_a_word_of_a_sanitizer_is_a_failure(program: Path, tmp_path: Path) -> None:
    with without_a_trace(tmp_path, program, stopped=True) as world:
        world.host("one", "host0", "02:00:00:00:00:0a", ("10.1.0.10/24",))
        world.write_card()
        for blow in (None, signal.SIGSEGV):
            world.start_card()
            if blow is None:
                world.stop_card()
                continue
            os.kill(int((world.run_folder / "engine" / "engine.pid").read_text()), blow)
            with pytest.raises(AssertionError, match="ERROR: AddressSanitizer: SEGV"):
                world.stop_card()
