"""Why a guest is silent: the security groups of the real Neutron, set one way after the other."""

import contextlib
from collections.abc import Iterator
from typing import Any, Self

import pytest

from tests.integration.conftest import Start
from tests.integration.exporter import Exporter
from tests.integration.lab import Fate, Lab, Server
from tests.integration.process import eventually

pytestmark = pytest.mark.lab

SENDER, SENDER6 = "10.182.0.2", "fd0a:b6::2"
"""The DHCP port's addresses, which the namespace sends from."""
ECHO = {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0}


class Groups:
    """Security groups of this test, and the ports that are put into them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return self._lab.call("network", method, f"/v2.0/{path}", body)

    def create(self, *rules: dict[str, Any], project: str) -> str:
        """Create a group with these ingress rules beside those for egress that every group has."""
        body = {"security_group": {"name": "test-reasons", "project_id": project}}
        group = str(self.call("POST", "security-groups", body)["security_group"]["id"])
        self._undo.callback(self.call, "DELETE", f"security-groups/{group}")
        for rule in rules:
            given = {"direction": "ingress", "ethertype": "IPv4", "security_group_id": group} | rule
            if given.get("remote_group_id") == "own":
                given["remote_group_id"] = group
            self.call("POST", "security-group-rules", {"security_group_rule": given})
        return group

    def address_group(self, *addresses: str, project: str) -> str:
        body = {"address_group": {"name": "test", "project_id": project, "addresses": addresses}}
        group = str(self.call("POST", "address-groups", body)["address_group"]["id"])
        self._undo.callback(self.call, "DELETE", f"address-groups/{group}")
        return group

    def change(self, port: str, **values: object) -> None:
        """Change a port until the end of the test."""
        shown = self.call("GET", f"ports/{port}")["port"]
        self._undo.callback(self._put, port, {name: shown[name] for name in values})
        self._put(port, values)

    def _put(self, port: str, values: dict[str, object]) -> None:
        self.call("PUT", f"ports/{port}", {"port": values})


@pytest.fixture
def guest(lab: Lab) -> Iterator[Server]:
    """A server on its project's own network, which drops what comes."""
    server = lab.guests("alpha-private")[0]
    before = {addr.fate for addr in lab.addrs() if addr.server_id == server.id}.pop()
    lab.set_fate(Fate.SILENT, server.id)
    yield server
    lab.set_fate(before, server.id)


@pytest.fixture
def groups(lab: Lab) -> Iterator[Groups]:
    with Groups(lab) as groups:
        yield groups


@pytest.fixture
def port(groups: Groups, guest: Server) -> str:
    (found,) = groups.call("GET", f"ports?device_id={guest.id}")["ports"]
    return str(found["id"])


def watch(start: Start, guest: Server, *, families: tuple[int, ...] = (4,)) -> Exporter:
    return start(
        cloud="admin",
        cache={"inventory": "1s", "sweep": "500ms"},
        instances={"include": [{"id": guest.id}]},
        probe={
            "vantages": ["qdhcp"],
            "addresses": "fixed",
            "families": list(families),
            "timeout": "200ms",
            "retries": 0,
        },
    )


def soon(exporter: Exporter, reason: str | None) -> None:
    """Assert that the guest comes to be silent for that reason, or alive."""

    def check() -> None:
        scrape = exporter.scrape()
        said = [why for _, _, why in scrape.by("instance_silent", "id", "project_id", "reason")]
        assert said == ([reason] if reason else [])
        assert list(scrape.by("instance_alive", "id", "project_id").values()) == [reason is None]

    eventually(check)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([], "icmp_blocked"),
        ([{"protocol": "tcp"}], "icmp_blocked"),
        ([{"protocol": "icmp"}], "no_reply"),
        ([{"protocol": "1"}], "no_reply"),
        ([{}], "no_reply"),
        ([ECHO], "no_reply"),
        ([{"protocol": "icmp", "port_range_min": 0}], "icmp_blocked"),
        ([ECHO | {"remote_ip_prefix": "10.182.0.0/19"}], "no_reply"),
        ([ECHO | {"remote_ip_prefix": f"{SENDER}/32"}], "no_reply"),
        ([ECHO | {"remote_ip_prefix": "192.0.2.0/24"}], "icmp_blocked"),
        ([ECHO | {"remote_group_id": "own"}], "icmp_blocked"),
        ([{"protocol": "ipv6-icmp", "ethertype": "IPv6"}], "icmp_blocked"),
        ([{"direction": "egress", "protocol": "icmp", "remote_ip_prefix": "192.0.2.0/24"}], "icmp_blocked"),
        ([{"protocol": "tcp"}, {"protocol": "icmp"}], "no_reply"),
    ],
)
def test_rules_that_let_a_ping_in(
    start: Start, guest: Server, groups: Groups, port: str, rules: list[dict[str, Any]], reason: str
) -> None:
    groups.change(port, security_groups=[groups.create(*rules, project=guest.project_id)])
    soon(watch(start, guest), reason)


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [("ipv6-icmp", "no_reply"), ("icmp", "no_reply"), ("58", "no_reply"), ("tcp", "icmp_blocked")],
)
def test_rules_for_ipv6(
    start: Start, guest: Server, groups: Groups, port: str, protocol: str, reason: str
) -> None:
    rule = {"ethertype": "IPv6", "protocol": protocol}
    groups.change(port, security_groups=[groups.create(rule, project=guest.project_id)])
    soon(watch(start, guest, families=(6,)), reason)
    soon(watch(start, guest, families=(4, 6)), reason)


def test_no_group_at_all_and_no_port_security(start: Start, guest: Server, groups: Groups, port: str) -> None:
    exporter = watch(start, guest)
    soon(exporter, "no_reply")
    groups.change(port, security_groups=[])
    soon(exporter, "icmp_blocked")
    groups.change(port, port_security_enabled=False)
    soon(exporter, "no_reply")


def test_members_of_a_group(lab: Lab, start: Start, guest: Server, groups: Groups, port: str) -> None:
    """The sender's port is none, but another port of the group may use its address as well."""
    group = groups.create(ECHO | {"remote_group_id": "own"}, project=guest.project_id)
    groups.change(port, security_groups=[group])
    exporter = watch(start, guest)
    soon(exporter, "icmp_blocked")

    other = lab.guests("alpha-private")[1]
    (friend,) = groups.call("GET", f"ports?device_id={other.id}")["ports"]
    groups.change(
        friend["id"], security_groups=[group], allowed_address_pairs=[{"ip_address": f"{SENDER}/32"}]
    )
    soon(exporter, "no_reply")


@pytest.mark.parametrize(("address", "reason"), [(SENDER, "no_reply"), ("192.0.2.1", "icmp_blocked")])
def test_address_groups(
    start: Start, guest: Server, groups: Groups, port: str, address: str, reason: str
) -> None:
    named = groups.address_group(f"{address}/32", project=guest.project_id)
    group = groups.create(ECHO | {"remote_address_group_id": named}, project=guest.project_id)
    groups.change(port, security_groups=[group])
    soon(watch(start, guest), reason)


def test_who_answers_is_alive_whatever_the_rules_say(
    lab: Lab, start: Start, guest: Server, groups: Groups, port: str
) -> None:
    groups.change(port, security_groups=[])
    exporter = watch(start, guest)
    soon(exporter, "icmp_blocked")
    lab.set_fate(Fate.ALIVE, guest.id)
    soon(exporter, None)


def test_a_blocked_guest_that_is_not_there_is_blocked_first(
    lab: Lab, start: Start, guest: Server, groups: Groups, port: str
) -> None:
    groups.change(port, security_groups=[])
    lab.set_fate(Fate.ABSENT, guest.id)
    soon(watch(start, guest), "icmp_blocked")


def test_a_member_reads_its_own_groups(start: Start, guest: Server, groups: Groups, port: str) -> None:
    exporter = start(
        cloud="alpha",
        all_projects=False,
        cache={"inventory": "1s", "sweep": "500ms"},
        instances={"include": [{"id": guest.id}]},
        probe={
            "vantages": ["qdhcp"],
            "families": [4],
            "addresses": "fixed",
            "timeout": "200ms",
            "retries": 0,
        },
    )
    soon(exporter, "no_reply")
    groups.change(port, security_groups=[groups.create(project=guest.project_id)])
    soon(exporter, "icmp_blocked")
