import ipaddress
import socket
from collections import Counter
from collections.abc import Iterator

import openstack.connection
import pytest

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config
from fping_exporter.demo import Demo
from fping_exporter.demo.scene import SILENT
from fping_exporter.model import Inventory, Project


@pytest.fixture
def demo() -> Iterator[Demo]:
    with Demo() as running:
        yield running


def list_all(instances: int) -> Inventory:
    with Demo(instances=instances) as demo:
        return Cloud(Config(), region=demo.region()).inventory()


def test_it_shows_the_well_known_case(demo: Demo) -> None:
    inventory = Cloud(Config(), region=demo.region()).inventory()
    found = {i.name: (i.status, [a.ip for a in i.addresses]) for i in inventory.instances}
    assert found == {
        "selenium-0": ("ACTIVE", [SILENT]),
        "selenium-1": ("ACTIVE", ["127.10.0.1"]),
        "text-0": ("ACTIVE", [SILENT]),
        "text-1": ("SHUTOFF", [SILENT]),
    }
    assert inventory.parts == {"hypervisors": True, "projects": True}


@pytest.mark.parametrize("instances", [1, 4, 5, 50, 51, 1200])
def test_it_is_as_large_as_one_likes(instances: int) -> None:
    inventory = list_all(instances)
    assert len({instance.id for instance in inventory.instances}) == instances
    assert {instance.project_id for instance in inventory.instances} == set(inventory.projects)
    hosts = {instance.hypervisor for instance in inventory.instances if instance.hypervisor}
    assert hosts <= {hypervisor.name for hypervisor in inventory.hypervisors}


def test_a_large_one_is_a_mix_as_clouds_have_it() -> None:
    inventory = list_all(1200)
    status = Counter(instance.status for instance in inventory.instances)
    share = {word: count / 1200 for word, count in status.items()}
    assert share == pytest.approx({"ACTIVE": 0.89, "SHUTOFF": 0.08, "ERROR": 0.02, "BUILD": 0.01}, abs=0.01)
    silent = [i for i in inventory.instances if i.active and {a.ip for a in i.addresses} == {SILENT}]
    assert 0.04 < len(silent) / status["ACTIVE"] < 0.06
    assert {hypervisor.up for hypervisor in inventory.hypervisors} == {True, False}
    assert Counter(len(instance.addresses) for instance in inventory.instances).keys() == {0, 1, 2}


def test_every_address_is_this_machines_own() -> None:
    loopback = ipaddress.ip_network("127.0.0.0/8")
    addresses = [a.ip for i in list_all(1200).instances for a in i.addresses]
    assert all(ipaddress.ip_address(address) in loopback for address in addresses)
    distinct = Counter(address for address in addresses if address != SILENT)
    assert set(distinct.values()) == {1}


def test_linux_lets_nobody_send_to_the_silent_address() -> None:
    """The rule is the same for ICMP; UDP shows it without any right."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.10.0.1", 9))
        assert sock.getsockname()[0].startswith("127.")
        with pytest.raises(PermissionError):
            sock.connect((SILENT, 9))


def test_a_member_sees_the_first_project_alone() -> None:
    with Demo(instances=120) as demo:
        member = demo.users[1]
        inventory = Cloud(Config(all_projects=False), region=demo.region(member)).inventory()
        assert len(inventory.instances) == 50
        assert [project.name for project in inventory.projects.values()] == ["acceptance"]


@pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")  # the SDK's of itself
def test_it_is_a_cloud_for_any_client_of_openstack(demo: Demo) -> None:
    """As openstacksdk goes itself through tokens, catalog, versions and resources."""
    connection = openstack.connection.Connection(config=demo.region())
    servers = {server.name: server for server in connection.compute.servers(all_projects=True)}
    assert sorted(servers) == ["selenium-0", "selenium-1", "text-0", "text-1"]
    assert connection.compute.get_server(servers["text-1"].id).status == "SHUTOFF"
    assert [service.state for service in connection.compute.services()] == ["up", "up"]
    assert [project.name for project in connection.list_projects()] == ["acceptance"]


def test_a_token_is_validated_as_keystone_does(demo: Demo) -> None:
    session = demo.region().get_session()
    token = session.get_token()
    url = f"{demo.url}/identity/v3/auth/tokens"
    answer = session.get(url, headers={"X-Subject-Token": token}).json()["token"]
    assert (answer["user"]["name"], answer["project"]["name"]) == ("admin", "admin")
    assert session.get(url, headers={"X-Subject-Token": "forged"}, raise_exc=False).status_code == 404
    assert session.get(url, authenticated=False, raise_exc=False).status_code == 401


def test_a_server_of_another_project_is_not_found(demo: Demo) -> None:
    path = f"{demo.url}/compute/v2.1/servers/{demo.servers[0].id}"
    demo.users[1].project = Project("e" * 32, "elsewhere", "default")
    session = demo.region(demo.users[1]).get_session()
    assert session.get(path, raise_exc=False).status_code == 404
    assert demo.region().get_session().get(path).json()["server"]["name"] == "selenium-0"
