"""One exporter for each compute node: only its own instances are listed, and as little as can be is asked."""

import pytest

from fping_exporter.config import Instances
from fping_exporter.errors import ConfigError, ForbiddenError
from fping_exporter.model import Hypervisor
from tests.cloud.faulty import MEMBER, SERVERS, FaultyCloud, connect, make_servers

SERVICES, HYPERVISORS = "/compute/v2.1/os-services", "/compute/v2.1/os-hypervisors/detail"


@pytest.mark.parametrize("given", ["kvm-2", "KVM-2", "kvm-2.example"])
def test_only_the_instances_on_the_host_are_listed(standin: FaultyCloud, given: str) -> None:
    standin.servers[:] = [*make_servers(2), *make_servers(1, hypervisor="kvm-2.example")][1:]
    cloud = connect(standin, instances=Instances(host=given)).cloud
    for _ in range(2):
        inventory = cloud.inventory()
        assert [instance.host for instance in inventory.instances] == ["kvm-2"]
        assert inventory.hypervisors == (Hypervisor("kvm-2.example", up=False, host="kvm-2"),)
    assert {request.query["host"] for request in standin.asked(SERVERS)} == {"kvm-2"}
    assert [request.query.get("host") for request in standin.asked(SERVICES)] == [None, "kvm-2", "kvm-2"]
    assert {request.query["hypervisor_hostname_pattern"] for request in standin.asked(HYPERVISORS)} == {
        "kvm-2"
    }


def test_a_host_of_a_similar_name_is_another(standin: FaultyCloud) -> None:
    standin.hypervisors[1].host, standin.hypervisors[1].name = "kvm-10", "kvm-10.example"
    inventory = connect(standin, instances=Instances(host="kvm-1")).cloud.inventory()
    assert [each.name for each in inventory.hypervisors] == ["kvm-1.example"]


def test_a_hypervisor_of_another_name_is_left_out(standin: FaultyCloud) -> None:
    standin.hypervisors[0].name = "baremetal"
    inventory = connect(standin, instances=Instances(host="kvm-1")).cloud.inventory()
    assert inventory.hypervisors == ()
    assert inventory.parts["hypervisors"]


def test_a_host_that_nova_does_not_know_is_an_error(standin: FaultyCloud) -> None:
    with pytest.raises(ConfigError, match=r'^instances\.host: Nova has no nova-compute on "kvm-3"$'):
        connect(standin, instances=Instances(host="kvm-3")).cloud.inventory()
    assert not standin.asked(SERVERS)


def test_a_member_is_told_the_right_that_is_missing(standin: FaultyCloud) -> None:
    listed = connect(standin, MEMBER, all_projects=False, instances=Instances(host="kvm-1"))
    with pytest.raises(ForbiddenError, match=r"^instances\.host needs the right to list services \("):
        listed.cloud.inventory()
