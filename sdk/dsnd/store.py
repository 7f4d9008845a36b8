"""What the card must not forget: the last good intent, a pending one, the card's seed. Files, written durably.

An apply writes the intent as pending, commits it with its digest as the engine's tag, then makes it good. After a
crash the engine's tag says which of the two it holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hal.errors import ErrorKind, HalError

MOST_FAULT: Final = 2000
NEW_SEED: Final = (
    "Remove it, or put a copy in its place: without one another is drawn, uplinks that name no mac get another, and "
    "equal paths are shared out anew."
)
GOOD: Final = "intent.good"
PENDING: Final = "intent.pending"
CARD: Final = "card"
"""Names of files: the intents, and the path of the card.toml that they are for."""
AGAIN: Final = "Apply the whole intent again."


@dataclass(frozen=True)
class StoredIntent:
    """An intent as it was given: (set, file name, text) in order. Text keeps odd bytes as surrogates."""

    files: tuple[tuple[str, str, str], ...]

    @property
    def digest(self) -> str:
        """What the engine carries as tag: the first 32 hexadecimal digits of SHA-256."""
        return hashlib.sha256(self._canonical()).hexdigest()[:32]

    def _canonical(self) -> bytes:
        return json.dumps(self.files, separators=(",", ":")).encode()

    def to_bytes(self) -> bytes:
        return json.dumps({"version": 1, "digest": self.digest, "files": self.files}).encode()

    @staticmethod
    def from_bytes(data: bytes, where: str) -> StoredIntent:
        """Raises HalError(CORRUPT) for what isn't one, or whose digest is another."""
        try:
            raw = json.loads(data)
            files = tuple((str(part), str(name), str(text)) for part, name, text in raw["files"])
            intent = StoredIntent(files)
            wrong = raw["version"] != 1 or raw["digest"] != intent.digest
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise HalError(ErrorKind.CORRUPT, f"stored intent {where}", got=str(error), fix=AGAIN) from error
        if wrong:
            raise HalError(ErrorKind.CORRUPT, f"stored intent {where}", field="digest", got=str(raw["digest"]),
                           limit=intent.digest, fix=AGAIN)  # fmt: skip
        return intent


EMPTY = StoredIntent(())


@dataclass(frozen=True)
class Fault:
    """What went wrong last. `time`: of this machine's clock, as RFC 3339 has it; "": now."""

    words: str = ""
    time: str = ""

    @staticmethod
    def of_now(words: str) -> Fault:
        return Fault(words, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file so that after a power cut it holds the old bytes or the new ones, never a part.

    Raises:
        OSError: as the system says; the old file is as it was, and nothing is left that takes room.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _contents(path: Path, what: str, fix: str) -> bytes | None:
    """The bytes of a file, None where there is none. Raises HalError(CORRUPT) for what can't be read, or isn't one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # of a FIFO nobody waits for a writer
        with os.fdopen(fd, "rb") as stream:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise HalError(ErrorKind.CORRUPT, what, got="no regular file", fix=fix)
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HalError(ErrorKind.CORRUPT, what, got=error.strerror or str(error), fix=fix) from error


def stored_for(folder: Path) -> str:
    """The card.toml to whose card the intent that is stored in a state folder was given; "" where there is none."""
    try:
        if not any(os.path.lexists(folder / name) for name in (GOOD, PENDING)):
            return ""
        return os.fsdecode((folder / CARD).read_bytes())
    except OSError:
        return ""


def another_cards(state: Path, before: str, card: Path) -> str:
    """What is said where the card of one card.toml begins with what was given to that of another."""
    return (
        f"state folder {state}: its intent was given to the card of {before}, and is now that of {card}. "
        "Two cards want two folders: --state, or DSN_STATE."
    )


class Store:
    """The state folder of a card, mode 0700."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._good = folder / GOOD
        self._pending = folder / PENDING
        self._seed = folder / "seed"
        self._fault = folder / "fault.json"

    def taken_over(self, card: Path) -> str:
        """Note for which card.toml this folder is from now on; returns the one for which it was till now, "" where
        that is the same or nothing was stored for it. A disk that doesn't take the note keeps no card down."""
        before = stored_for(self.folder)
        with contextlib.suppress(OSError):
            if before != str(card):
                write_durably(self.folder / CARD, os.fsencode(card))
        return "" if before == str(card) else before

    def seed(self) -> bytes:
        """The card's 16 secret bytes, drawn on first use. Raises HalError(CORRUPT) for a file of another size."""
        data = _contents(self._seed, f"seed {self._seed}", NEW_SEED)
        if data is None:
            data = secrets.token_bytes(16)
            try:
                write_durably(self._seed, data)
            except OSError as error:
                raise HalError(ErrorKind.FULL, f"state folder {self.folder}", got=error.strerror or str(error),
                               limit="the card's seed", fix="Make room, or let it be written.") from error  # fmt: skip
        if len(data) != 16:
            raise HalError(ErrorKind.CORRUPT, f"seed {self._seed}", got=f"{len(data)} bytes", limit="16 bytes",
                           fix=NEW_SEED)  # fmt: skip
        return data

    def last_fault(self) -> Fault:
        """What went wrong last, under whichever dsnd; an empty one where nothing is known of it."""
        try:
            raw = json.loads(_contents(self._fault, f"fault {self._fault}", "") or b"{}")
            return Fault(str(raw["words"])[:MOST_FAULT], str(raw["time"])[:32])
        except (HalError, ValueError, KeyError, TypeError, RecursionError):
            return Fault()

    def keep_fault(self, fault: Fault) -> None:
        """Keep what went wrong for whoever asks after the next start; an empty one is forgotten. A disk that doesn't
        take it is no reason to stop."""
        with contextlib.suppress(OSError):
            if fault.words:
                told = {"words": fault.words[:MOST_FAULT], "time": fault.time}
                write_durably(self._fault, json.dumps(told).encode())
            elif os.path.lexists(self._fault):
                self._fault.unlink()

    def good(self) -> StoredIntent:
        """The last good intent, or the empty one."""
        return self._read(self._good) or EMPTY

    def pending(self) -> StoredIntent | None:
        """An intent that was begun and not acknowledged."""
        return self._read(self._pending)

    def begin(self, intent: StoredIntent) -> None:
        """Write it as pending, durably. Raises HalError: FULL where the disk doesn't take it, CORRUPT where a folder
        stands in its place or in that of the good one."""
        for path in (self._pending, self._good):
            if path.is_dir():
                raise HalError(ErrorKind.CORRUPT, f"stored intent {path}", got="a folder",
                               fix="Remove it; nothing was changed.")  # fmt: skip
        try:
            write_durably(self._pending, intent.to_bytes())
        except OSError as error:
            raise HalError(ErrorKind.FULL, f"state folder {self.folder}", got=error.strerror or str(error),
                           limit="room for the intent", fix="Make room, or let it be written; nothing was changed."
                           ) from error  # fmt: skip

    def confirm(self) -> None:
        """Make the pending intent the good one, durably. Raises HalError(FULL) where the disk refuses: it stays
        pending, and the engine's tag says at the next start that it holds."""
        try:
            self._pending.replace(self._good)
            _sync_folder(self.folder)
        except OSError as error:
            raise HalError(ErrorKind.FULL, f"state folder {self.folder}", got=error.strerror or str(error),
                           limit="an intent that is in force and on disk", fix="Mend the disk, then apply it again: "
                           "it is in force, and may be forgotten.") from error  # fmt: skip

    def abandon(self) -> None:
        """Forget the pending intent. Raises OSError where there is one and the disk doesn't let go of it."""
        if not os.path.lexists(self._pending):  # a disk that can't be written refuses even to remove what isn't there
            return
        self._pending.unlink()
        _sync_folder(self.folder)

    @staticmethod
    def _read(path: Path) -> StoredIntent | None:
        data = _contents(path, f"stored intent {path}", f"Remove it. {AGAIN}")
        return None if data is None else StoredIntent.from_bytes(data, str(path))
