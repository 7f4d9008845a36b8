"""Steps that the packet, its vNIC and its path decide alone."""

from __future__ import annotations

from hal.packet.model.chain import own_mac
from hal.packet.model.parse import ZERO_MAC, Dropped, Frame, Packet, Tell
from hal.packet.model.path.meeting import Meeting
from hal.packet.model.rows import Entry
from hal.packet.model.stage import Op
from hal.packet.model.tables import Tables


def vnic_of(tables: Tables, port: int, frame: Frame) -> Entry:
    """*Order of checks*, step 3: by source MAC, else whoever is at the port and VLAN."""
    vnic = tables.exact("vnic", port, frame.vlan, frame.source) or tables.exact("vnic", port, frame.vlan, ZERO_MAC)
    if vnic is None:
        raise Dropped("vnic_unknown")
    return vnic


def check_is_for_us(tables: Tables, packet: Packet) -> None:
    """*Order of checks*, step 12: only a subnet's vNICs and taps have somebody to bridge to."""
    if not packet.routed and (packet.vnic.role == "uplink" or own_mac(tables, packet.vnic) is None):
        raise Dropped("not_for_us")


def check_macs(meeting: Meeting) -> None:
    """*Established*, step 3."""
    packet, path = meeting.packet, meeting.path
    if Op.CHECK_SOURCE_MAC in path.ops and packet.frame.source != packet.vnic.mac:
        raise Dropped("spoofed_mac")
    if not path.routed and packet.frame.destination != path.destination_mac:
        raise Dropped("mac_mismatch")


def check_size(meeting: Meeting) -> None:
    """*Established*, steps 4 and 5: does it live long enough, and does it fit?"""
    packet, path = meeting.packet, meeting.path
    if path.egress is None:
        raise Dropped(path.drop)
    if path.routed and not path.to_card and packet.ttl <= 1:
        raise Dropped("ttl_exceeded", Tell(v4=(11, 0), v6=(3, 0)))
    if len(packet.ip) > path.egress.mtu:
        living = meeting.opens is None
        raise Dropped("mtu_exceeded", Tell(v4=(3, 4), v6=(2, 0), value=path.egress.mtu, living=living))
