"""Punt taps: planned purely, made in namespaces of their own, given the card's addresses, and gone in the end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from hal.packet.contract import LoadConfig, PortConfig
from hal.packet.dpdk.linux_port import open_tap
from hal.packet.stages.bridge._generated import LocalAddress
from sdk.dsnd.taps import DEVICE, Taps, plan


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
