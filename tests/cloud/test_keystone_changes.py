"""Between full lists Keystone is asked only for what is new."""

from collections.abc import Iterator
from typing import Any

import pytest

from fping_exporter.cloud import Cloud
from fping_exporter.demo.http import Answer, Request
from fping_exporter.model import Project
from tests.cloud.faulty import ALPHA, connect, make_servers
from tests.cloud.neutron import port
from tests.cloud.unreadable import AlteredCloud

PROJECTS, USERS = "/identity/v3/projects", "/identity/v3/users"
NEW = Project("d" * 32, "new", "default")


class CountingCloud(AlteredCloud):
    """Counts how often its users are listed."""

    def __init__(self) -> None:
        super().__init__()
        self.users_listed = 0

    def answer(self, request: Request) -> Answer:
        self.users_listed += request.path == USERS
        return super().answer(request)


@pytest.fixture
def standin() -> Iterator[CountingCloud]:
    with CountingCloud() as cloud:
        yield cloud


def listed(standin: CountingCloud, **settings: Any) -> Cloud:
    """A cloud that has been listed whole once."""
    cloud = connect(standin, contacts_from_keystone=True, **settings).cloud
    assert cloud.inventory().full
    standin.requests.clear()
    standin.users_listed = 0
    return cloud


def asked(standin: CountingCloud) -> list[int]:
    return [len(standin.asked(PROJECTS)), standin.users_listed]


def add_server(standin: CountingCloud, project: Project) -> None:
    (server,) = make_servers(1, project=project)
    standin.servers.append(server)
    standin.network["ports"].append(port("new", server.addresses[0].ip, device=server.id))


def test_projects_and_users_come_with_full_lists(standin: CountingCloud) -> None:
    cloud = listed(standin)
    before = cloud.memory.projects.value
    again = cloud.inventory()
    assert not again.full
    assert asked(standin) == [0, 0]
    assert (again.projects, again.contacts[ALPHA.id]) == (before, "ann@example.org")
    assert again.parts["projects"]
    assert again.parts["contacts"]
    cloud.inventory(full=True)
    assert asked(standin) == [1, 1]


def test_a_project_that_is_new_has_both_listed_again(standin: CountingCloud) -> None:
    cloud = listed(standin)
    standin.projects.append(NEW)
    add_server(standin, NEW)
    assert cloud.inventory().projects[NEW.id] == NEW
    cloud.inventory()
    assert asked(standin) == [1, 1]


def test_a_project_that_does_not_exist_is_asked_for_once(standin: CountingCloud) -> None:
    cloud = listed(standin)
    add_server(standin, NEW)
    for _ in range(3):
        cloud.inventory()
    assert asked(standin) == [1, 1]
    assert len(standin.asked(f"{PROJECTS}/{NEW.id}")) == 1


@pytest.mark.parametrize(("key", "part"), [("projects", "projects"), ("users", "contacts")])
def test_what_failed_is_asked_for_again(standin: CountingCloud, key: str, part: str) -> None:
    cloud = connect(standin, contacts_from_keystone=True).cloud
    standin.changes[key] = lambda _entries: ["no list"]
    assert not cloud.inventory().parts[part]
    standin.changes = {}
    again = cloud.inventory()
    assert not again.full
    assert again.parts[part]


def test_a_gap_stays_one_between_full_lists(standin: CountingCloud) -> None:
    """Of a project that is refused nothing is known, whether or not it is asked for this time."""
    add_server(standin, NEW)
    standin.fail(f"{PROJECTS}/{NEW.id}", *[Answer(403)] * 9)
    cloud = listed(standin)
    again = cloud.inventory()
    assert not again.full
    assert not again.parts["projects"]
    assert asked(standin) == [0, 0]
