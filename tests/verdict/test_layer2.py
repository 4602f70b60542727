"""Whom layer 2 is asked about, and what its answers change."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.model import (
    LOCAL,
    NOT_ASKED,
    Address,
    Instance,
    Layer2Doubt,
    Layer2Sweep,
    Layer2Target,
    Outcome,
    Port,
    Reason,
    SecurityRule,
    Topology,
    Verdict,
)
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.layer2 import Layer2Plan, deaf_places, plan_layer2, without_silence, witness
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, SILENT, UNREACHABLE, address, instance, inventory, sweep

MAC, OTHER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
FOUR, SIX = address("10.0.0.1", mac=MAC), address("fd00::1", mac=MAC)
FLOATING = address("192.0.2.1", kind="floating", mac=MAC)


def planned(
    *addresses: Address,
    outcomes: Mapping[str, Outcome] | None = None,
    topology: Topology = Topology(),  # noqa: B008, it is frozen
) -> Layer2Plan:
    there = inventory(instance("a", *addresses), topology=topology)
    targets = plan(there.instances, topology, config.Probe())
    pings = sweep(outcomes if outcomes is not None else {each.ip: SILENT for each in addresses})
    return plan_layer2(there, targets, pings.outcomes, InstanceErrors())


def asked(*addresses: Address, **options: object) -> set[tuple[str, str]]:
    return {(each.ip, each.mac) for each in planned(*addresses, **options).distinct()}  # type: ignore[arg-type]


def test_the_fixed_addresses_of_both_families_are_asked_at_their_ports() -> None:
    assert asked(FOUR, SIX, FLOATING) == {("10.0.0.1", MAC), ("fd00::1", MAC)}


@pytest.mark.parametrize("outcome", [SILENT, UNREACHABLE, NOT_ASKED])
def test_whoever_has_not_answered_is_asked(outcome: Outcome) -> None:
    assert asked(FOUR, outcomes={"10.0.0.1": outcome}) == {("10.0.0.1", MAC)}


def test_whoever_has_answered_at_any_address_is_not() -> None:
    assert (
        asked(FOUR, SIX, FLOATING, outcomes={"10.0.0.1": SILENT, "fd00::1": SILENT, "192.0.2.1": ALIVE})
        == set()
    )


def test_without_a_mac_nobody_is_asked() -> None:
    assert asked(address("10.0.0.1")) == set()


def ports(*some: Port) -> Topology:
    return Topology(ports={"a": some})


def test_neutrons_word_on_the_mac_goes_before_novas() -> None:
    port = Port("net", OTHER, {"10.0.0.1": "subnet"}, ())
    assert asked(address("10.0.0.1"), topology=ports(port)) == {("10.0.0.1", OTHER)}


@pytest.mark.parametrize(
    "port",
    [
        pytest.param(Port("net", MAC, {"10.0.0.9": "subnet"}, ()), id="the port has another address"),
        pytest.param(
            Port("net", OTHER, {"10.0.0.1": "subnet"}, ()), id="the address is at another port by now"
        ),
    ],
)
def test_what_is_no_address_of_the_port_is_not_asked(port: Port) -> None:
    """As an allowed address pair, or an address that Nova remembers longer than Neutron."""
    assert asked(FOUR, topology=ports(port)) == set()


def test_addresses_without_a_vantage_are_not_asked() -> None:
    there = inventory(instance("a", FOUR), instance("b", FOUR))
    targets = plan(there.instances, there.topology, config.Probe())
    assert plan_layer2(there, targets, {}, InstanceErrors()).targets == {}


@pytest.mark.parametrize(("driver", "suspect"), [("ovn", True), ("openvswitch", False), ("", False)])
def test_guests_on_ovns_ports_are_suspects(driver: str, suspect: bool) -> None:  # noqa: FBT001
    port = Port("net", MAC, {"10.0.0.1": "subnet"}, (), driver=driver)
    got = planned(FOUR, topology=ports(port))
    assert got.suspects == (got.distinct() if suspect else set())


def guests(silent: int, alive: int) -> Layer2Plan:
    """Plan for guests of each kind, on OVN's ports."""
    ips = {
        f"10.0.0.{number}": SILENT if number <= silent else ALIVE for number in range(1, silent + alive + 1)
    }
    topology = Topology(
        ports={ip: (Port("net", f"mac-{ip}", {ip: "subnet"}, (), driver="ovn"),) for ip in ips}
    )
    there = inventory(*(instance(ip, address(ip)) for ip in ips), topology=topology)
    asked_there = plan(there.instances, topology, config.Probe())
    return plan_layer2(there, asked_there, sweep(ips).outcomes, InstanceErrors())


def test_a_control_that_meets_a_bug_is_passed_over_and_keeps_its_verdict() -> None:
    odd = msgspec.structs.replace(instance("odd", "10.0.0.2"), addresses=(address("10.0.0.2", mac="m"),))
    broken: Any = 5
    topology = Topology(ports={"odd": broken, "a": (Port("net", MAC, {"10.0.0.1": "subnet"}, ()),)})
    there = inventory(instance("a", FOUR), odd, instance("b", address("10.0.0.3", mac=OTHER)))
    targets = plan(there.instances, there.topology, config.Probe())
    there = msgspec.structs.replace(there, topology=topology)
    outcomes = sweep({"10.0.0.1": SILENT, "10.0.0.2": ALIVE, "10.0.0.3": ALIVE}).outcomes
    errors = InstanceErrors()
    chosen = plan_layer2(there, targets, outcomes, errors)
    assert {each.ip for each in chosen.controls} == {"10.0.0.3"}
    assert errors.ids == set()


@pytest.mark.parametrize(
    ("silent", "alive", "controls"),
    [
        pytest.param(0, 5, 0, id="where nobody is silent, there is nothing to control"),
        pytest.param(2, 5, 3, id="three are enough"),
        pytest.param(2, 1, 1, id="there is one"),
        pytest.param(2, 0, 0, id="there is none"),
    ],
)
def test_some_guests_that_answer_pings_are_asked_as_controls(silent: int, alive: int, controls: int) -> None:
    chosen = guests(silent, alive)
    assert len(chosen.targets) == silent
    assert len(chosen.controls) == controls
    assert chosen.suspects == chosen.distinct()
    assert len(chosen.distinct()) == silent + controls


@pytest.mark.parametrize(
    ("answers", "deaf"),
    [
        pytest.param([], True, id="nobody answers"),
        pytest.param(["10.0.0.3"], False, id="a control answers"),
        pytest.param(["10.0.0.1"], False, id="one that is silent to pings answers"),
    ],
)
def test_where_not_even_controls_answer_silence_says_nothing(answers: list[str], deaf: bool) -> None:  # noqa: FBT001
    chosen = guests(2, 3)
    heard = Layer2Sweep(alive={target: target.ip in answers for target in chosen.distinct()})
    places = deaf_places(chosen, heard)
    assert places == ({(LOCAL, 4)} if deaf else set())
    left = without_silence(heard, places)
    assert left.alive == ({} if deaf else heard.alive)
    assert left.doubtful == (dict.fromkeys(chosen.distinct(), Layer2Doubt.DEAF) if deaf else {})


def test_without_controls_silence_counts() -> None:
    chosen = guests(2, 0)
    assert deaf_places(chosen, Layer2Sweep(alive=dict.fromkeys(chosen.distinct(), False))) == set()


def targets(*ips: str) -> list[Layer2Target]:
    return [Layer2Target(LOCAL, ip, MAC) for ip in ips]


@pytest.mark.parametrize(
    ("alive", "word"),
    [({}, None), ({"10.0.0.1": False}, False), ({"10.0.0.1": False, "fd00::1": True}, True)],
)
def test_one_answer_proves_life(alive: dict[str, bool], word: bool | None) -> None:  # noqa: FBT001
    answers = Layer2Sweep(alive={Layer2Target(LOCAL, ip, MAC): lives for ip, lives in alive.items()})
    assert witness(targets("10.0.0.1", "fd00::1"), answers) is word


@pytest.mark.parametrize(
    ("alive", "word"), [({}, None), ({"10.0.0.1": False}, None), ({"10.0.0.1": True}, True)]
)
def test_where_nothing_is_known_of_one_address_the_others_silence_is_no_death(
    alive: dict[str, bool],
    word: bool | None,  # noqa: FBT001
) -> None:
    """As where OVN answers for one family, and the guest has only that set up."""
    answers = Layer2Sweep(
        alive={Layer2Target(LOCAL, ip, MAC): lives for ip, lives in alive.items()},
        doubtful=dict.fromkeys(targets("fd00::1"), Layer2Doubt.IMPERSONATED),
    )
    assert witness(targets("10.0.0.1", "fd00::1"), answers) is word


def verdict(one: Instance, outcome: Outcome, *, alive: bool | None, admitted: bool | None = None) -> Verdict:
    """`admitted` says whether the port's security group lets pings in; None: it is not known."""
    rules = {} if admitted is None else {"g": (SecurityRule(4),) if admitted else ()}
    topology = Topology(ports={one.id: (Port("net", MAC, {"10.0.0.1": "subnet"}, ("g",)),)}, rules=rules)
    there = inventory(one, topology=topology)
    asked_there = plan(there.instances, topology, config.Probe())
    pings = sweep({"10.0.0.1": outcome})
    second = plan_layer2(there, asked_there, pings.outcomes, InstanceErrors())
    answers = {} if alive is None else dict.fromkeys(second.distinct(), alive)
    return judge(
        there,
        targets=asked_there,
        sweep=msgspec.structs.replace(pings, layer2=Layer2Sweep(alive=answers)),
        layer2=second,
        sources=lambda some: dict.fromkeys(some, "10.0.0.2"),
    ).verdicts[0]


@pytest.mark.parametrize("outcome", [SILENT, UNREACHABLE])
@pytest.mark.parametrize("admitted", [True, None])
def test_a_kernel_that_answers_has_ignored_the_ping(outcome: Outcome, admitted: bool | None) -> None:  # noqa: FBT001
    got = verdict(instance("a", FOUR), outcome, alive=True, admitted=admitted)
    assert (got.alive, got.layer2_alive, got.reason) == (False, True, Reason.ICMP_IGNORED)


@pytest.mark.parametrize("alive", [True, False, None])
def test_a_security_group_explains_the_silence_whatever_the_kernel_does(alive: bool | None) -> None:  # noqa: FBT001
    got = verdict(instance("a", FOUR), SILENT, alive=alive, admitted=False)
    assert (got.alive, got.layer2_alive, got.reason) == (False, alive, Reason.ICMP_BLOCKED)


@pytest.mark.parametrize(
    ("outcome", "reason"), [(SILENT, Reason.NO_REPLY), (UNREACHABLE, Reason.UNREACHABLE)]
)
@pytest.mark.parametrize("alive", [False, None])
def test_silence_at_layer_2_changes_no_reason(outcome: Outcome, reason: Reason, alive: bool | None) -> None:  # noqa: FBT001
    got = verdict(instance("a", FOUR), outcome, alive=alive, admitted=True)
    assert (got.alive, got.layer2_alive, got.reason) == (False, alive, reason)


def test_an_instance_that_is_off_stays_off() -> None:
    got = verdict(instance("a", FOUR, status="SHUTOFF"), SILENT, alive=True, admitted=True)
    assert (got.layer2_alive, got.reason) == (True, Reason.NOT_ACTIVE)


def test_an_instance_that_could_not_be_pinged_may_be_known_to_live() -> None:
    """Nobody could send a ping, as the neighbour table was full."""
    got = verdict(instance("a", FOUR), NOT_ASKED, alive=True)
    assert (got.alive, got.layer2_alive, got.reason) == (None, True, Reason.NO_VANTAGE)
