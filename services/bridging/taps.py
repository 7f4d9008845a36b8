"""Which punt tap each VRF has. Pure; a VRF keeps the tap that it has already."""

from __future__ import annotations

from collections.abc import Iterator

from services.bridging import bridging_pb2 as pb
from services.core.objects import Objects, Problem
from services.core.plan import Context, Port
from services.core.ports import PUNT_PREFIX, SPARE_PREFIX


def taps(objects: Objects, context: Context) -> dict[str, tuple[str, Port]]:
    """VRF -> name and port of its punt tap. A VRF that needs one while none is left is missing."""
    vrfs = objects.names("Vrf")
    found = {
        vrf: (PUNT_PREFIX + vrf, context.ports[PUNT_PREFIX + vrf]) for vrf in vrfs if PUNT_PREFIX + vrf in context.ports
    }
    spare = {port.number: (name, port) for name, port in context.ports.items() if name.startswith(SPARE_PREFIX)}
    if not spare:
        return found
    held = _held(context)
    wanting = sorted(_with_addresses(objects) & set(vrfs) - set(found))
    for vrf in wanting:
        number = held.get(context.ids("vrf", vrf))
        if number in spare:
            found[vrf] = spare.pop(number)
    # Taps that a VRF gives up in this very change come last: its packets may still be on their way.
    free = sorted(spare, key=lambda number: (number in held.values(), number))
    for vrf, number in zip([one for one in wanting if one not in found], free, strict=False):
        found[vrf] = spare[number]
    return found


def without_tap(objects: Objects, context: Context | None) -> Iterator[Problem]:
    """A problem for each VRF that needs a tap while none is left. A card without spare taps promises none."""
    spares = sum(name.startswith(SPARE_PREFIX) for name in context.ports) if context is not None else 0
    if context is None or not spares:
        return
    found = taps(objects, context)
    needing = _with_addresses(objects)
    for item in objects:
        if item.kind == "Vrf" and item.name in needing and item.name not in found:
            yield item.problem(
                "",
                f"no punt tap is left for VRF {item.name}, which has addresses of the card",
                limit=f"{spares} of them beside those that card.toml names a tap for",
                fix="Take one out, or raise punt_taps in card.toml; that counts after dsn card stop and start.",
            )


def _with_addresses(objects: Objects) -> set[str]:
    """VRFs in which the card has addresses: on those alone can its programs be reached."""
    subnets = {item.spec.vrf for item in objects.of(pb.Subnet) if item.spec.gateways}
    return subnets | {item.spec.vrf for item in objects.of(pb.Uplink) if item.spec.addresses}


def _held(context: Context) -> dict[int, int]:
    """Id of a VRF -> number of the port that it has now."""
    return {
        int(row_id): int(port)
        for rows in context.installed.get("vrf", ())
        for row_id, port in zip(rows.data["id"], rows.data["punt_port"], strict=True)
    }
