"""The daemon and what it has stored: damaged, on a full or read-only file system, or fit for the card no more."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hal.errors import ErrorKind, HalError
from hal.packet.contract import LoadConfig
from hal.packet.derive import SyncResult, sync
from sdk.dsnd.card import Card
from sdk.dsnd.store import EMPTY, Fault, Store, StoredIntent
from sdk.dsnd.tables import Tables
from services.core.objects import IntentError
from services.core.plan import Plan
from tests.tools import daemon
from tests.tools.daemon import CONFIG, ONE, TWO, rows, whole
from tests.tools.process import Process
from tests.tools.until import until
from tests.unit.test_dsnd_store import IN_ITS_PLACE, a_folder


def test_a_damaged_pending_intent_is_dropped(start: Callable[[], Card], tmp_path: Path) -> None:
    applied = start().apply(whole(TWO))
    (tmp_path / "intent.pending").write_bytes(b"{")
    second = start()
    assert Store(tmp_path).pending() is None
    assert second.backend.snapshot().tag == applied.digest


def test_with_a_damaged_good_intent_a_running_engine_goes_on(start: Callable[[], Card], tmp_path: Path) -> None:
    applied = start().apply(whole(TWO))
    (tmp_path / "intent.good").write_bytes(b"{")
    second = start()
    assert second.backend.snapshot().tag == applied.digest
    assert rows(second, "vnic") == 1
    assert "CORRUPT: stored intent" in second.life.fault
    assert "Apply the whole intent again" in second.life.fault
    with pytest.raises(HalError, match="CORRUPT"):  # what the other sets hold nobody knows
        second.apply(whole(ONE), only_set="edge")
    second.apply(whole(ONE))
    assert second.life.fault == ""
    assert Store(tmp_path).good() == StoredIntent(whole(ONE))


def test_with_a_damaged_good_intent_a_new_engine_forwards_nothing(
    process: Process, start: Callable[[], Card], tmp_path: Path
) -> None:
    card = start()
    card.apply(whole(TWO))
    (tmp_path / "intent.good").write_bytes(b"{")
    process.engine = None
    assert until(lambda: process.launches == 2 and card.life.state == "forwarding")
    assert rows(card, "vnic") == 0
    assert "CORRUPT" in card.life.fault
    card.apply(whole(TWO))
    assert (rows(card, "vnic"), card.life.fault) == (1, "")


def _without_host0(monkeypatch: pytest.MonkeyPatch) -> None:
    """card.toml as of now lacks the port that the stored intent names."""
    monkeypatch.setattr(daemon, "CONFIG", LoadConfig(ports=CONFIG.ports[1:]))


def test_a_stored_intent_whose_port_is_gone_forwards_nothing_until_the_next_apply(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = start().apply(whole(TWO))
    assert rows(start(), "vnic") == 1
    process.engine = None
    _without_host0(monkeypatch)
    card = start()
    assert card.life.state == "forwarding"
    assert (rows(card, "subnet"), rows(card, "vnic"), rows(card, "seed")) == (0, 0, 1)
    assert card.backend.snapshot().tag != before.digest
    for words in ("Vnic web", "field port", "host0", "Nothing is forwarded", "Apply an intent that fits"):
        assert words in card.life.fault
    assert Store(tmp_path).good() == StoredIntent(whole(TWO))  # who puts the port back has it again
    assert (card.stored, card.holding and card.holding.intent) == (before.digest, EMPTY)
    with pytest.raises(IntentError, match="host0"):
        card.apply(whole(ONE), only_set="edge")
    card.apply(whole(ONE))
    assert (rows(card, "subnet"), card.life.fault) == (1, "")
    assert Store(tmp_path).good() == StoredIntent(whole(ONE))
    assert card.stored == StoredIntent(whole(ONE)).digest == card.backend.snapshot().tag


def test_with_the_port_back_the_stored_intent_holds_again(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG
    applied = start().apply(whole(TWO))
    process.engine = None
    _without_host0(monkeypatch)
    assert rows(start(), "vnic") == 0
    process.engine = None
    monkeypatch.setattr(daemon, "CONFIG", config)
    card = start()
    assert (rows(card, "vnic"), card.backend.snapshot().tag, card.life.fault) == (1, applied.digest, "")


def test_a_running_engine_goes_on_with_a_stored_intent_that_does_not_plan_any_more(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = start().apply(whole(TWO))
    monkeypatch.setattr(Tables, "planned", _unplannable(Tables.planned))
    card = start()
    assert (process.launches, card.life.state) == (1, "forwarding")
    assert (rows(card, "vnic"), card.backend.snapshot().tag) == (1, applied.digest)
    for words in ("Vnic web", "stage gone is not there", "goes on with what it holds", "Apply an intent that fits"):
        assert words in card.life.fault
    card.apply(whole(ONE))
    assert (rows(card, "vnic"), card.life.fault) == (0, "")


def test_what_a_new_engine_refuses_of_the_stored_intent_is_told_and_not_forwarded(
    process: Process, start: Callable[[], Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    start().apply(whole(TWO))
    process.engine = None
    real = Tables.commit

    def commit(self: Tables, plan: Plan, digest: str, before: Plan | None) -> SyncResult:
        if "vnic" in plan.tables:
            raise HalError(ErrorKind.FULL, "table vnic", limit="memory")
        return real(self, plan, digest, before)

    monkeypatch.setattr(Tables, "commit", commit)
    card = start()
    assert rows(card, "subnet") == 0
    assert "FULL: table vnic" in card.life.fault
    card.apply(whole(ONE))
    assert (rows(card, "subnet"), card.life.fault) == (1, "")


def _unplannable(planned: Callable[..., Any]) -> Callable[..., Any]:
    """As `planned`, of a card without a stage that each vNIC asks for."""

    def without_stage(self: Tables, intent: StoredIntent, *context: Any) -> Any:
        read, objects, plan = planned(self, intent, *context)
        vnics = [one for one in objects if one.kind == "Vnic"]
        if vnics:
            raise IntentError([one.problem("stages", "stage gone is not there") for one in vnics])
        return read, objects, plan

    return without_stage


def test_a_full_disk_refuses_before_anything_changes(
    start: Callable[[], Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = start()
    applied = card.apply(whole(ONE))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(HalError, match=r"FULL: state folder .*No space left on device"):
            card.apply(whole(TWO))
    assert card.backend.snapshot().generation == applied.generation
    assert sorted(path.name for path in tmp_path.iterdir()) == ["intent.good", "seed"]
    card.apply(whole(TWO))
    assert rows(card, "vnic") == 1


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Makes the state folder one of a file system that is mounted read-only, for root too."""

    def refuse(path: Any, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    opened = os.open

    def only_read(path: Any, flags: int, *words: Any, **more: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and tmp_path in Path(path).parents:
            refuse(path)
        return opened(path, flags, *words, **more)

    def begin() -> None:
        monkeypatch.setattr(os, "open", only_read)
        for name in ("unlink", "rename", "replace"):
            monkeypatch.setattr(os, name, refuse)

    return begin


def test_a_state_folder_that_can_not_be_written_keeps_no_engine_down(
    process: Process, start: Callable[[], Card], read_only: Callable[[], None]
) -> None:
    applied = start().apply(whole(TWO))
    card = start()
    read_only()
    process.engine = None
    assert until(lambda: process.launches == 2 and card.life.state == "forwarding")
    assert rows(card, "vnic") == 1
    assert "Read-only" not in card.life.fault
    with pytest.raises(HalError, match=r"FULL: state folder .*: got Read-only file system, .* nothing was changed"):
        card.apply(whole(ONE))
    assert (card.backend.snapshot().tag, rows(card, "vnic")) == (applied.digest, 1)


@pytest.mark.parametrize("dead", [True, False], ids=["started", "adopted"])
@pytest.mark.parametrize("reached", [True, False], ids=["in force", "never sent"])
def test_a_pending_intent_that_can_not_be_removed_is_no_reason_not_to_start(
    process: Process,
    start: Callable[[], Card],
    tmp_path: Path,
    read_only: Callable[[], None],
    dead: bool,
    reached: bool,
) -> None:
    card = start()
    good = card.apply(whole(TWO))
    pending = StoredIntent(whole(ONE))
    Store(tmp_path).begin(pending)
    if reached:
        assert process.engine is not None
        sync(process.engine.writer("dsnd"), process.engine, *card.tables.planned(pending)[2].rows, tag=pending.digest)
    card.let_go()
    read_only()
    if dead:
        process.engine = None
    card = start()
    assert card.life.state == "forwarding"
    holds = pending.digest if reached and not dead else good.digest
    assert card.backend.snapshot().tag == holds
    assert card.holding is not None
    assert card.holding.intent.digest == holds
    assert Store(tmp_path).pending() == pending


@pytest.mark.parametrize("damage", [*IN_ITS_PLACE, lambda path: path.write_bytes(b"[" * 200_000)])
@pytest.mark.parametrize("adopted", [True, False], ids=["adopted", "started"])
def test_no_damage_of_what_is_stored_keeps_the_card_down(
    process: Process, start: Callable[[], Card], tmp_path: Path, damage: Callable[[Path], None], adopted: bool
) -> None:
    start().apply(whole(TWO))
    for name in ("intent.good", "intent.pending"):
        (tmp_path / name).unlink(missing_ok=True)
        damage(tmp_path / name)
    if not adopted:
        process.engine = None
    card = start()
    assert card.life.state == "forwarding"
    assert rows(card, "vnic") == adopted  # what holds goes on; what can't be read is not forwarded
    assert "CORRUPT: stored intent" in card.life.fault
    process.engine = None
    assert until(lambda: process.launches == (2 if adopted else 3) and card.life.state == "forwarding")
    assert rows(card, "vnic") == 0
    if damage is a_folder:
        with pytest.raises(HalError, match=r"CORRUPT: stored intent .*: got a folder"):
            card.apply(whole(TWO))
        assert rows(card, "vnic") == 0
        return
    card.apply(whole(TWO))
    assert (rows(card, "vnic"), card.life.fault) == (1, "")
    assert Store(tmp_path).good() == StoredIntent(whole(TWO))


def test_what_went_wrong_last_outlives_the_daemon(process: Process, start: Callable[[], Card], tmp_path: Path) -> None:
    card = start()
    assert card.faults() == Fault()
    process.engine = None
    assert until(lambda: re.fullmatch(r"died after \d+\.\d s", Store(tmp_path).last_fault().words))
    told = card.faults()
    assert re.fullmatch(r"died after \d+\.\d s", told.words)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", told.time)
    after = start()
    assert (after.life.fault, after.faults()) == ("", told)
    process.engine = None
    assert until(lambda: "second time" not in after.life.fault and after.life.fault.startswith("died"))
    assert until(lambda: Store(tmp_path).last_fault() == after.faults())


def test_a_fault_that_is_kept_is_bounded_and_one_that_is_damaged_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep_fault(Fault.of_now("x" * 100_000))
    assert (tmp_path / "fault.json").stat().st_size < 2200
    assert store.last_fault().words == "x" * 2000
    for damage in (b"", b"{}", b"[1]", b"[" * 200_000, b"\xff", b'{"words": 1'):
        (tmp_path / "fault.json").write_bytes(damage)
        assert store.last_fault() == Fault()
    store.keep_fault(Fault())
    assert not (tmp_path / "fault.json").exists()


def test_a_stored_intent_that_fits_again_is_no_fault_any_more(
    process: Process, start: Callable[[], Card], tmp_path: Path
) -> None:
    start().apply(whole(TWO))
    (tmp_path / "intent.good").write_bytes(b"damage")
    process.engine = None
    card = start()
    assert card.stored == ""
    assert "CORRUPT: stored intent" in card.faults().words
    assert "CORRUPT: stored intent" in Store(tmp_path).last_fault().words
    card.apply(whole(TWO))
    assert (card.faults(), Store(tmp_path).last_fault()) == (Fault(), Fault())


def test_a_damaged_seed_keeps_the_card_down_and_what_mends_it_is_told(
    process: Process, start: Callable[[], Card], tmp_path: Path
) -> None:
    """Without the seed that they were made with, uplinks would change their MACs without anybody's word."""
    start().apply(whole(TWO))
    seed = (tmp_path / "seed").read_bytes()
    for damage in (seed[:-1], b"", seed + b"x"):
        process.engine = None
        (tmp_path / "seed").write_bytes(damage)
        with pytest.raises(HalError) as caught:
            start()
        assert str(caught.value) == (
            f"CORRUPT: seed {tmp_path / 'seed'}: got {len(damage)} bytes, limit 16 bytes. Remove it, or put a copy in "
            "its place: without one another is drawn, uplinks that name no mac get another, and equal paths are shared "
            "out anew."
        )
    (tmp_path / "seed").write_bytes(seed)  # a copy
    process.engine = None
    assert rows(start(), "vnic") == 1
    process.engine = None
    (tmp_path / "seed").unlink()
    assert rows(start(), "vnic") == 1
    assert len((tmp_path / "seed").read_bytes()) == 16
    assert (tmp_path / "seed").read_bytes() != seed
