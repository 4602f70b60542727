import ipaddress
from collections import Counter
from collections.abc import Iterator

import openstack.connection
import pytest

from fping_exporter import config
from fping_exporter.cli.parser import parse_arguments
from fping_exporter.cloud import Cloud
from fping_exporter.config import Config
from fping_exporter.config.duration import Duration
from fping_exporter.demo import CONTACTS, SCENE_SIZE, Demo
from fping_exporter.model import Instance, Inventory, Project, Reason
from fping_exporter.probe import make_layer2_prober, make_prober
from fping_exporter.probe.loopback import Behaviour
from fping_exporter.snapshot import take_snapshot
from tests.permission import need_ping


@pytest.fixture
def demo() -> Iterator[Demo]:
    with Demo() as running:
        yield running


def list_all(instances: int) -> Inventory:
    with Demo(instances=instances) as demo:
        return Cloud(Config(), region=demo.region()).inventory()


REASONS = {
    "selenium-0": Reason.NO_REPLY,
    "selenium-1": None,
    "text-0": Reason.NO_REPLY,
    "text-1": Reason.NOT_ACTIVE,
    "blocked-by-security-group": Reason.ICMP_BLOCKED,
    "ignores-pings": Reason.ICMP_IGNORED,
    "rejected-by-router": Reason.UNREACHABLE,
    "same-address-blue": Reason.AMBIGUOUS_ADDRESS,
    "same-address-green": Reason.AMBIGUOUS_ADDRESS,
    "network-without-route": Reason.NO_VANTAGE,
    "without-address": Reason.NO_ADDRESS,
    "off-but-answers": None,
    "on-a-dead-hypervisor": Reason.NO_REPLY,
}
"""Why each guest of the scene is not alive. One more comes and goes."""


def test_it_shows_every_reason(demo: Demo) -> None:
    need_ping()
    settings = Config()
    inventory = Cloud(settings, region=demo.region()).inventory()
    assert set(inventory.parts.values()) == {True}
    snapshot = take_snapshot(
        inventory,
        prober=make_prober(config.Probe(timeout=Duration(0.05))),
        layer2=make_layer2_prober(settings.probe),
        probe=settings.probe,
    )
    verdicts = {verdict.instance.name: verdict for verdict in snapshot.verdicts}
    assert verdicts.pop("comes-and-goes").reason in {None, Reason.NO_REPLY}
    assert {name: verdict.reason for name, verdict in verdicts.items()} == REASONS
    assert set(REASONS.values()) == {None, *Reason}
    asked = {name for name, each in verdicts.items() if each.asked}
    assert asked == {name for name, each in verdicts.items() if each.alive is not None} - {"without-address"}
    lost = verdicts["selenium-0"].probed[0].outcome
    assert lost
    assert lost.sent == 3, "it was really asked"
    assert {name for name, each in verdicts.items() if each.layer2_alive} == {
        "blocked-by-security-group",
        "ignores-pings",
    }
    assert verdicts["network-without-route"].layer2_alive is None
    assert verdicts["off-but-answers"].mismatch


def test_a_hypervisor_that_is_down_has_a_guest(demo: Demo) -> None:
    inventory = Cloud(Config(), region=demo.region()).inventory()
    (down,) = [hypervisor.name for hypervisor in inventory.hypervisors if not hypervisor.up]
    assert [each.name for each in inventory.instances if each.hypervisor == down] == ["on-a-dead-hypervisor"]


def test_the_project_has_a_contact(demo: Demo) -> None:
    inventory = Cloud(Config(contacts=CONTACTS), region=demo.region()).inventory()
    (project,) = inventory.projects.values()
    assert inventory.contacts == {project.id: "acceptance-team@example.org"}


@pytest.mark.parametrize("instances", [1, 14, 15, 50, 51, 1200])
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
    dead = [i for i in inventory.instances if i.active and _has(i, Behaviour.DEAD)]
    assert 0.04 < len(dead) / status["ACTIVE"] < 0.06
    assert {hypervisor.up for hypervisor in inventory.hypervisors} == {True, False}
    assert Counter(len(instance.addresses) for instance in inventory.instances).keys() == {0, 1, 2}


def _has(instance: Instance, behaviour: Behaviour) -> bool:
    return any(Behaviour.find(address.ip) is behaviour for address in instance.addresses)


def test_every_address_is_this_machines_own() -> None:
    loopback = ipaddress.ip_network("127.0.0.0/8")
    addresses = [a.ip for i in list_all(1200).instances for a in i.addresses]
    assert all(ipaddress.ip_address(address) in loopback for address in addresses)
    assert [address for address, count in Counter(addresses).items() if count > 1] == ["127.9.0.5"]
    assert "127.255.255.255" not in addresses


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
    assert servers.keys() == {*REASONS, "comes-and-goes"}
    assert connection.compute.get_server(servers["text-1"].id).status == "SHUTOFF"
    assert [service.state for service in connection.compute.services()] == ["up", "up", "down"]
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


def test_the_command_shows_the_whole_scene() -> None:
    assert parse_arguments(["demo"]).instances == SCENE_SIZE
    assert parse_arguments(["demo", f"--instances={SCENE_SIZE}"]).instances == SCENE_SIZE


def test_a_member_sees_the_ports_of_the_own_project_alone() -> None:
    with Demo(instances=120) as demo:
        session = demo.region(demo.users[1]).get_session()
        ports = session.get(f"{demo.url}/network/v2.0/ports").json()["ports"]
    assert {port["tenant_id"] for port in ports} == {demo.users[1].project.id}
