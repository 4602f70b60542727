"""Whom to write to: the configuration's word, else the users of Keystone."""

import pytest

from fping_exporter.demo.http import Answer, Request
from tests.cloud.faulty import ALPHA, BETA, FaultyCloud, connect

USERS = [
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
        self.directory = [dict(user) for user in USERS]

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
