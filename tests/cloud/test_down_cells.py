"""A cell that is down: its servers are as they were last known to be, until it answers again.

What Nova answers then: https://docs.openstack.org/api-guide/compute/down_cells.html
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fping_exporter.cloud import Cloud
from fping_exporter.model import Inventory
from tests.cloud.faulty import ADMIN, MEMBER, SERVERS, FaultyCloud, connect, make_servers

SERVICES, HYPERVISORS = "/compute/v2.1/os-services", "/compute/v2.1/os-hypervisors/detail"
FEW = ("id", "tenant_id", "created", "links")


@pytest.fixture
def two_cells(standin: FaultyCloud) -> FaultyCloud:
    """A server in a cell of kvm-1, another in a cell of kvm-2."""
    standin.servers[:] = [*make_servers(2)]
    standin.servers[1].hypervisor = "kvm-2.example"
    return standin


def minimal(body: Any) -> Any:
    """List the servers of kvm-2 as Nova does when their cell is down and all is asked for at once."""
    servers = [
        {key: server[key] for key in FEW} | {"status": "UNKNOWN"}
        if server["OS-EXT-SRV-ATTR:host"] == "kvm-2"
        else server
        for server in body["servers"]
    ]
    return {"servers": servers}


def dropped(body: Any) -> Any:
    """Drop the servers of kvm-2, as Nova does from a list in pages."""
    return {"servers": [each for each in body["servers"] if each["OS-EXT-SRV-ATTR:host"] != "kvm-2"]}


def break_down(standin: FaultyCloud, change: Callable[[Any], Any]) -> None:
    def services(body: Any) -> Any:
        lost = {"binary": "nova-compute", "host": "kvm-2", "status": "UNKNOWN"}
        return {"services": [lost if each["host"] == "kvm-2" else each for each in body["services"]]}

    def hypervisors(body: Any) -> Any:
        return {"hypervisors": [each for each in body["hypervisors"] if each["service"]["host"] != "kvm-2"]}

    standin.rewrite(SERVERS, change)
    standin.rewrite(SERVICES, services)
    standin.rewrite(HYPERVISORS, hypervisors)


def repair(standin: FaultyCloud) -> None:
    for path in (SERVERS, SERVICES, HYPERVISORS):
        standin.fail(path)


def by_id(inventory: Inventory) -> dict[str, Any]:
    return {instance.id: instance for instance in inventory.instances}


@pytest.mark.parametrize("change", [minimal, dropped])
def test_servers_of_a_cell_that_is_down_outlive_a_restart(
    two_cells: FaultyCloud, change: Callable[[Any], Any]
) -> None:
    stored = connect(two_cells).cloud.inventory()
    break_down(two_cells, change)
    cloud = connect(two_cells).cloud
    cloud.recall(stored, listed_at=time.monotonic())
    got, before = by_id(cloud.inventory()), by_id(stored)
    assert got["alpha-0001"] == msgspec.structs.replace(before["alpha-0001"], status="UNKNOWN")


@pytest.mark.parametrize("change", [minimal, dropped])
def test_servers_of_a_cell_that_is_down_are_not_lost(
    two_cells: FaultyCloud, change: Callable[[Any], Any]
) -> None:
    cloud: Cloud = connect(two_cells).cloud
    before = by_id(cloud.inventory())
    break_down(two_cells, change)
    for _ in range(3):
        listed = cloud.inventory()
        got = by_id(listed)
        assert got["alpha-0000"] == before["alpha-0000"]
        lost, was = got["alpha-0001"], before["alpha-0001"]
        assert (lost.status, lost.addresses, lost.host, lost.name) == (
            "UNKNOWN",
            was.addresses,
            "kvm-2",
            was.name,
        )
        assert [each.name for each in listed.hypervisors] == ["kvm-1.example"]

    repair(two_cells)
    assert by_id(cloud.inventory()) == before


@pytest.mark.parametrize("change", [minimal, dropped])
def test_a_server_deleted_elsewhere_meanwhile_is_removed(
    two_cells: FaultyCloud, change: Callable[[Any], Any]
) -> None:
    cloud = connect(two_cells).cloud
    cloud.inventory()
    break_down(two_cells, change)
    del two_cells.servers[0]
    assert set(by_id(cloud.inventory())) == {"alpha-0001"}


def test_a_server_deleted_in_the_cell_is_removed_when_the_cell_is_back(two_cells: FaultyCloud) -> None:
    cloud = connect(two_cells).cloud
    cloud.inventory()
    break_down(two_cells, dropped)
    del two_cells.servers[1]
    assert set(by_id(cloud.inventory())) == {"alpha-0000", "alpha-0001"}
    repair(two_cells)
    assert set(by_id(cloud.inventory())) == {"alpha-0000"}


def test_a_server_never_seen_before_has_no_more_than_nova_tells(two_cells: FaultyCloud) -> None:
    break_down(two_cells, minimal)
    lost = by_id(connect(two_cells).cloud.inventory())["alpha-0001"]
    assert (lost.status, lost.addresses, lost.host) == ("UNKNOWN", (), "")


@pytest.mark.parametrize("user", [ADMIN, MEMBER])
def test_a_host_that_is_merely_down_loses_what_is_deleted(two_cells: FaultyCloud, user: Any) -> None:
    cloud = connect(two_cells, user, all_projects=user is ADMIN).cloud
    cloud.inventory()
    two_cells.hypervisors[1].up = False
    del two_cells.servers[1]
    assert set(by_id(cloud.inventory())) == {"alpha-0000"}
