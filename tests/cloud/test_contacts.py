"""Whom to write to: the configuration's word, else the users of Keystone."""

import copy
import time
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.cloud.contacts import by_project
from fping_exporter.demo.http import Answer, Request
from fping_exporter.model import Project
from tests.cloud.faulty import ALPHA, BETA, FaultyCloud, connect

USERS: list[dict[str, Any]] = [
    {"id": "u1", "name": "ann", "email": "ann@example.org", "enabled": True},
    {"id": "u2", "name": "bob", "email": "bob@example.org"},
    {"id": "u3", "name": "no mail"},
    {"id": "u4", "name": "gone", "email": "gone@example.org", "enabled": False},
]
ASSIGNMENTS = [
    {"scope": {"project": {"id": ALPHA.id}}, "user": {"id": "u2"}, "role": {"id": "r"}},
    {"scope": {"project": {"id": ALPHA.id}}, "user": {"id": "u1"}, "role": {"id": "r"}},
    {"scope": {"project": {"id": ALPHA.id}}, "user": {"id": "u1"}, "role": {"id": "s"}},
    {"scope": {"project": {"id": BETA.id}}, "user": {"id": "u1"}, "role": {"id": "r"}},
    {"scope": {"project": {"id": BETA.id}}, "user": {"id": "u4"}, "role": {"id": "r"}},
    {"scope": {"domain": {"id": "default"}}, "user": {"id": "u2"}, "role": {"id": "r"}},
    {"scope": {"system": {"all": True}}, "user": {"id": "u2"}, "role": {"id": "r"}},
    {"scope": {"project": {"id": BETA.id}}, "group": {"id": "g"}, "role": {"id": "r"}},
]


class Directory(FaultyCloud):
    """A Keystone that lists its users, or refuses to."""

    refuses = False

    def __init__(self) -> None:
        super().__init__()
        self.directory = copy.deepcopy(USERS)

    def answer(self, request: Request) -> Answer:
        lists = {"users": self.directory, "role_assignments": ASSIGNMENTS}
        name = request.path.rpartition("/")[2]
        if name in lists and self.refuses:
            return Answer(403, {"error": {"code": 403, "message": "No."}})
        if name in lists:
            assert request.headers["X-Auth-Token"]
            return Answer(200, {name: lists[name]})
        return super().answer(request)


def test_the_users_of_a_project() -> None:
    with Directory() as keystone:
        inventory = connect(keystone, contacts_from_keystone=True).cloud.inventory()
    assert inventory.contacts == {ALPHA.id: "ann@example.org,bob@example.org", BETA.id: "ann@example.org"}
    assert inventory.parts["contacts"]


def test_the_configuration_has_the_last_word() -> None:
    contacts = {"alpha": "ops@example.org", "unknown": "x@example.org"}
    with Directory() as keystone:
        inventory = connect(keystone, contacts_from_keystone=True, contacts=contacts).cloud.inventory()
    assert inventory.contacts[ALPHA.id] == "ops@example.org"
    assert inventory.contacts[BETA.id] == "ann@example.org"


def test_nobody_is_asked_unless_it_is_wanted() -> None:
    with Directory() as keystone:
        keystone.refuses = True
        inventory = connect(keystone, contacts={BETA.id: "ops@example.org"}).cloud.inventory()
        assert inventory.contacts == {BETA.id: "ops@example.org"}
        assert "contacts" not in inventory.parts


def test_without_the_right_the_last_answer_stays() -> None:
    with Directory() as keystone:
        cloud = connect(keystone, contacts_from_keystone=True).cloud
        before = cloud.inventory().contacts
        keystone.refuses = True
        after = cloud.inventory()
    assert after.contacts == before
    assert after.parts["contacts"] is False


def test_an_address_that_cannot_be_read_costs_its_user_the_mail_and_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Directory() as keystone:
        cloud = connect(keystone, contacts_from_keystone=True).cloud
        keystone.directory[1]["email"] = "admin,ops@alpha.example"  # bob
        keystone.directory[2]["email"] = "nowhere"  # in no project, so it is nobody's business
        assert cloud.inventory().contacts == {ALPHA.id: "ann@example.org", BETA.id: "ann@example.org"}
        cloud.inventory()
        told = "contacts: left out are users whose e-mail in Keystone is no mail address: 1, first u2"
        assert caplog.messages == [told], "once, and without the address"

        keystone.directory[0]["email"] = "<ann@example.org"
        assert cloud.inventory().contacts == {}
        assert caplog.messages[1:] == [
            "contacts: left out are users whose e-mail in Keystone is no mail address: 2, first u1"
        ]

        keystone.directory[:2] = USERS[:2]
        assert cloud.inventory().contacts[ALPHA.id] == "ann@example.org,bob@example.org"
        assert len(caplog.messages) == 2


def test_the_name_of_several_projects_names_none_of_them(
    standin: FaultyCloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = connect(standin, contacts={"alpha": "ops@alpha.example", "beta": "ops@beta.example"}).cloud
    assert set(cloud.inventory().contacts) == {ALPHA.id, BETA.id}

    standin.projects.append(Project("d" * 32, "alpha", "other"))
    for _ in range(2):
        assert cloud.inventory().contacts == {BETA.id: "ops@beta.example"}
    [told] = caplog.messages
    assert told == (
        'contacts: "alpha" is left out, as it is the name of several projects; give the id: '
        f"{ALPHA.id} (domain default), {'d' * 32} (domain other)"
    )

    standin.projects.pop()
    assert set(cloud.inventory().contacts) == {ALPHA.id, BETA.id}
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("place", [0, 9])
def test_a_project_that_is_called_as_another_is_identified_gets_nothing_of_it(
    standin: FaultyCloud, caplog: pytest.LogCaptureFixture, place: int
) -> None:
    standin.projects.insert(place, Project("d" * 32, ALPHA.id, "other"))
    inventory = connect(standin, contacts={ALPHA.id: "ops@alpha.example"}).cloud.inventory()
    assert inventory.contacts == {ALPHA.id: "ops@alpha.example"}
    assert caplog.messages == []


@pytest.mark.parametrize("keys", [("alpha", ALPHA.id), (ALPHA.id, "alpha")])
def test_the_id_goes_before_the_name(standin: FaultyCloud, keys: tuple[str, str]) -> None:
    contacts = {key: f"{len(key)}@example.org" for key in keys}
    inventory = connect(standin, contacts=contacts).cloud.inventory()
    assert inventory.contacts == {ALPHA.id: "32@example.org"}


def test_a_contact_of_no_project_is_told_once(standin: FaultyCloud, caplog: pytest.LogCaptureFixture) -> None:
    cloud = connect(standin, contacts={"shpo": "a@b", "x": "a@b", "beta": "ops@beta.example"}).cloud
    for _ in range(2):
        assert cloud.inventory().contacts[BETA.id] == "ops@beta.example"
    assert caplog.messages == ['contacts: neither id nor name of a project that Keystone lists: "shpo", "x"']


def test_an_id_serves_where_projects_cannot_be_listed(standin: FaultyCloud) -> None:
    standin.fail("/identity/v3/projects", Answer(403, {"error": {"code": 403, "message": "No."}}))
    inventory = connect(standin, contacts={BETA.id: "ops@beta.example"}).cloud.inventory()
    assert inventory.contacts == {BETA.id: "ops@beta.example"}


PROJECTS = st.lists(
    st.builds(Project, st.sampled_from("abcd"), st.sampled_from("abcdxy"), st.just("default")),
    unique_by=lambda project: project.id,
)


@given(PROJECTS, st.dictionaries(st.sampled_from("abcdxyz"), st.sampled_from(["m@1", "m@2"])))
def test_no_contact_goes_astray(projects: list[Project], given_: dict[str, str]) -> None:
    emails = by_project(given_, {project.id: project for project in projects}).emails
    names = [project.name for project in projects]
    ids = [project.id for project in projects]
    for project in projects:
        sole = names.count(project.name) == 1 and project.name not in ids
        expected = given_.get(project.id) or (given_.get(project.name) if sole else None)
        assert emails.get(project.id) == expected


@given(PROJECTS, st.dictionaries(st.sampled_from("abcdxyz"), st.just("m@1")), st.randoms())
def test_the_order_of_keystones_answer_does_not_matter(
    projects: list[Project], given_: dict[str, str], random: Random
) -> None:
    shuffled = random.sample(projects, len(projects))
    assert by_project(given_, {project.id: project for project in projects}) == by_project(
        given_, {project.id: project for project in shuffled}
    )


def test_users_are_no_longer_written_to_once_the_configuration_says_so() -> None:
    with Directory() as keystone:
        before = connect(keystone, contacts_from_keystone=True).cloud
        assert before.inventory().contacts
        after = connect(keystone).cloud
        after.take_over(before)
        assert after.inventory().contacts == {}


def test_contacts_outlive_a_restart_while_keystone_does_not_list_them() -> None:
    with Directory() as keystone:
        stored = connect(keystone, contacts_from_keystone=True).cloud.inventory()
        keystone.refuses = True
        cloud = connect(keystone, contacts_from_keystone=True).cloud
        cloud.recall(stored, listed_at=time.monotonic())
        inventory = cloud.inventory()
    assert inventory.contacts == stored.contacts
    assert not inventory.parts["contacts"]
