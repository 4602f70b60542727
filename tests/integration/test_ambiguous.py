"""One address, several owners: whose answer a ping from the exporter's own namespace would be."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.conftest import Start
from tests.integration.exporter import Scrape
from tests.integration.lab import Fate, Lab, Server
from tests.integration.process import eventually

pytestmark = pytest.mark.lab

QUICK = {"timeout": "500ms", "retries": 1}
SOON = {"inventory": "1s", "sweep": "500ms"}


def alive(scrape: Scrape) -> dict[str, bool]:
    return {id_: bool(up) for (id_, _), up in scrape.by("instance_alive", "id", "project_id").items()}


def reasons(scrape: Scrape) -> dict[str, str]:
    silent = scrape.by("instance_silent", "id", "project_id", "reason")
    return {id_: reason for id_, _, reason in silent}


def network_of(lab: Lab, server: Server, ip: str) -> str:
    (found,) = {addr.network_id for addr in lab.addrs() if (addr.server_id, addr.ip) == (server.id, ip)}
    return found


@contextlib.contextmanager
def routed(lab: Lab, ip: str, *, into: str) -> Iterator[None]:
    """Route an address from the root namespace into the tenant's network `into`, by the router of that."""
    ports = lab.call("network", "GET", f"/v2.0/ports?network_id={into}")["ports"]
    (router,) = {p["device_id"] for p in ports if p["device_owner"] == "network:router_interface"}
    shown = lab.call("network", "GET", f"/v2.0/routers/{router}")["router"]
    gateway = shown["external_gateway_info"]["external_fixed_ips"][0]["ip_address"]
    route = [f"{ip}/32", "via", gateway, "dev", "lab-pub"]
    subprocess.run(["ip", "route", "add", *route], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "del", *route], check=True)


def test_an_answer_is_no_evidence_where_two_tenants_have_the_address(lab: Lab, start: Start) -> None:
    one, other = lab.server("alpha-twin"), lab.server("beta-twin")
    (ip,) = set(one.addresses) & set(other.addresses)
    network = network_of(lab, one, ip)
    ambiguous = lab.ambiguous()

    lab.set_fate(Fate.SILENT, other.id)
    try:
        with routed(lab, ip, into=network):
            exporter = start(cloud="admin", probe=QUICK)
            scrape = exporter.scrape(timeout=30)
            log = exporter.log
            named = start(cloud="admin", probe=QUICK | {"local_networks": [network]}).scrape(timeout=30)
    finally:
        lab.set_fate(Fate.ALIVE, other.id)

    assert not {one.id, other.id} & set(alive(scrape))
    truth = lab.truth(lab.servers())
    expected = {id_ for id_, said in truth.items() if said.reason == "ambiguous_address"}
    assert {one.id, other.id} <= expected
    assert {id_ for id_, reason in reasons(scrape).items() if reason == "ambiguous_address"} == expected
    assert scrape.value("fping_exporter_ambiguous_targets") == len(ambiguous)
    (line,) = (line for line in log.splitlines() if "addresses: floating" in line)
    assert "probe.local_networks" in line
    assert any(ip in line for ip in ambiguous)

    assert alive(named)[one.id], "the one network that is said to be reached tells whose answer it is"
    assert other.id not in alive(named)
    assert reasons(named)[other.id] == "no_vantage"
    assert named.value("fping_exporter_ambiguous_targets") == 0


def test_one_twin_that_the_configuration_leaves_out_counts_as_well(lab: Lab, start: Start) -> None:
    one = lab.server("alpha-twin")
    scrape = start(cloud="admin", instances={"include": [{"id": one.id}]}).scrape(timeout=30)
    assert set(scrape.by("instance_silent", "id", "project_id", "reason")) == {
        (one.id, one.project_id, "ambiguous_address")
    }


class FloatingIp:
    """A floating address of the lab, which a test maps to other ports."""

    def __init__(self, lab: Lab, ip: str) -> None:
        self._lab = lab
        (found,) = lab.call("network", "GET", f"/v2.0/floatingips?floating_ip_address={ip}")["floatingips"]
        self.ip = ip
        self.port: str = found["port_id"]
        """That it was mapped to at first."""
        self._path = f"/v2.0/floatingips/{found['id']}"

    def move(self, port: str) -> None:
        """Map it to a port, which Nova does not hear of."""
        self._lab.call("network", "PUT", self._path, {"floatingip": {"port_id": port}})

    def tell_nova(self, owner: str, *others: str) -> None:
        """Let Nova read the addresses of these servers again, until it lists the address with `owner`."""
        events = [{"name": "network-changed", "server_uuid": id_} for id_ in (owner, *others)]
        self._lab.call("compute", "POST", "/os-server-external-events", {"events": events})

        def listed() -> None:
            having = {s.id for s in self._lab.servers().values() if self.ip in s.addresses}
            assert having == {owner}

        eventually(listed)


def test_a_floating_address_that_moves_follows_neutron(lab: Lab, start: Start) -> None:
    own = lab.servers(cloud="alpha")
    ip, old = next(
        (addr.ip, addr.server_id)
        for addr in lab.addrs()
        if addr.network_kind == "external" and addr.server_id in own
    )
    fates = {addr.server_id: addr.fate for addr in lab.addrs() if addr.network_kind == "tenant"}
    new = next(guest.id for guest in lab.guests("alpha-private") if fates[guest.id] is Fate.ALIVE)
    (port,) = lab.call("network", "GET", f"/v2.0/ports?device_id={new}")["ports"]
    moving = FloatingIp(lab, ip)
    lab.set_fate(Fate.SILENT, old)
    exporter = start(cloud="admin", cache=SOON, probe=QUICK | {"addresses": "floating"})

    def check(*expected: tuple[bool | None, str | None]) -> None:
        scrape = exporter.scrape()
        assert [(alive(scrape).get(id_), reasons(scrape).get(id_)) for id_ in (old, new)] == [*expected]
        unknown = [alive for alive, _ in expected if alive is None]
        assert scrape.value("fping_exporter_ambiguous_targets") == len(unknown)

    try:
        eventually(lambda: check((False, "no_reply"), (False, "no_address")))
        moving.move(port["id"])
        lab.follow()  # packets follow Neutron
        assert ip in lab.servers()[old].addresses, "Nova has not heard of it"
        eventually(lambda: check((False, "no_address"), (True, None)))
        moving.tell_nova(new, old)
        eventually(lambda: check((False, "no_address"), (True, None)))
    finally:
        moving.move(moving.port)
        moving.tell_nova(old, new)
        lab.follow()
        lab.set_fate(fates[old], old)
