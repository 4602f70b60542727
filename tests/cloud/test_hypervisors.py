import pytest

from fping_exporter.cloud.hypervisors import ComputeNode, choose_among_namesakes, name_hypervisors
from fping_exporter.demo import standin as demo
from fping_exporter.demo.http import Answer
from fping_exporter.model import Hypervisor
from tests.build import instance
from tests.cloud.faulty import MEMBER, FaultyCloud, connect

SERVICES = "/compute/v2.1/os-services"
HYPERVISORS = "/compute/v2.1/os-hypervisors/detail"


def hypervisors(standin: FaultyCloud) -> dict[str, bool]:
    return {hypervisor.name: hypervisor.up for hypervisor in connect(standin).cloud.inventory().hypervisors}


def entry(name: str, host: str, state: str = "up") -> dict[str, object]:
    return {"id": name, "hypervisor_hostname": name, "service": {"host": host}, "state": state}


def test_a_hypervisor_is_up_if_its_service_is(standin: FaultyCloud) -> None:
    inventory = connect(standin).cloud.inventory()
    assert inventory.hypervisors == (
        Hypervisor("kvm-1.example", up=True, host="kvm-1"),
        Hypervisor("kvm-2.example", up=False, host="kvm-2"),
    )
    assert {instance.hypervisor for instance in inventory.instances} == {"kvm-1.example"}


def test_one_request_each(standin: FaultyCloud) -> None:
    hypervisors(standin)
    (services,) = standin.asked(SERVICES)
    assert services.query == {"binary": "nova-compute"}
    assert len(standin.asked(HYPERVISORS)) == 1


@pytest.mark.parametrize("max_limit", [1, 2, 3, 5, 6])
def test_a_list_longer_than_a_page_is_read_to_its_end(standin: FaultyCloud, max_limit: int) -> None:
    standin.hypervisors[:] = [demo.NovaHypervisor(f"n{number}", f"n{number}") for number in range(5)]
    standin.max_limit = max_limit
    assert sorted(hypervisors(standin)) == ["n0", "n1", "n2", "n3", "n4"]


def test_a_nova_without_pages_of_hypervisors_gives_all_at_once(standin: FaultyCloud) -> None:
    standin.max_limit, standin.max_microversion = 1, 30
    assert sorted(hypervisors(standin)) == ["kvm-1.example", "kvm-2.example"]


@pytest.mark.parametrize(
    ("service", "host", "up"),
    [
        ("kvm-1", "kvm-1", False),
        ("kvm-1", "kvm-1.example", False),
        ("kvm-1.example", "kvm-1", False),
        ("KVM-1.example", "kvm-1.EXAMPLE", False),
        ("kvm-1.example", "kvm-1.other", True),
        ("kvm-1", "kvm-2", True),
    ],
)
def test_services_are_found_by_short_name_and_fqdn_alike(
    standin: FaultyCloud, service: str, host: str, *, up: bool
) -> None:
    """The service is down; where it is not found, the state that the hypervisor shows counts."""
    standin.fail(SERVICES, Answer(200, {"services": [{"host": service, "state": "down"}]}))
    standin.fail(HYPERVISORS, Answer(200, {"hypervisors": [entry("kvm-1.example", host)]}))
    assert hypervisors(standin) == {"kvm-1.example": up}


def test_a_short_name_that_two_domains_share_is_nobodys(standin: FaultyCloud) -> None:
    services = [{"host": "kvm-1.a", "state": "down"}, {"host": "kvm-1.b", "state": "up"}]
    standin.fail(SERVICES, Answer(200, {"services": services}))
    standin.fail(HYPERVISORS, Answer(200, {"hypervisors": [entry("x", "kvm-1"), entry("y", "kvm-1.a")]}))
    assert hypervisors(standin) == {"x": True, "y": False}


def test_of_a_service_in_a_cell_that_is_down_no_state_is_known(standin: FaultyCloud) -> None:
    standin.fail(SERVICES, Answer(200, {"services": [{"host": "kvm-1", "status": "UNKNOWN"}]}))
    standin.fail(HYPERVISORS, Answer(200, {"hypervisors": [entry("kvm-1", "kvm-1", "down")]}))
    assert hypervisors(standin) == {"kvm-1": False}


def test_a_right_that_is_missing_is_told_once_and_again_only_after_it_was_there(
    standin: FaultyCloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = connect(standin, MEMBER, all_projects=False).cloud
    for _ in range(3):
        inventory = cloud.inventory()
        assert inventory.hypervisors == ()
        assert not inventory.parts["hypervisors"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "hypervisors are left out, the credentials have no right to list them: "
        f"{standin.url}{SERVICES}: HTTP 403: "
        "Policy doesn't allow os_compute_api:os-services:list to be performed."
    )
    standin.fail(SERVICES, Answer(200, {"services": []}))
    standin.fail(HYPERVISORS, Answer(200, {"hypervisors": []}))
    assert cloud.inventory().parts["hypervisors"]
    cloud.inventory()
    assert len(caplog.records) == 2


@pytest.mark.parametrize("path", [SERVICES, HYPERVISORS])
@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"services": 1, "hypervisors": [{}]}'])
def test_a_failure_costs_the_hypervisors_and_nothing_else(
    standin: FaultyCloud, path: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    standin.fail(path, Answer(200, body))
    inventory = connect(standin).cloud.inventory()
    assert (len(inventory.instances), inventory.hypervisors) == (4, ())
    assert not inventory.parts["hypervisors"]
    assert "hypervisors are left out this time: " in caplog.text


@pytest.mark.parametrize(
    ("host", "hypervisor", "name"),
    [
        ("kvm-1", "kvm-1.example", "kvm-1.example"),
        ("kvm-1", "", "kvm-1.example"),
        ("kvm-1.example", "", "kvm-1.example"),
        ("kvm-1", "kvm-1", "kvm-1.example"),
        ("ironic", "node-b", "node-b"),
        ("ironic", "", ""),
        ("elsewhere", "stranger", "stranger"),
        ("", "", ""),
    ],
)
def test_an_instance_is_on_the_hypervisor_of_its_host(host: str, hypervisor: str, name: str) -> None:
    nodes = [
        ComputeNode("kvm-1.example", "kvm-1", up=True),
        ComputeNode("node-a", "ironic", up=True),
        ComputeNode("node-b", "ironic", up=True),
    ]
    (found,) = name_hypervisors([instance(host=host, hypervisor=hypervisor)], nodes)
    assert found.hypervisor == name


def ironic(host: str, *, up: bool) -> ComputeNode:
    return ComputeNode("node-a", host, up=up)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("carrier", ["ironic-1", "ironic-2"])
def test_of_a_node_that_is_listed_twice_the_one_that_carries_the_instance_counts(
    order: int, carrier: str
) -> None:
    nodes = [ironic("ironic-1", up=True), ironic("ironic-2", up=False), ComputeNode("b", "c", up=True)][
        ::order
    ]
    (found,) = (
        node
        for node in choose_among_namesakes(nodes, [instance(host=carrier, hypervisor="node-a")])
        if node.name == "node-a"
    )
    assert found.host == carrier


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_node_that_is_listed_twice_and_carries_nothing_the_one_that_is_up_counts(order: int) -> None:
    nodes = [ironic("ironic-1", up=True), ironic("ironic-2", up=False)][::order]
    assert choose_among_namesakes(nodes, []) == (ironic("ironic-1", up=True),)


def test_a_node_that_is_listed_twice_is_shown_once(standin: FaultyCloud) -> None:
    services = [{"host": "kvm-1", "state": "up"}, {"host": "gone", "state": "down"}]
    standin.fail(SERVICES, Answer(200, {"services": services}))
    listed = [entry("kvm-1.example", "kvm-1"), entry("kvm-1.example", "gone")]
    standin.fail(HYPERVISORS, Answer(200, {"hypervisors": listed}))
    assert hypervisors(standin) == {"kvm-1.example": True}
