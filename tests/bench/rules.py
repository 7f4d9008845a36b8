"""Rule lists of the bench: nftables' two, and lists of any length in the two shapes that people write them in.

`cloud`: a security group's, in and out, each sentence on a hundred prefixes of its other side, hosts and networks, a
fifth of them IPv6, for a service. `mixed`: pairs of prefixes of all lengths with services (ports, ranges, any), narrow
ones more or less before wide ones, as ClassBench's access lists (Taylor and Turner, 2007).

Both are drawn with a fixed seed, and the last rule allows what none before it does. All that the bench's UDP traffic
can meet allow; those for TCP, half of them drops, lie between and have to be told apart. Of 10,000 rules hundreds
decide the traffic, the last one half of it or more.
"""

from typing import Any

import numpy as np

from hal.packet import FirewallRule
from hal.packet.schema.rows import Rows
from tests.bench.card import POLICY, PROBES

# What the rules are about, and so the traffic that they decide.
TUPLES: dict[str, str | int] = {
    "src": "10.1.0.0/16",
    "dst": "198.18.0.0/16",
    "sport": "32768-65535",
    "dport": "8000-8063",
}
SOURCES, DESTINATIONS = (0x0A010000, 16), (0xC6120000, 16)
LENGTHS = (0, 18, 20, 22, 22, 24, 24, 24, 24, 26, 27, 28, 30, 32, 32, 32)
ICMP, TCP, UDP = 1, 6, 17
STEP = 10  # between priorities

PROBE_PORT, PROBE_SOURCE, PROBE_DESTINATION = 9999, "10.2.0.1", "198.19.0.1"
PROBE_KEYS: dict[str, str | int] = {
    "probe_src": f"{PROBE_SOURCE}/32",
    "probe_dst": f"{PROBE_DESTINATION}/32",
    "probe_sport": 40000,
    "probe_dport": PROBE_PORT,
    "probe_flows": 1,
}


def same_as_nftables() -> list[FirewallRule]:
    """nft_peer.RULES, sentence for sentence."""
    return [
        FirewallRule(id=number, policy=POLICY, priority=number * STEP, direction="out", protocol_low=protocol,
                     protocol_high=protocol, source="10.1.0.0/16", destination="198.51.100.0/28",
                     port_low=443, port_high=443, verdict="allow")
        for number, protocol in enumerate((UDP, TCP), 1)
    ]  # fmt: skip


def _prefixes(
    draw: np.random.Generator, where: tuple[int, int], lengths: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.uint8]], np.ndarray[tuple[int], np.dtype[np.uint8]]]:
    """IPv4 prefixes below `where` as the tables hold them; length 0 is ::/0, which covers both families."""
    base, bits = where
    addresses = base | draw.integers(0, 1 << (32 - bits), len(lengths))
    addresses &= np.where(lengths == 0, 0, (0xFFFFFFFF << (32 - lengths)) & 0xFFFFFFFF)
    packed = np.zeros((len(lengths), 16), np.uint8)
    packed[:, 10:12] = np.where(lengths == 0, 0, 0xFF)[:, None]
    packed[:, 12:] = addresses.astype(">u4").view(np.uint8).reshape(-1, 4)
    return packed, np.where(lengths == 0, 0, 96 + lengths).astype(np.uint8)


Prefixes = tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.uint8]]]
ANY: Prefixes = (np.zeros((1, 16), np.uint8), np.zeros(1, np.uint8))
A_SENTENCE = 100  # rows: prefixes of one rule as written


def _with_last(prefixes: Prefixes) -> Prefixes:
    return np.concatenate((prefixes[0], ANY[0])), np.concatenate((prefixes[1], ANY[1]))


def cloud(count: int, seed: int = 1) -> Rows:
    """`count` rows of a security group, the last of which allows all UDP of clients. None meets the probes but it."""
    draw = np.random.default_rng(seed)
    n = count - 1
    sentence = np.arange(n) // A_SENTENCE
    sentences = int(sentence[-1]) + 1
    out = draw.random(sentences) < 0.4
    out[0] = True
    protocol = draw.choice([TCP, UDP, ICMP], sentences, p=[0.6, 0.3, 0.1])
    kind = draw.choice(3, sentences, p=[0.7, 0.15, 0.15])  # one port, a range, any
    low = np.where(kind == 2, 0, draw.integers(8000, 8064, sentences))
    high = np.where(kind == 2, 65535, np.where(kind == 1, low + 20, low))
    drops = (protocol == TCP) & (draw.random(sentences) < 0.5)
    lengths = draw.choice([32, 32, 32, 32, 32, 24, 24, 24, 16, 20, 28, 27], n)
    lengths = np.where((kind[sentence] != 0) & (lengths < 24), 28, lengths)  # no port to a whole net decides everything
    addresses, bits = _prefixes(draw, DESTINATIONS, lengths)
    six = draw.random(n) < 0.2
    far = np.concatenate((np.full((n, 2), (0x20, 0x01), np.uint8), draw.integers(0, 256, (n, 14), np.uint8)), axis=1)
    far[:, 8:] &= np.where(draw.random(n) < 0.5, 0xFF, 0).astype(np.uint8)[:, None]
    addresses[six] = far[six]
    bits[six] = np.where(far[six][:, 8:].any(axis=1), 128, 64)
    own, nothing = (addresses, bits), (np.zeros((n, 16), np.uint8), np.zeros(n, np.uint8))
    leaves = out[sentence]

    def side(chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Prefixes:
        return (np.where(chosen[:, None], own[0], nothing[0]), np.where(chosen, own[1], nothing[1]))

    return FirewallRule.array(
        id=range(1, count + 1),
        policy=POLICY,
        priority=np.append(sentence + 1, sentences + 1) * STEP,
        direction=np.append(np.where(leaves, 2, 1), 2),
        protocol_low=np.append(protocol[sentence], UDP),
        protocol_high=np.append(protocol[sentence], UDP),
        source=_with_last(side(~leaves)),
        destination=_with_last(side(leaves)),
        port_low=np.append(low[sentence], 0),
        port_high=np.append(high[sentence], 65535),
        verdict=np.append(np.where(drops, 2, 1)[sentence], 1),
    )


def mixed(count: int, seed: int = 1) -> Rows:
    """`count` rules, the last of which allows all UDP of clients that no other decides. No other meets the probes."""
    draw = np.random.default_rng(seed)
    n = count - 1
    source, destination = draw.choice(LENGTHS, n), draw.choice(LENGTHS, n)
    destination = np.where((source == 0) & (destination < 24), 28, destination)  # any to many would decide everything
    source = np.where((destination == 0) & (source < 24), 28, source)
    order = np.argsort(source + destination + draw.normal(0, 6, n))[::-1]
    source, destination = source[order], destination[order]
    protocol = draw.choice([TCP, UDP, 0], n, p=[0.6, 0.25, 0.15])  # 0: any
    kind = draw.choice(3, n, p=[0.45, 0.25, 0.3])  # one port, a range, any
    low = np.where(kind == 2, 0, draw.integers(7990, 8070, n))
    high = np.where(kind == 2, 65535, np.where(kind == 1, low + draw.integers(1, 30, n), low))
    sources, destinations = _prefixes(draw, SOURCES, source), _prefixes(draw, DESTINATIONS, destination)

    def with_last(
        column: np.ndarray[tuple[int], np.dtype[np.int64]], value: int
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.append(column, value)

    return FirewallRule.array(
        id=range(1, count + 1),
        policy=POLICY,
        priority=np.arange(1, count + 1) * STEP,
        direction="out",
        protocol_low=with_last(protocol, UDP),
        protocol_high=with_last(np.where(protocol == 0, 255, protocol), UDP),
        source=_with_last(sources),
        destination=_with_last(destinations),
        port_low=with_last(low, 0),
        port_high=with_last(high, 65535),
        verdict=with_last(np.where((protocol == TCP) & (draw.random(n) < 0.5), 2, 1), 1),
    )


def probe_rule(rules: int, verdict: str) -> FirewallRule:
    """The one rule that decides the probes, in the middle of a list of `rules`."""
    return FirewallRule(
        id=rules + 1, policy=POLICY, priority=rules // 2 * STEP + 1, direction="out", protocol_low=UDP,
        protocol_high=UDP, source=PROBES, destination=f"{PROBE_DESTINATION}/32",
        port_low=PROBE_PORT, port_high=PROBE_PORT, verdict=verdict,
    )  # fmt: skip
