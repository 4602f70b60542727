"""What /metrics says from inside the tenants' networks."""

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Start
from tests.integration.exporter import Exporter, Scrape, write_config
from tests.integration.lab import Addr, Fate, Lab, Service
from tests.integration.process import ROOT, eventually, free_port

pytestmark = pytest.mark.lab

PATIENT = {"timeout": "2s", "retries": 1}
QUICK = {"timeout": "500ms", "retries": 1}
SOON = {"inventory": "2s", "sweep": "1s"}

Reaches = Callable[[Addr], str | None]
"""The vantage of an address as the test knows it; None if it has none."""


def by_dhcp(addr: Addr) -> str | None:
    return "local" if addr.network_kind == "external" else f"qdhcp-{addr.network_id}"


def alive(scrape: Scrape) -> dict[str, bool]:
    return {id_: bool(up) for (id_, _), up in scrape.by("instance_alive", "id", "project_id").items()}


def reasons(scrape: Scrape) -> dict[str, str]:
    silent = scrape.by("instance_silent", "id", "project_id", "reason")
    return {id_: reason for id_, _, reason in silent}


def expected(lab: Lab, ids: set[str], reaches: Reaches) -> dict[str, bool]:
    """Whether each instance of `ids` answers from where it is reached, if from anywhere."""
    addrs = [addr for addr in lab.addrs() if addr.server_id in ids]
    truth = dict.fromkeys(ids - {addr.server_id for addr in addrs}, False)
    for addr in addrs:
        if reaches(addr):
            truth[addr.server_id] = truth.get(addr.server_id, False) or addr.fate is Fate.ALIVE
    return truth


def assert_kinds(scrape: Scrape, targets: Counter[str], vantages: dict[str, int]) -> None:
    assert scrape.by("fping_exporter_vantage_targets", "vantage") == {(k,): n for k, n in targets.items()}
    assert scrape.by("fping_exporter_vantages", "vantage") == {(k,): n for k, n in vantages.items()}
    assert scrape.by("fping_exporter_vantage_up", "vantage") == {(k,): n for k, n in vantages.items()}


def test_every_guest_is_asked_in_its_own_network(lab: Lab, start: Start) -> None:
    probe = PATIENT | {"vantages": ["local", "qdhcp"], "per_address": True}
    servers = lab.servers()

    scrape = start(cloud="admin", probe=probe).scrape(timeout=30)

    assert alive(scrape) == expected(lab, set(servers), by_dhcp)
    addresses = scrape.by("instance_address_alive", "id", "project_id", "address", "network", "vantage")
    assert {(id_, ip, vantage): bool(up) for (id_, _, ip, _, vantage), up in addresses.items()} == {
        (addr.server_id, addr.ip, by_dhcp(addr)): addr.fate is Fate.ALIVE for addr in lab.addrs()
    }
    kinds = Counter((by_dhcp(addr) or "").partition("-")[0] for addr in lab.addrs())
    assert_kinds(scrape, kinds, {"local": 1, "qdhcp": 3})
    assert not {"no_vantage", "icmp_blocked"} & set(reasons(scrape).values())


def test_two_tenants_with_one_address_get_opposite_verdicts(lab: Lab, start: Start) -> None:
    one, other = lab.server("alpha-twin"), lab.server("beta-twin")
    assert one.addresses == other.addresses == ("10.182.0.5",)
    exporter = start(cloud="admin", cache=SOON, probe=QUICK | {"vantages": "auto"})

    try:
        for living, silent in ((one, other), (other, one), (one, other)):
            lab.set_fate(Fate.ALIVE, living.id)
            lab.set_fate(Fate.SILENT, silent.id)
            truth = {living.id: True, silent.id: False}
            eventually(lambda: _assert_said(exporter.scrape(), truth))  # noqa: B023, called at once
    finally:
        lab.set_fate(Fate.ALIVE, one.id, other.id)


def test_a_floating_address_is_asked_from_here(lab: Lab, start: Start) -> None:
    probe = PATIENT | {"vantages": ["local", "qdhcp"], "addresses": "floating", "per_address": True}

    scrape = start(cloud="admin", probe=probe).scrape(timeout=30)

    floating = [addr for addr in lab.addrs() if addr.network_kind == "external"]
    assert len(floating) >= 4
    said = scrape.by("instance_address_alive", "id", "project_id", "address", "network", "vantage")
    assert {(id_, ip, vantage): bool(up) for (id_, _, ip, _, vantage), up in said.items()} == {
        (addr.server_id, addr.ip, "local"): addr.fate is Fate.ALIVE for addr in floating
    }


@pytest.mark.parametrize("families", [[4], [6], [4, 6]])
def test_a_router_reaches_the_networks_that_it_is_in(lab: Lab, start: Start, families: list[int]) -> None:
    probe = PATIENT | {"vantages": ["qrouter"], "addresses": "fixed", "families": families}
    servers = lab.servers()

    scrape = start(cloud="admin", probe=probe).scrape(timeout=30)

    def by_router(addr: Addr) -> str | None:
        wanted = addr.network_kind == "tenant" and (6 if ":" in addr.ip else 4) in families
        return "qrouter" if wanted else None

    truth = expected(lab, {addr.server_id for addr in lab.addrs() if by_router(addr)}, by_router)
    assert {id_: up for id_, up in alive(scrape).items() if id_ in truth} == truth
    shared_only = {addr.server_id for addr in lab.addrs() if not by_router(addr)} - set(truth)
    assert not any(alive(scrape).get(id_) for id_ in shared_only)
    assert "no_vantage" not in reasons(scrape).values(), "other exporters may have one"
    assert len(servers) > len(truth)


def test_a_guest_that_comes_back_is_known_at_once(lab: Lab) -> None:
    """As it announces itself: else the router sends for seconds to the MAC of who had the address before."""
    guest = next(addr for addr in lab.addrs() if addr.network_kind == "tenant" and addr.fate is Fate.ALIVE)
    interfaces = lab.call("network", "GET", f"/v2.0/ports?network_id={guest.network_id}")["ports"]
    (router,) = {p["device_id"] for p in interfaces if p["device_owner"] == "network:router_interface"}
    inside = ["ip", "netns", "exec", f"qrouter-{router}"]
    [route] = json.loads(subprocess.check_output([*inside, "ip", "-json", "route", "get", guest.ip]))

    lab.set_fate(Fate.ABSENT, guest.server_id)
    try:
        other = ["lladdr", "02:00:00:00:00:01", "nud", "stale"]
        subprocess.run([*inside, "ip", "neigh", "replace", guest.ip, "dev", route["dev"], *other], check=True)
    finally:
        lab.set_fate(Fate.ALIVE, guest.server_id)

    subprocess.run([*inside, "fping", "--quiet", "--retry=0", "--timeout=2000", guest.ip], check=True)


def as_host(lab: Lab, name: str, config: Path) -> dict[str, dict[str, Any]]:
    """Run ``list`` on a host of this name; return what it says of each instance."""
    program = [sys.executable, "-m", "fping_exporter", "list", "--json", "--config.file", str(config)]
    done = subprocess.run(
        ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name, *program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OS_CLIENT_CONFIG_FILE": str(lab.clouds)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in {0, 1}, done.stderr
    return {row["id"]: row for row in json.loads(done.stdout)}


def test_ovn_reaches_only_the_guests_on_its_host(lab: Lab, tmp_path: Path) -> None:
    config = write_config(tmp_path, cloud="admin", probe=PATIENT | {"vantages": ["ovnmeta"]})
    hosts = {addr.server_id: addr.host for addr in lab.addrs() if addr.network_kind != "external"}
    assert set(hosts.values()) == {"lab-compute-1", "lab-compute-2"}

    said = as_host(lab, "lab-compute-1", config)

    def by_ovn(addr: Addr) -> str | None:
        return "ovnmeta" if addr.network_kind != "external" and addr.host == "lab-compute-1" else None

    here = {id_ for id_, host in hosts.items() if host == "lab-compute-1"}
    assert {id_: said[id_]["alive"] for id_ in here} == expected(lab, here, by_ovn)
    remote = [said[id_] for id_ in hosts if id_ not in here]
    assert {row["alive"] for row in remote} == {None}
    assert {row["reason"] for row in remote if row["status"] == "ACTIVE"} == {"no_vantage"}


def test_one_exporter_on_each_host(lab: Lab, start: Start) -> None:
    names = {server.id for server in lab.servers().values() if server.hypervisor == "lab-compute-1"}
    assert names

    scrape = start(
        cloud="admin",
        instances={"host": "lab-compute-1"},
        probe=PATIENT | {"vantages": ["ovnmeta"], "addresses": "fixed"},
    ).scrape(timeout=30)

    assert set(alive(scrape)) == names
    assert alive(scrape) == expected(
        lab, names, lambda addr: None if addr.network_kind == "external" else "ovnmeta"
    )
    assert set(scrape.by("hypervisor_up", "hypervisor")) == {("lab-compute-1",)}


def test_on_its_own_host_the_exporter_says_what_it_does_not_reach(lab: Lab, start: Start) -> None:
    scrape = start(
        cloud="admin",
        instances={"host": "lab-compute-2"},
        probe=PATIENT | {"vantages": ["qrouter"]},
    ).scrape(timeout=30)

    unreached = {id_ for id_, reason in reasons(scrape).items() if reason == "no_vantage"}
    assert unreached
    assert not unreached & set(alive(scrape))
    kinds = {id_: {a.network_kind for a in lab.addrs() if a.server_id == id_} for id_ in unreached}
    assert set(map(frozenset, kinds.values())) == {frozenset({"shared"})}


@contextlib.contextmanager
def without_namespace(name: str) -> Iterator[None]:
    """Take a namespace's name away for a while, as when Neutron deletes it."""
    with subprocess.Popen(["ip", "netns", "exec", name, "sleep", "600"]) as inside:
        try:
            eventually(lambda: _assert_inside(inside.pid, name))
            subprocess.run(["ip", "netns", "del", name], check=True)
            try:
                yield
            finally:
                subprocess.run(["ip", "netns", "attach", name, str(inside.pid)], check=True)
        finally:
            inside.terminate()


def _assert_inside(pid: int, name: str) -> None:
    there = Path("/run/netns", name).stat()
    assert Path(f"/proc/{pid}/ns/net").stat().st_ino == there.st_ino


def test_a_namespace_that_vanishes_costs_its_own_instances(lab: Lab, start: Start) -> None:
    servers = lab.servers()
    exporter = start(cloud="admin", cache=SOON, probe=PATIENT | {"vantages": ["local", "qdhcp"]})
    whole = expected(lab, set(servers), by_dhcp)
    eventually(lambda: _assert_alive(exporter.scrape(timeout=30), whole))
    gone = next(addr for addr in lab.addrs() if addr.server_id == lab.server("beta-twin").id).network_id

    with without_namespace(f"qdhcp-{gone}"):
        left = expected(lab, set(servers), lambda addr: None if addr.network_id == gone else by_dhcp(addr))
        assert len(left) < len(whole)
        eventually(lambda: _assert_alive(exporter.scrape(timeout=30), left))
        assert exporter.scrape().value("fping_exporter_sweep_success") == 1
        assert exporter.scrape().value("fping_exporter_vantages", vantage="qdhcp") == 2

    eventually(lambda: _assert_alive(exporter.scrape(timeout=30), whole))


@contextlib.contextmanager
def stale(name: str) -> Iterator[None]:
    """Leave only the file of a namespace's name, as after a reboot that does not empty /run."""
    with without_namespace(name):
        path = Path("/run/netns", name)
        path.touch()
        try:
            yield
        finally:
            path.unlink()


@contextlib.contextmanager
def unplugged(name: str) -> Iterator[None]:
    """Leave a namespace without an interface, as when the agent has taken the network away."""
    with without_namespace(name):
        subprocess.run(["ip", "netns", "add", name], check=True)
        try:
            yield
        finally:
            subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.parametrize("broken", [stale, unplugged])
def test_a_namespace_that_is_no_way_hides_none_that_is_one(
    lab: Lab, start: Start, broken: Callable[[str], contextlib.AbstractContextManager[None]]
) -> None:
    """The guests of the shared network are reached from here, those of one project by its router."""
    networks = {addr.network_kind: addr.network_id for addr in lab.addrs()}
    shared, tenant = networks["shared"], networks["tenant"]
    interfaces = lab.call("network", "GET", f"/v2.0/ports?network_id={tenant}")["ports"]
    (router,) = {p["device_id"] for p in interfaces if p["device_owner"] == "network:router_interface"}
    ways = {shared: "local", tenant: f"qrouter-{router}"}
    probe = PATIENT | {"vantages": "auto", "local_networks": [shared], "per_address": True}

    with broken(f"qdhcp-{shared}"), broken(f"qdhcp-{tenant}"):
        scrape = start(cloud="admin", probe=probe).scrape(timeout=30)

    assert alive(scrape) == expected(lab, set(lab.servers()), by_dhcp)
    addresses = scrape.by("instance_address_alive", "id", "project_id", "address", "network", "vantage")
    assert {(id_, ip, vantage): bool(up) for (id_, _, ip, _, vantage), up in addresses.items()} == {
        (addr.server_id, addr.ip, ways.get(addr.network_id) or by_dhcp(addr)): addr.fate is Fate.ALIVE
        for addr in lab.addrs()
    }


def _assert_alive(scrape: Scrape, truth: dict[str, bool]) -> None:
    assert alive(scrape) == truth


def test_neutron_away_the_networks_stay_known(lab: Lab, start: Start) -> None:
    """Nova asks Neutron for each list of servers, so that for once nothing is listed anew."""
    one, other = lab.server("alpha-twin"), lab.server("beta-twin")
    lab.set_fate(Fate.ALIVE, one.id, other.id)
    exporter = start(cloud="admin", cache=SOON, probe=QUICK | {"vantages": ["qdhcp"]})
    eventually(lambda: _assert_said(exporter.scrape(), {one.id: True, other.id: True}))

    with lab.without(Service.NEUTRON):
        eventually(lambda: _assert_listed(exporter.scrape(), success=False))
        try:
            lab.set_fate(Fate.SILENT, one.id)
            eventually(lambda: _assert_said(exporter.scrape(), {one.id: False, other.id: True}))
        finally:
            lab.set_fate(Fate.ALIVE, one.id)

    eventually(lambda: _assert_listed(exporter.scrape(), success=True), timeout=60)
    eventually(lambda: _assert_said(exporter.scrape(), {one.id: True, other.id: True}))


def _assert_said(scrape: Scrape, truth: dict[str, bool]) -> None:
    said = alive(scrape)
    assert {id_: said[id_] for id_ in truth} == truth


def _assert_listed(scrape: Scrape, *, success: bool) -> None:
    assert scrape.value("fping_exporter_inventory_success") == success


def test_without_neutron_nothing_is_guessed(lab: Lab, tmp_path: Path) -> None:
    clouds = lab.write_clouds(tmp_path, network_endpoint_override=f"http://127.0.0.1:{free_port()}")
    config = write_config(tmp_path, cloud="admin", probe=PATIENT | {"vantages": ["local", "qdhcp"]})

    with Exporter(config, clouds=clouds, log=tmp_path / "exporter.log") as exporter:
        scrape = exporter.scrape(timeout=60)

    def by_floating(addr: Addr) -> str | None:
        return "local" if addr.network_kind == "external" else None

    assert alive(scrape) == expected(lab, set(lab.servers()), by_floating)
    assert scrape.value("fping_exporter_part_success", part="ports") == 0
    assert scrape.value("fping_exporter_part_success", part="security_groups") == 0
    assert "icmp_blocked" not in reasons(scrape).values()


def test_a_member_needs_no_right_to_reach_its_own(lab: Lab, start: Start) -> None:
    servers = lab.servers(cloud="alpha")

    scrape = start(
        cloud="alpha", all_projects=False, probe=PATIENT | {"vantages": ["local", "qdhcp"]}
    ).scrape(timeout=30)

    assert alive(scrape) == expected(lab, set(servers), by_dhcp)
