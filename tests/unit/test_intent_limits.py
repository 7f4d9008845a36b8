"""Limits of vNICs that the card has no room for: `dsn check` warns of them."""

from __future__ import annotations

from pathlib import Path

from services.core.intent import Source, load
from services.core.objects import Problem
from services.core.plan import Context, Port
from services.core.service import discover
from tests.unit.test_cli_commands import dsn

SERVICES = discover()
SUBNET = "kind: Subnet\nname: s\nspec: {gateways: [10.1.0.1/24]}"
POLICY = "kind: FirewallPolicy\nname: all\nspec: {rules: {all: allow tcp from any to any}}"


def vnic(place: int, *limits: str) -> str:
    spec = [f"port: p{place}", f'mac: "02:00:00:00:00:{place:02x}"', "subnet: s", "policy: all", *limits]
    return f"kind: Vnic\nname: v{place}\nspec: {{{', '.join(spec)}}}"


def intent(*documents: str) -> str:
    return "\n---\n".join((SUBNET, POLICY, *documents)) + "\n"


def told(*documents: str, connections: int = 1000) -> list[Problem]:
    context = Context(ports={f"p{n}": Port(n) for n in range(6)}, connections=connections)
    problems = load([Source("x.yaml", intent(*documents).encode())], SERVICES, context).problems
    assert all(problem.warning for problem in problems), problems
    return list(problems)


def test_limits_that_fit_are_silent() -> None:
    assert told(*(vnic(n, "flowLimit: 100", "inboundFlowLimit: 150") for n in range(4))) == []
    assert told(*(vnic(n) for n in range(6))) == []  # what says no number follows the card's
    assert told(vnic(0, "flowLimit: 750"), vnic(1)) == []
    assert told(vnic(0, "flowLimit: 4000000000"), connections=0) == []  # no card is known


def test_a_limit_of_challenges_that_hides_nothing() -> None:
    """Fewer than 512 count as 512, and that is told."""
    (problem,) = told(vnic(0, "challengeLimit: 511"), vnic(1, "challengeLimit: 512"), vnic(2), connections=0)
    assert (problem.object, problem.field) == ("Vnic v0", "challengeLimit")
    assert "511 challenge ACKs a second count as 512" in problem.message


def test_limits_that_together_are_more_than_fits() -> None:
    """Told once, at the largest."""
    (problem,) = told(vnic(0, "flowLimit: 100"), vnic(1, "flowLimit: 200", "inboundFlowLimit: 501"),
                      vnic(2, "flowLimit: 100", "inboundFlowLimit: 100"), vnic(3))  # fmt: skip
    assert (problem.object, problem.field) == ("Vnic v1", "inboundFlowLimit")
    assert "3 vNICs say come to 1,001 connections" in problem.message
    assert problem.limit == "1,000 connections, in all workers"
    assert "raise connections in card.toml" in problem.fix


def test_a_vnic_that_fills_the_table_alone() -> None:
    """What it doesn't say is a quarter, as the card has it."""
    (problem,) = told(vnic(0, "flowLimit: 751"), vnic(1), vnic(2, "flowLimit: 10"))
    assert (problem.object, problem.field) == ("Vnic v0", "flowLimit")
    assert "it alone may have 1,001 connections" in problem.message
    fields = [
        one.field for one in told(vnic(0, "inboundFlowLimit: 999"), vnic(1, "flowLimit: 500", "inboundFlowLimit: 501"))
    ]
    assert fields == ["inboundFlowLimit", "inboundFlowLimit"]


def test_check_counts_what_fits_in_all_workers_of_card_toml(tmp_path: Path) -> None:
    file, card = tmp_path / "intent.yaml", tmp_path / "card.toml"
    file.write_text(intent(vnic(0, "flowLimit: 1000", "inboundFlowLimit: 1000")))
    card.write_text('connections = 500\nworkers = 4\n[ports.p0]\ndevice = "replay"\n')
    fits = dsn("check", str(file), "--card", str(card))
    assert (fits.exit_code, fits.output) == (0, "3 objects, no errors\n")
    card.write_text('connections = 500\nworkers = 3\n[ports.p0]\ndevice = "replay"\n')
    warned = dsn("check", str(file), "--card", str(card))
    assert warned.exit_code == 0
    assert "flowLimit" in warned.output
    assert "1,500 connections" in warned.output
