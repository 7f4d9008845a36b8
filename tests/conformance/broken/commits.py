"""Wrong about commits: what they do, what they refuse, how much fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hal.errors import ErrorKind, HalError
from hal.packet.contract import Delete, Insert, Modify, Name
from hal.packet.model.store import Draft, Store, Version, invalid
from hal.packet.schema.rows import Rows
from tests.conformance.broken.parts import Break, Breaks, blind, breaks

BREAKS: Breaks = {}


def _table(operation: Any) -> str:
    return operation.table if isinstance(operation, Delete) else operation.rows.row.LAYOUT.table.name


def _of(operations: Sequence[Any], kind: type, table: str) -> bool:
    return any(isinstance(one, kind) and _table(one) == table for one in operations)


# --- what they do ------------------------------------------------------------------------------------------------


@breaks(BREAKS, "modify_replaces_the_row")
class OldKeysStay(Draft):
    """the key of a row whose action is changed with it stays taken"""

    def remove(self, table: str, ids: Sequence[int]) -> None:
        version = self._read(table)
        for identity in ids:
            keys = [key for key, one in version.keys.items() if one == identity]
            vars(self).setdefault("gone", {})[table, identity] = (version.rows[identity].action, keys)
        super().remove(table, ids)

    def put(self, rows: Rows, data: Any) -> None:
        super().put(rows, data)
        table = rows.row.LAYOUT.table
        for identity in rows.data["id"].tolist():
            action, keys = vars(self).get("gone", {}).get((table.name, identity), (None, []))
            if action not in (None, table.actions.index(rows.row.LAYOUT.action)):
                self._write(table.name).keys.update(dict.fromkeys(keys, identity))


@breaks(BREAKS, "generations_ascend_by_one")
class SkipsGenerations(Store):
    """a generation is lost when an owner comes back after another one"""

    def _make(self, owner: str, version: Version) -> None:
        before = vars(self).setdefault("committed", [])
        if before and owner in before and before[-1] != owner:
            version.tables.generation += 1
        before.append(owner)
        super()._make(owner, version)


@breaks(BREAKS, "an_empty_commit_is_a_generation")
class EmptyCommitsEmpty(Store):
    """a commit of nothing leaves nothing"""

    def _build(self, owner: str, operations: Any, base: Any, tag: str, depends: Any, names: Any) -> Version:
        version = super()._build(owner, operations, base, tag, depends, names)
        if not operations and not names and version.tables.versions["vrf"].rows:
            version.tables.versions["vrf"].rows.clear()
        return version


@breaks(BREAKS, "order_means_nothing")
class OrderMatters(Store):
    """what others refer to has to be deleted after them"""

    def _build(self, owner: str, operations: Any, *more: Any) -> Version:
        deleted = [one.table for one in operations if isinstance(one, Delete)]
        if {"subnet", "local_address"} <= set(deleted) and deleted.index("subnet") < deleted.index("local_address"):
            raise invalid("subnet", limit="deleted after local_address")
        return super()._build(owner, operations, *more)


@breaks(BREAKS, "keys_are_swapped_in_one_commit")
class KeysOneByOne(Store):
    """keys are held against those of before the commit"""

    def _build(self, owner: str, operations: Any, *more: Any) -> Version:
        keys = self.current.tables.versions["route"].keys
        for one in operations:
            if isinstance(one, Delete) or _table(one) != "route":
                continue
            end = one.rows.row.LAYOUT.key_end
            for record in one.rows.data:
                if keys.get(record.tobytes()[8:end], int(record["id"])) != int(record["id"]):
                    raise invalid("route", limit="a key that no row had", row=0, row_id=int(record["id"]))
        return super()._build(owner, operations, *more)


@breaks(BREAKS, "references_may_come_together")
class ReferencesOneByOne(Store):
    """what was referred to before a commit may not go with it"""

    def _build(self, owner: str, operations: Any, *more: Any) -> Version:
        referred = self.current.tables.versions["vrf"].references
        gone = [i for one in operations if isinstance(one, Delete) and one.table == "vrf" for i in one.ids.tolist()]
        if any(referred[i] for i in gone) and _of(operations, Modify, "subnet"):
            raise invalid("vrf", limit="no row that referred to it")
        return super()._build(owner, operations, *more)


@breaks(BREAKS, "tags_are_kept")
class AsciiTags(Store):
    """of tags only ASCII is kept"""

    def _make(self, owner: str, version: Version) -> None:
        super()._make(owner, replace(version, tag=version.tag.encode("ascii", "ignore").decode()))


@breaks(BREAKS, "names_are_kept")
class FileBeginnings(Store):
    """of a file's name the beginning is kept"""

    def _names(self, draft: Draft, names: Sequence[Name], removed: Any) -> Any:
        cut = {(name.table, name.id): name.file[:127] for name in names}
        found = super()._names(draft, names, removed)
        if not names:
            return found
        return {key: replace(name, file=cut.get(key, name.file)) for key, name in found.items()}


@breaks(BREAKS, "names_go_with_their_rows")
class NamesStay(Store):
    """names outlive their rows"""

    def _names(self, draft: Draft, names: Sequence[Name], removed: Any) -> Any:
        return super()._names(draft, names, ())


# --- what they refuse --------------------------------------------------------------------------------------------

BREAKS["fields_out_of_range"] = Break("an MTU of any size", checker=blind("vnic", "mtu"))
BREAKS["names_in_fields"] = Break("stages of any name", checker=blind("profile_stage", "stage"))
BREAKS["padding_is_zero"] = Break("padding of any content", checker=blind("", field_begins="_pad"))
BREAKS["bits_beyond_the_length"] = Break("prefixes with host bits", checker=blind("", "prefix"))
BREAKS["prefix_lengths"] = Break("prefixes of any length", checker=blind("", "prefix_len"))
BREAKS["ids_are_not_the_none_id"] = Break("the id that means none is one", checker=blind("", "id", "id"))


@breaks(BREAKS, "insert_of_an_id_that_exists")
class InsertsOver(Store):
    """of an array's ids only the first has to be new"""

    def _check_id(self, table: str, place: int, identity: int, new: bool, there: Any, seen: set[int]) -> None:
        if not (new and place and identity in there):
            super()._check_id(table, place, identity, new, there, seen)


@breaks(BREAKS, "modify_of_an_id_that_does_not_exist")
class ModifiesNothing(Store):
    """rows to modify that aren't there are passed over"""

    def _build(self, owner: str, operations: Any, *more: Any) -> Version:
        there = self.current.tables.versions
        kept = []
        for one in operations:
            if isinstance(one, Modify):
                known = np.isin(one.rows.data["id"], np.array(list(there[_table(one)].rows), np.uint64))
                some = np.flatnonzero(known)
                one = one if len(some) == len(known) else Modify(one.rows.take(some))
            kept.append(one)
        return super()._build(owner, kept, *more)


@breaks(BREAKS, "delete_of_an_id_that_does_not_exist")
class DeletesNothing(Store):
    """ids to delete that aren't there are passed over"""

    def _build(self, owner: str, operations: Any, *more: Any) -> Version:
        there = self.current.tables.versions
        kept = [
            Delete(one.table, np.array([i for i in one.ids.tolist() if i in there[one.table].rows], np.uint64))
            if isinstance(one, Delete)
            else one
            for one in operations
        ]
        return super()._build(owner, kept, *more)


@breaks(BREAKS, "two_writes_to_one_id")
class DeletesTwice(Store):
    """an id may be deleted twice in one commit"""

    def _build(self, owner: str, operations: Any, *more: Any) -> Version:
        kept = [
            Delete(one.table, np.array(list(dict.fromkeys(one.ids.tolist())), np.uint64))
            if isinstance(one, Delete)
            else one
            for one in operations
        ]
        return super()._build(owner, kept, *more)


@breaks(BREAKS, "a_key_used_twice")
class KeysTwice(Draft):
    """exact keys may be used twice"""

    def check_keys(self, rows: Rows, data: Any) -> None:
        try:
            super().check_keys(rows, data)
        except HalError:
            if rows.row.LAYOUT.table.name != "local_address":
                raise


@breaks(BREAKS, "rules_may_share_a_key")
class RulesDiffer(Draft):
    """no two rules may be equal"""

    def check_keys(self, rows: Rows, data: Any) -> None:
        super().check_keys(rows, data)
        if rows.row.LAYOUT.table.name == "firewall_rule":
            keys = [record.tobytes()[8 : rows.row.LAYOUT.key_end] for record in rows.data]
            if len(set(keys)) < len(keys):
                raise invalid("firewall_rule", limit="a key that no other row has")


@breaks(BREAKS, "a_reference_to_nothing")
class RefersToNothing(Draft):
    """addresses of vNICs that aren't there"""

    def check_references(self, rows: Rows, data: Any) -> None:
        if rows.row.LAYOUT.table.name != "vnic_address":
            super().check_references(rows, data)


@breaks(BREAKS, "modify_to_a_reference_to_nothing")
class ModifiedToNothing(Draft):
    """references of modified rows aren't looked at"""

    def remove(self, table: str, ids: Sequence[int]) -> None:
        vars(self).setdefault("older", set()).update((table, one) for one in ids)
        super().remove(table, ids)

    def check_references(self, rows: Rows, data: Any) -> None:
        table = rows.row.LAYOUT.table.name
        if not {(table, one) for one in rows.data["id"].tolist()} <= vars(self).get("older", set()):
            super().check_references(rows, data)


@breaks(BREAKS, "delete_of_a_row_that_is_referred_to")
class OneMayRefer(Draft):
    """a row that only one refers to may go"""

    def check_removed(self, removed: Any) -> None:
        super().check_removed([(table, one) for table, one in removed if self._read(table).references[one] != 1])


@breaks(BREAKS, "a_refused_commit_leaves_no_trace")
class HalfApplied(Store):
    """of large commits the part before the bad row is applied"""

    def commit(self, owner: str, operations: Any, **more: Any) -> int:
        try:
            return super().commit(owner, operations, **more)
        except HalError:
            if operations and isinstance(operations[0], Insert) and len(operations[0].rows) > 100:
                super().commit(owner, operations[:1], **{**more, "names": (), "transaction": None})
            raise


def _letters(text: str) -> str:
    """As many bytes as it has letters."""
    return text.encode("ascii", "replace").decode()


@breaks(BREAKS, "any_of_several_mistakes")
class AllAtOnce(Store):
    """what is wrong twice is refused as something else"""

    def _build(self, owner: str, operations: Any, base: Any, *more: Any) -> Version:
        try:
            return super()._build(owner, operations, base, *more)
        except HalError as error:
            twice = error.kind is ErrorKind.DENIED and base is not None and self._changed.get(owner, 0) > base
            if twice:
                raise HalError(ErrorKind.CORRUPT, "commit") from error
            raise


@breaks(BREAKS, "tags_too_long")
class LettersOfTags(Store):
    """letters of tags are counted, not bytes"""

    def _check_words(self, tag: str, names: Any) -> None:
        super()._check_words(_letters(tag), names)


@breaks(BREAKS, "names_too_long")
class LettersOfNames(Store):
    """letters of names are counted, not bytes"""

    def _check_words(self, tag: str, names: Any) -> None:
        super()._check_words(tag, [replace(name, text=_letters(name.text)) for name in names])


@breaks(BREAKS, "names_of_nothing")
class NamesOfNothing(Store):
    """names of rows that aren't there are passed over"""

    def _names(self, draft: Draft, names: Sequence[Name], removed: Any) -> Any:
        return super()._names(draft, [name for name in names if draft.has(name.table, name.id)], removed)


@breaks(BREAKS, "another_owners_table")
class AnyoneDeletes(Store):
    """anyone may delete"""

    def _build(self, owner: str, operations: Any, *more: Any) -> Version:
        before = dict(self.owners)
        self.owners.update({one.table: owner for one in operations if isinstance(one, Delete)})
        try:
            return super()._build(owner, operations, *more)
        finally:
            self.owners.update(before)


@breaks(BREAKS, "names_in_another_owners_table")
class AnyoneNames(Store):
    """anyone may name"""

    def _build(self, owner: str, operations: Any, base: Any, tag: str, depends: Any, names: Any) -> Version:
        before = dict(self.owners)
        if not operations:
            self.owners.update({name.table: owner for name in names})
        try:
            return super()._build(owner, operations, base, tag, depends, names)
        finally:
            self.owners.update(before)


# --- how much fits -----------------------------------------------------------------------------------------------


@breaks(BREAKS, "every_table_holds_what_it_says")
class OneMore(Draft):
    """one seed more than fits"""

    def check_room(self) -> None:
        if "seed" not in self._touched:
            super().check_room()


def _full_at(share: float, table: str) -> type[Draft]:
    class Full(Draft):
        def check_room(self) -> None:
            super().check_room()
            there = len(self._read(table).rows)
            if table in self._touched and self._capacities[table] > 100 and there > share * self._capacities[table]:
                raise HalError(ErrorKind.FULL, f"table {table}", table=table)

    return Full


@breaks(BREAKS, "actions_share_their_table")
class NOfEach(Draft):
    """a table of several actions has room for N of each"""

    def check_room(self) -> None:
        for name, version in self._touched.items():
            counts = Counter(record.action for record in version.rows.values())
            if max(counts.values(), default=0) > self._capacities[name]:
                raise HalError(ErrorKind.FULL, f"table {name}", table=name)


@breaks(BREAKS, "modify_needs_no_room")
class MakeBeforeBreak(Draft):
    """a route that is modified needs an entry more for a moment"""

    def put(self, rows: Rows, data: Any) -> None:
        there = self._before.tables.versions["route"].rows
        modified = rows.row.LAYOUT.table.name == "route" and set(rows.data["id"].tolist()) <= set(there)
        if modified and len(there) == self._capacities["route"]:
            raise HalError(ErrorKind.FULL, "table route", table="route")
        super().put(rows, data)


BREAKS["exact_keys_fit_whatever_they_are"] = Break("full at 97 %", {Draft: _full_at(0.97, "local_address")})
BREAKS["prefixes_fit_whatever_they_are"] = Break("full at 99 %", {Draft: _full_at(0.99, "route")})
BREAKS["rules_fit_whatever_they_are"] = Break("full at 95 %", {Draft: _full_at(0.95, "firewall_rule")})

__all__ = ["BREAKS"]
