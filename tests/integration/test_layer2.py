"""Guests that may not be pinged, on the real Neutron: layer 2 says whether they live.

What answers is a kernel of its own, behind an interface with the MAC and the address of the port.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.integration.conftest import Start
from tests.integration.exporter import Exporter
from tests.integration.lab import Fate, Lab, Server
from tests.integration.process import eventually
from tests.integration.prometheus import Prometheus
from tests.integration.test_reasons import Groups
from tests.netns import Namespace

pytestmark = pytest.mark.lab

DROP_PINGS = """
table inet guest {
    chain input {
        type filter hook input priority 0;
        icmp type echo-request drop
        icmpv6 type echo-request drop
    }
}
"""
"""What Neutron's firewall does on a compute node where no rule admits pings: ARP and NDP pass it."""
RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "fping-exporter.rules.yml"


class Guest(Namespace):
    """The kernel of a server on its project's own network."""

    def __init__(self, server: Server, port: dict[str, Any], lengths: dict[str, str]) -> None:
        super().__init__("guest")
        self.server = server
        self.port = port
        self._lengths = lengths

    def __enter__(self) -> Self:
        super().__enter__()
        there = self._network()
        self.sysctl(ipv6__conf__default__accept_dad="0")
        there.ip(
            f"link add test0 type veth peer name eth0 address {self.port['mac_address']} netns {self.name}",
            "link set test0 master br0 up",
        )
        self.ip(
            "link set eth0 up",
            *(
                f"addr add {fixed['ip_address']}/{self._lengths[fixed['subnet_id']]} dev eth0"
                for fixed in self.port["fixed_ips"]
            ),
        )
        self.nft(DROP_PINGS)
        return self

    def __exit__(self, *error: object) -> None:
        # The namespace's end takes it away as well, but some time later: the next guest has one of that name.
        try:
            self._network().ip("link delete test0")
        finally:
            super().__exit__(*error)

    def _network(self) -> Namespace:
        """The namespace of the lab that has the bridge of the guest's network."""
        there = Namespace("")
        there.name = f"vms-{self.port['network_id']}"
        return there

    def let_pings_in(self) -> None:
        self.nft("flush ruleset\n")

    def die(self) -> None:
        """Let its kernel hang: the port stays, and nothing answers."""
        self.ip("link set eth0 down")


@pytest.fixture
def groups(lab: Lab) -> Iterator[Groups]:
    with Groups(lab) as groups:
        yield groups


@pytest.fixture
def guest(lab: Lab, groups: Groups) -> Iterator[Guest]:
    server = lab.guests("alpha-private")[0]
    before = {addr.fate for addr in lab.addrs() if addr.server_id == server.id}.pop()
    lab.set_fate(Fate.ABSENT, server.id)
    (port,) = groups.call("GET", f"ports?device_id={server.id}")["ports"]
    subnets = groups.call("GET", f"subnets?network_id={port['network_id']}")["subnets"]
    lengths = {subnet["id"]: subnet["cidr"].partition("/")[2] for subnet in subnets}
    try:
        with Guest(server, port, lengths) as guest:
            lab.announce(server.id)
            yield guest
    finally:
        lab.set_fate(before, server.id)


def watch(start: Start, guest: Guest, **probe: object) -> Exporter:
    return start(
        cloud="admin",
        cache={"inventory": "1s", "sweep": "500ms"},
        instances={"include": [{"id": guest.server.id}]},
        probe={"vantages": ["qdhcp"], "addresses": "fixed", "timeout": "200ms", "retries": 0} | probe,
    )


def soon(exporter: Exporter, *, reason: str | None, layer2: float | None) -> None:
    """Assert that the guest comes to be silent for that reason, and what layer 2 says of it."""

    def check() -> None:
        scrape = exporter.scrape()
        said = [why for _, _, why in scrape.by("instance_silent", "id", "project_id", "reason")]
        assert said == ([reason] if reason else [])
        assert list(scrape.by("instance_layer2_alive", "id", "project_id").values()) == (
            [] if layer2 is None else [layer2]
        )
        assert scrape.by("fping_exporter_layer2_trusted", "vantage") == {("qdhcp",): 1}

    eventually(check)


def test_no_group_lets_a_ping_in_and_the_kernel_lives_and_dies(
    start: Start, guest: Guest, groups: Groups
) -> None:
    groups.change(guest.port["id"], security_groups=[])
    exporter = watch(start, guest)
    soon(exporter, reason="icmp_blocked", layer2=1)
    guest.die()
    soon(exporter, reason="icmp_blocked", layer2=0)


@pytest.mark.parametrize("families", [[4], [6]])
def test_either_family_is_a_witness(start: Start, guest: Guest, groups: Groups, families: list[int]) -> None:
    groups.change(guest.port["id"], security_groups=[])
    soon(watch(start, guest, families=families), reason="icmp_blocked", layer2=1)


def test_rules_let_the_ping_in_and_the_guest_ignores_it(start: Start, guest: Guest) -> None:
    exporter = watch(start, guest)
    soon(exporter, reason="icmp_ignored", layer2=1)
    guest.die()
    soon(exporter, reason="no_reply", layer2=0)


def test_who_answers_pings_is_not_asked_at_layer_2(start: Start, guest: Guest) -> None:
    guest.let_pings_in()
    exporter = watch(start, guest)

    def check() -> None:
        scrape = exporter.scrape()
        assert list(scrape.by("instance_alive", "id", "project_id").values()) == [1]
        assert scrape.by("instance_layer2_alive", "id", "project_id") == {}
        assert scrape.value("fping_exporter_layer2_sent_total") == 0

    eventually(check)


def test_layer_2_is_off_where_nobody_wants_it(start: Start, guest: Guest, groups: Groups) -> None:
    groups.change(guest.port["id"], security_groups=[])
    exporter = watch(start, guest, layer2=False)

    def check() -> None:
        scrape = exporter.scrape()
        assert [why for _, _, why in scrape.by("instance_silent", "id", "project_id", "reason")] == [
            "icmp_blocked"
        ]
        assert scrape.by("instance_layer2_alive", "id", "project_id") == {}

    eventually(check)


def impatient_rules(directory: Path) -> Path:
    """The rules as they are shipped, but for their waits."""
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule.pop("for", None)
            rule.pop("keep_firing_for", None)
    path = directory / "impatient.rules.yml"
    path.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return path


def test_the_alert_on_a_guest_that_was_never_pingable(
    start: Start, guest: Guest, groups: Groups, tmp_path: Path
) -> None:
    groups.change(guest.port["id"], security_groups=[])
    exporter = watch(start, guest)
    with Prometheus(tmp_path, exporter.address, rules=impatient_rules(tmp_path)) as prometheus:

        def firing() -> set[str]:
            found = prometheus.query(f'ALERTS{{alertstate="firing", id="{guest.server.id}"}}')
            return {labels["alertname"] for labels, _ in found}

        def lives() -> None:
            assert prometheus.query(f'instance_layer2_alive{{id="{guest.server.id}"}} == 1')
            assert "InstanceSilent" not in firing()

        def missed() -> None:
            assert "InstanceSilent" in firing()

        eventually(lives)
        guest.die()
        eventually(missed)
        guest.ip("link set eth0 up")
        eventually(lives)
