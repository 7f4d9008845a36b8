"""Punt taps: planned purely, made in namespaces of their own, given the card's addresses, and gone in the end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from hal.packet.contract import Insert, LoadConfig, Name, PortConfig
from hal.packet.dpdk.linux_port import open_tap
from hal.packet.frame._generated import Vrf
from hal.packet.model import Twin
from hal.packet.schema.rows import as_rows
from hal.packet.stages.bridge._generated import LocalAddress
from sdk.dsnd.taps import DEVICE, Taps, card_namespace, in_use, plan


def test_the_default_vrf_has_a_tap_unless_card_toml_names_it(tmp_path: Path) -> None:
    config, taps = plan(LoadConfig(ports=(PortConfig(0, "host0", "linux:eth1"),)), tmp_path)
    assert [port.name for port in config.ports] == ["host0", "punt-default"]
    assert config.ports[1].device == f"tap:{DEVICE}@{taps[0].namespace}"
    assert config.ports[1].mac == taps[0].mac
    assert plan(config, tmp_path) == (config, taps)


def test_cards_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    one, other = (plan(LoadConfig(), tmp_path / name)[1][0] for name in ("a", "b"))
    assert one.namespace != other.namespace
    assert one.mac != other.mac


def test_a_spare_is_in_use_where_a_vrf_has_it(tmp_path: Path) -> None:
    """As the status of the card tells it."""
    config, _ = plan(LoadConfig(ports=(PortConfig(0, "host0", "linux:eth1"),)), tmp_path, spares=2)
    card, (_, _, first, second) = card_namespace(tmp_path), config.ports
    twin = Twin()
    twin.load(config)
    twin.start()
    default = {"punt-default": f"{card}-default"}
    assert in_use(twin.capabilities().ports, twin.snapshot(["vrf"])) == default
    rows = [Vrf(id=1), Vrf(id=2, punt_port=second.number), Vrf(id=3, punt_port=first.number)]
    names = [Name("vrf", 1, "grey"), Name("vrf", 2, "red")]  # nobody named the third
    twin.writer().commit([Insert(one) for one in as_rows(rows)], names=names)
    assert in_use(twin.capabilities().ports, twin.snapshot(["vrf"])) == {**default, second.name: f"{card}-red"}


def test_a_tap_gets_the_cards_addresses_and_is_gone_in_the_end(tmp_path: Path) -> None:
    _, planned = plan(LoadConfig(), tmp_path)
    taps = Taps(planned)
    namespace = planned[0].namespace

    def shown() -> str:
        return subprocess.run(["ip", "-n", namespace, "address", "show", DEVICE], capture_output=True, text=True,
                              check=False).stdout  # fmt: skip

    taps.prepare()
    try:
        taps.prepare()
        fd = open_tap(DEVICE, namespace)
        try:
            rows = [LocalAddress(id=place, vrf=0, address=address, subnet=1)
                    for place, address in enumerate(("10.1.0.1", "2001:db8:1::1", "fe80::1"))]  # fmt: skip
            taps.configure([("default", row) for row in rows])
            first = shown()
            assert planned[0].mac in first
            assert "10.1.0.1/32" in first
            assert "2001:db8:1::1/128" in first
            assert "fe80::1/" not in first
            routes = subprocess.run(["ip", "-n", namespace, "route"], capture_output=True, text=True, check=True).stdout
            assert f"default dev {DEVICE}" in routes
            taps.configure([("default", rows[1])])
            assert "10.1.0.1" not in shown()
            assert "2001:db8:1::1/128" in shown()
        finally:
            os.close(fd)
    finally:
        taps.remove()
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert namespace not in listed
