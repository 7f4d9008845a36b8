"""Packets that pass because of another one, ICMP errors, later fragments, replies picked up: nobody else's may."""

from __future__ import annotations

from hal.conformance import world
from hal.conformance.bench import Bench
from hal.conformance.check import Level, check, equal
from hal.conformance.frames import DESTINATION_OPTIONS, ISS, UDP, echo, fragment, tcp, udp, unreachable
from hal.conformance.traffic import Sent
from hal.conformance.world import A, B, C
from hal.packet.contract import Verdict

NEEDS = ("packets", "bridge", "route")
ANTISPOOF = (*NEEDS, "antispoof")


@check(Level.STATEFUL, "source must be the error's destination", needs=NEEDS)
def errors_go_to_who_sent_the_packet(bench: Bench) -> None:
    """An ICMP error passes to who sent the packet that it quotes, and to nobody else; v4 and v6."""
    traffic = world.world(bench).traffic()
    for sender, other, receiver in ((A.ip, B.ip, C.ip), (A.ip6, B.ip6, C.ip6)):
        packet = udp(sender, receiver)
        traffic.send(A.port, A.frame(packet)).left_by(C.port, "the packet")
        to_other = C.frame(unreachable(receiver, other, packet))
        traffic.send(C.port, to_other).dropped("icmp_error_unrelated", "an ICMP error to somebody else")
        error = C.frame(unreachable(receiver, sender, packet))
        traffic.send(C.port, error).left_by(A.port, "the ICMP error to who sent the packet")


@check(Level.STATEFUL, "that has counted a packet in this direction", needs=NEEDS)
def errors_are_about_packets_that_were(bench: Bench) -> None:
    """An ICMP error about a reply passes once there was one."""
    traffic = world.world(bench).traffic()
    world.routed(traffic).left_by(C.port)
    error = A.frame(unreachable(A.ip, C.ip, udp(C.ip, A.ip, 53, 4000)))
    traffic.send(A.port, error).dropped("icmp_error_unrelated", "an ICMP error about a reply that never was")
    world.replied(traffic).left_by(A.port)
    traffic.send(A.port, error).left_by(C.port, "the same behind a reply")


@check(Level.STATEFUL, "a vNIC's errors come from its own addresses", needs=ANTISPOOF)
def errors_are_not_spoofed(bench: Bench) -> None:
    """An ICMP error from another address or MAC than the vNIC's is dropped as any packet is."""
    traffic = world.antispoofed(bench).traffic()
    packet = udp(C.ip, A.ip)
    traffic.send(C.port, C.frame(packet)).left_by(A.port, "the packet")
    spoofed = A.frame(unreachable(B.ip, C.ip, packet))
    traffic.send(A.port, spoofed).dropped("spoofed_address", "an ICMP error from another's address")
    error = A.frame(unreachable(A.ip, C.ip, packet))
    forged = error[:6] + bytes.fromhex(B.mac.replace(":", "")) + error[12:]
    traffic.send(A.port, forged).dropped("spoofed_mac", "an ICMP error from another's MAC")
    traffic.send(A.port, error).left_by(C.port, "an honest ICMP error")


@check(Level.STATEFUL, "the meter of a punt", needs=NEEDS)
def errors_to_the_card_are_metered(bench: Bench) -> None:
    """`punt_limit` holds for ICMP errors to the card's own programs as for what opened the connection."""
    traffic = world.world(bench, punt_limit=2).traffic()
    traffic.send(A.port, A.frame(udp(A.ip, "10.1.0.1", dport=179))).left_by(9, "a packet to the card", Verdict.PUNT)
    answer = udp("10.1.0.1", A.ip, 179, 4000)
    traffic.send(9, world.from_tap(answer)).left_by(A.port, "the card's answer")
    error = A.frame(unreachable(A.ip, "10.1.0.1", answer))
    traffic.send(A.port, error).left_by(9, "an ICMP error to the card, two packets a second allowed", Verdict.PUNT)
    traffic.send(A.port, error).dropped("punt_limit", "a second ICMP error to the card")


@check(Level.STATEFUL, "None left in either: `icmp_error_limit`", "So 128 at least of one", needs=(*NEEDS, "shard"))
def errors_about_one_connection_are_limited(bench: Bench) -> None:
    """A flood of ICMP errors about a connection ends, and the connection doesn't; 128 of them pass at least."""
    traffic = world.world(bench).traffic()
    packet = udp(A.ip, C.ip)
    traffic.send(A.port, A.frame(packet)).left_by(C.port, "the packet")
    error = C.frame(unreachable(C.ip, A.ip, packet))
    for number in range(128):
        traffic.send(C.port, error).left_by(A.port, f"ICMP error {number + 1} about it")
    became = [traffic.send(C.port, error).reason for _ in range(1000)]
    equal({*became} - {""}, {"icmp_error_limit"}, "why some of 1,000 more errors were dropped")
    traffic.send(A.port, A.frame(packet)).left_by(C.port, "the next packet")


@check(Level.STATEFUL, "whether the quoted number fits or not", needs=(*NEEDS, "shard"))
def errors_count_before_their_number(bench: Bench) -> None:
    """A flood of ICMP errors that quote a wrong number about TCP takes what right ones take."""
    traffic = world.world(bench).traffic()
    traffic.send(A.port, A.frame(tcp(A.ip, C.ip, 4000, 80, "S"))).left_by(C.port, "a call")
    right = C.frame(unreachable(C.ip, A.ip, tcp(A.ip, C.ip, 4000, 80, "S")))
    wrong = C.frame(unreachable(C.ip, A.ip, tcp(A.ip, C.ip, 4000, 80, "S", seq=ISS + 100)))
    traffic.send(C.port, right).left_by(A.port, "an ICMP error about the call")
    became = [traffic.send(C.port, wrong).reason for _ in range(1000)]
    equal({*became}, {"icmp_error_unrelated", "icmp_error_limit"}, "why 1,000 errors with a wrong number were dropped")
    traffic.send(C.port, right).dropped("icmp_error_limit", "one about the call behind them")


@check(Level.STATEFUL, "a spoofed reply is one whoever opened the connection", needs=(*ANTISPOOF, "shard"))
def spoofed_replies_are_not_picked_up(bench: Bench) -> None:
    """Mid-stream TCP from another address than the vNIC's opens nothing, whichever side might have begun."""
    traffic = world.antispoofed(bench).traffic(pickup=True)
    spoofed = A.frame(tcp("10.1.0.99", B.ip, 80, 4000, "A"), to=B.mac)
    traffic.send(A.port, spoofed).dropped("spoofed_address", "a spoofed mid-stream segment")
    equal(traffic.flows(), [], "connections that it opened")
    honest = A.frame(tcp(A.ip, B.ip, 80, 4000, "A"), to=B.mac)
    traffic.send(A.port, honest).left_by(B.port, "an honest one")


@check(Level.STATEFUL, "nobody behind an uplink has an address of this card", needs=NEEDS)
def nobody_outside_is_one_of_us(bench: Bench) -> None:
    """By an uplink no connection, echo request or ICMP error comes from an address of the card's or of a vNIC's."""
    traffic = world.world(bench).traffic()
    traffic.send(0, world.from_router(udp(world.FAR, A.ip))).left_by(A.port, "a packet from far away")
    to_far = unreachable(world.FAR, A.ip, udp(A.ip, world.FAR, 53, 4000))
    traffic.send(A.port, A.frame(udp(A.ip, world.FAR, 53, 4000)))
    for ours in (C.ip, "10.2.0.1", "192.0.2.2"):
        for what, packet in (
            ("a connection", udp(ours, A.ip)),
            ("an echo request to the card", echo(ours, "192.0.2.2")),
            ("an ICMP error", unreachable(ours, A.ip, udp(A.ip, world.FAR, 53, 4000))),
        ):
            traffic.send(0, world.from_router(packet)).dropped("address_conflict", f"{what} from {ours} by the uplink")
    traffic.send(0, world.from_router(to_far)).left_by(A.port, "an ICMP error from far away")
    pinged = traffic.send(0, world.from_router(echo(world.FAR, "192.0.2.2")))
    pinged.left_by(0, "an echo request to the card from far away", Verdict.CONSUME)
    traffic.send(C.port, C.frame(udp(C.ip, A.ip))).left_by(A.port, "the vNIC's own packet")


@check(Level.STATEFUL, "behind that are part of what is cut up (RFC 8200 4.5)", needs=NEEDS)
def fragments_begin_behind_their_header(bench: Bench) -> None:
    """What lies where in an IPv6 datagram counts from behind the fragment header: ports behind options can't change."""
    traffic = world.world(bench).traffic()
    options = bytes((UDP, 0, 1, 4)) + bytes(4)
    datagram = options + udp(A.ip6, C.ip6, data=bytes(24))[40:]

    def send(offset: int, more: bool, data: bytes) -> Sent:
        packet = fragment(A.ip6, C.ip6, offset, more, data, DESTINATION_OPTIONS)
        return traffic.send(A.port, A.frame(packet))

    send(0, True, datagram[:24]).left_by(C.port, "a first fragment with destination options")
    send(16, True, datagram[8:16]).dropped("fragment_duplicate", "a fragment on the last bytes of the first")
    send(24, False, datagram[24:]).left_by(C.port, "the fragment behind it")


@check(Level.STATEFUL, "one by which the datagram would be longer than its header can say", needs=NEEDS)
def datagrams_are_as_long_as_headers_say(bench: Bench) -> None:
    """A fragment that ends so far behind that its datagram would have more than 65,535 bytes is dropped."""
    traffic = world.world(bench).traffic()
    for sender, receiver, last in ((A.ip, C.ip, 65515), (A.ip6, C.ip6, 65535)):
        start = last // 8 * 8
        first = fragment(sender, receiver, 0, True, udp(sender, receiver, data=bytes(64))[-72:])
        traffic.send(A.port, A.frame(first)).left_by(C.port, "the first fragment")
        longer = A.frame(fragment(sender, receiver, start, False, bytes(last - start + 1)))
        traffic.send(A.port, longer).dropped("fragment_invalid", "a last fragment that ends a byte too far")
        longest = A.frame(fragment(sender, receiver, start, False, bytes(last - start)))
        traffic.send(A.port, longest).left_by(C.port, "the longest datagram's last fragment")
