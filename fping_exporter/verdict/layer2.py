"""Whom to ask at layer 2, and what the answers say of an instance."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from fping_exporter.model import (
    AddressKind,
    Family,
    Instance,
    Inventory,
    Layer2Doubt,
    Layer2Sweep,
    Layer2Target,
    Outcome,
    Probed,
    Target,
    Topology,
)
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.plan import Plan, port_of

__all__ = ["Layer2Plan", "deaf_places", "layer2_targets", "plan_layer2", "without_silence", "witness"]

_OVN = "ovn"
"""The mechanism driver whose switch may answer in place of guests."""

_CONTROLS = 3
"""Guests that answer pings and are asked all the same, for each place where silent ones are asked. Where not
one of them answers, questions do not arrive."""

Place = tuple[str, Family]
"""A vantage and an IP version."""


class Layer2Plan:
    """Who is asked at layer 2, by the instance's id."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.targets: dict[str, tuple[Layer2Target, ...]] = {}
        self.suspects: set[Layer2Target] = set()
        """Those whose port is one of OVN's."""
        self.controls: set[Layer2Target] = set()
        """Some of guests that answer pings."""

    def distinct(self) -> set[Layer2Target]:
        """Return all targets, each once."""
        return {target for targets in self.targets.values() for target in targets} | self.controls


def plan_layer2(
    inventory: Inventory, targets: Plan, outcomes: Mapping[Target, Outcome], errors: InstanceErrors
) -> Layer2Plan:
    """Choose whom to ask at layer 2: instances of which no address has answered a ping, and some controls.

    `outcomes` are the pings'. Asked are the fixed addresses that were planned to be pinged, where the MAC of
    their port is known. What is no address of a port, such as an allowed pair or a floating address, moves
    from one guest to the other, and proves nothing of either. `errors` gets the instances that cannot be
    planned because of a bug.
    """
    chosen = Layer2Plan()
    for instance in inventory.instances:
        planned = targets.get(instance.id, ())
        if any(each.target in outcomes and outcomes[each.target].alive for each in planned if each.target):
            continue
        try:
            found = dict(layer2_targets(instance, planned, inventory.topology))
        except Exception as error:  # noqa: BLE001, a bug costs one instance
            errors.note(instance, error)
            continue
        if found:
            chosen.targets[instance.id] = tuple(found)
            chosen.suspects.update(target for target, driver in found.items() if driver == _OVN)
    _add_controls(chosen, inventory, targets, outcomes)
    return chosen


def _add_controls(
    chosen: Layer2Plan,
    inventory: Inventory,
    targets: Plan,
    outcomes: Mapping[Target, Outcome],
) -> None:
    """Choose some of those that have answered pings, for each place where somebody silent is asked.

    One that meets a bug is passed over and keeps its verdict, which its pings have given.
    """
    passed_over = InstanceErrors()
    wanted = dict.fromkeys((target.place for target in chosen.distinct()), _CONTROLS)

    def serves(target: Target) -> bool:
        return target in outcomes and outcomes[target].alive and (target.vantage, target.family) in wanted

    for instance in inventory.instances:
        if not wanted:
            return
        answering = [each for each in targets.get(instance.id, ()) if each.target and serves(each.target)]
        try:
            found = dict(layer2_targets(instance, answering, inventory.topology)) if answering else {}
        except Exception as error:  # noqa: BLE001, a bug costs one instance
            passed_over.note(instance, error)
            continue
        for target, driver in found.items():
            if left := wanted.pop(target.place, 0):
                chosen.controls.add(target)
                if driver == _OVN:
                    chosen.suspects.add(target)
                if left > 1:
                    wanted[target.place] = left - 1


def layer2_targets(
    instance: Instance, planned: Iterable[Probed], topology: Topology
) -> Iterable[tuple[Layer2Target, str]]:
    """Yield the targets at layer 2, each with the driver that binds its port, as far as that is known."""
    for each in planned:
        address = each.address
        if each.target is None or address.kind is not AddressKind.FIXED:
            continue
        port = port_of(instance, address, topology)
        if (
            port is None and instance.id in topology.ports
        ):  # Neutron knows its ports, and none has the address
            continue
        if mac := (port.mac if port else address.mac):
            yield Layer2Target(each.target.vantage, each.target.ip, mac), port.driver if port else ""


def witness(targets: Iterable[Layer2Target], sweep: Layer2Sweep) -> bool | None:
    """Whether a kernel answered at any of an instance's targets; None where that is not known.

    One answer proves life. Where one is doubtful, the silence of the others proves nothing: a guest may have
    only that address set up. Those that are on no link here count as little as addresses that cannot be
    pinged.
    """
    targets = tuple(targets)
    known = [sweep.alive[target] for target in targets if target in sweep.alive]
    if any(known):
        return True
    return None if not known or not sweep.doubtful.keys().isdisjoint(targets) else False


def deaf_places(chosen: Layer2Plan, sweep: Layer2Sweep) -> set[Place]:
    """Return where nobody answers, not even guests that answer pings: silence says nothing there.

    Port security of the exporter's own port or a switch that is stuck may drop the questions.
    """
    silent = {target.place for target in chosen.controls if sweep.alive.get(target) is False}
    return silent - {target.place for target, alive in sweep.alive.items() if alive}


def without_silence(sweep: Layer2Sweep, places: Collection[Place]) -> Layer2Sweep:
    """Return the sweep as if nothing were known of those who are silent in some places."""
    unknown = {target for target, alive in sweep.alive.items() if not alive and target.place in places}
    return msgspec.structs.replace(
        sweep,
        alive={target: alive for target, alive in sweep.alive.items() if target not in unknown},
        doubtful={**sweep.doubtful, **dict.fromkeys(unknown, Layer2Doubt.DEAF)},
    )
