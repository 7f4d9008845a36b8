"""A vNIC sends from its own MAC and its declared addresses, and tells of no others (RFC 2827, RFC 7039)."""

from __future__ import annotations

from hal.packet.model.stage import (
    Announcement,
    Context,
    Drop,
    Entry,
    Header,
    Op,
    Pass,
    Stage,
    Tables,
    Verdict,
    Witness,
)


class Antispoof(Stage):
    ops = frozenset({Op.CHECK_SOURCE_MAC})

    def decide(self, header: Header, context: Context, tables: Tables, witness: Witness) -> Verdict:
        vnic = context.vnic
        if header.source_mac != vnic.mac:
            return Drop("spoofed_mac")
        allowed = tables.longest("allowed_source", vnic.id, header.source)
        if allowed is None:
            witness.miss("allowed_source")
            return Drop("spoofed_address")
        witness.match(allowed)
        return Pass()

    def check_arp(self, vnic: Entry, tables: Tables, message: Announcement) -> str:
        return "" if self._honest(vnic, tables, message) else "spoofed_arp"

    def check_nd(self, vnic: Entry, tables: Tables, message: Announcement) -> str:
        return "" if self._honest(vnic, tables, message) else "spoofed_nd"

    def check_source(self, header: Header, vnic: Entry, tables: Tables) -> str:
        if header.source_mac != vnic.mac:
            return "spoofed_mac"
        return "" if tables.longest("allowed_source", vnic.id, header.source) else "spoofed_address"

    def _honest(self, vnic: Entry, tables: Tables, message: Announcement) -> bool:
        addresses = [] if message.unspecified else [message.address]
        if message.target is not None:
            addresses.append(message.target)
        return all(mac == vnic.mac for mac in (message.source_mac, *message.macs)) and all(
            tables.longest("allowed_source", vnic.id, address) for address in addresses
        )


STAGE = Antispoof()
