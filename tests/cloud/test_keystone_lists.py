"""Keystone's lists are followed to their end, and completed where Keystone cuts them."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from fping_exporter.cloud.keystone_lists import Lookups
from fping_exporter.demo.http import Answer, Request
from fping_exporter.errors import CloudError, ForbiddenError, ListingError, NotFoundError
from fping_exporter.model import Project
from tests.cloud.faulty import ADMIN, FaultyCloud, connect, make_servers

FORBIDDEN = Answer(403, {"error": {"code": 403, "message": "No."}})
ABSENT = Answer(404, {"error": {"code": 404, "message": "Could not find."}})
TWELVE = [Project(f"{number:032x}", f"p{number}", "default") for number in range(12)]


class LimitedKeystone(FaultyCloud):
    """A Keystone with `list_limit`, which pages its lists or cuts them."""

    def __init__(self) -> None:
        super().__init__(*[server for project in TWELVE for server in make_servers(1, project=project)])
        self.projects = [ADMIN.project, *TWELVE]
        self.entries: dict[str, list[dict[str, Any]]] = {
            "users": [
                {"id": f"u{number}", "email": f"u{number}@example.org"} for number in range(len(TWELVE))
            ],
            "role_assignments": [
                {"scope": {"project": {"id": project.id}}, "user": {"id": f"u{number}"}}
                for number, project in enumerate(TWELVE)
            ],
        }
        self.list_limit = 5
        self.pages = False
        """Whether a list that is cut has a link to its next page."""
        self.says_so = True
        """Whether a list that is cut is marked as truncated."""
        self.same_answer: Answer | None = None
        """For each list, if it is set."""
        self.refused: dict[str, Answer] = {}
        """By the id of a project or user."""

    def answer(self, request: Request) -> Answer:
        _, *path = request.path.strip("/").split("/")
        answer = super().answer(request)
        match path:
            case ["v3", "projects" | "users" as kind, id_]:
                if id_ in self.refused:
                    return self.refused[id_]
                found = [entry for entry in self._all(kind) if entry["id"] == id_]
                return Answer(200, {kind[:-1]: found[0]}) if found else ABSENT
            case ["v3", "projects" | "users" | "role_assignments" as kind] if "name" not in request.query:
                return self.same_answer or self._list(kind, request)
        return answer

    def _all(self, kind: str) -> list[dict[str, Any]]:
        listed = self.projects if kind == "projects" else self.entries[kind]
        return msgspec.json.decode(msgspec.json.encode(listed), type=list[dict[str, Any]])

    def _list(self, kind: str, request: Request) -> Answer:
        entries = self._all(kind)
        start = int(request.query.get("page", 0)) * self.list_limit
        page = entries[start : start + self.list_limit]
        links: dict[str, str | None] = {"next": None, "self": "x", "previous": None}
        body: dict[str, Any] = {kind: page, "links": links}
        if start + self.list_limit < len(entries):
            if self.pages:
                query = {**request.query, "page": start // self.list_limit + 1}
                links["next"] = f"http://elsewhere.invalid/v3/{kind}?{urlencode(query)}"
            elif self.says_so:
                body["truncated"] = True
        return Answer(200, body)

    def lookups(self, kind: str) -> list[str]:
        """The ids of the single entries that were asked for."""
        start = f"/identity/v3/{kind}/"
        return [
            request.path.removeprefix(start) for request in self.requests if request.path.startswith(start)
        ]


@pytest.fixture
def keystone() -> Iterator[LimitedKeystone]:
    with LimitedKeystone() as cloud:
        yield cloud


EMAILS = {project.id: f"u{number}@example.org" for number, project in enumerate(TWELVE)}


def test_links_are_followed_at_the_configured_keystone(keystone: LimitedKeystone) -> None:
    keystone.pages = True
    inventory = connect(keystone, contacts_from_keystone=True).cloud.inventory()
    assert inventory.projects.keys() == {ADMIN.project.id, *EMAILS}
    assert inventory.contacts == EMAILS
    assert inventory.parts["projects"]
    assert inventory.parts["contacts"]
    assert not keystone.lookups("projects")
    assert not keystone.lookups("users")
    asked = [dict(request.query) for request in keystone.asked("/identity/v3/role_assignments")]
    assert asked == [
        {"effective": "true"},
        {"effective": "true", "page": "1"},
        {"effective": "true", "page": "2"},
    ]


def test_links_that_go_round_in_a_circle_are_a_part_that_is_missing(keystone: LimitedKeystone) -> None:
    links = {"next": f"{keystone.url}/identity/v3/projects?page=7"}
    keystone.same_answer = Answer(200, {"projects": [TWELVE[0]], "links": links})
    assert not connect(keystone).cloud.inventory().parts["projects"]
    assert len(keystone.asked("/identity/v3/projects")) == 2


@pytest.mark.parametrize("says_so", [True, False])
def test_what_a_cut_list_lacks_is_asked_for_one_by_one(
    keystone: LimitedKeystone, caplog: pytest.LogCaptureFixture, *, says_so: bool
) -> None:
    keystone.says_so = says_so
    keystone.entries["role_assignments"] = keystone.entries["role_assignments"][:5]
    keystone.entries["users"].reverse()
    cloud = connect(keystone, contacts_from_keystone=True).cloud
    for _ in range(2):
        inventory = cloud.inventory()
        assert inventory.projects.keys() == {ADMIN.project.id, *EMAILS}
        assert {project.name for project in TWELVE} < {each.name for each in inventory.projects.values()}
        assert inventory.contacts == {project.id: EMAILS[project.id] for project in TWELVE[:5]}
        assert inventory.parts["projects"]
        assert inventory.parts["contacts"]
    assert sorted(keystone.lookups("projects")) == [project.id for project in TWELVE[4:]]
    assert sorted(keystone.lookups("users")) == ["u0", "u1", "u2", "u3", "u4"]
    projects, users = caplog.messages
    assert projects == (
        "projects: Keystone's list lacks 8 projects that have instances, as if cut by its list_limit; asked "
        "for one by one, 8 were found, 0 do not exist, 0 are refused, 0 are still to be asked for"
    )
    assert users.startswith("contacts: Keystone's list lacks 5 users of projects that have instances, ")


def test_a_project_that_is_refused_is_said_to_be_missing(
    keystone: LimitedKeystone, caplog: pytest.LogCaptureFixture
) -> None:
    keystone.refused = {TWELVE[11].id: FORBIDDEN}
    cloud = connect(keystone).cloud
    for _ in range(3):
        inventory = cloud.inventory()
        assert TWELVE[10].id in inventory.projects
        assert TWELVE[11].id not in inventory.projects
        assert not inventory.parts["projects"]
    assert keystone.lookups("projects").count(TWELVE[11].id) == 1
    (message,) = caplog.messages
    assert "lacks 8 projects" in message
    assert "7 were found, 0 do not exist, 1 are refused" in message


def test_a_project_that_is_gone_is_not_missing(keystone: LimitedKeystone) -> None:
    keystone.list_limit = 1000
    keystone.projects.remove(TWELVE[3])
    cloud = connect(keystone).cloud
    for _ in range(3):
        inventory = cloud.inventory()
        assert inventory.parts["projects"]
        assert TWELVE[3].id not in inventory.projects
    assert keystone.lookups("projects") == [TWELVE[3].id]


def test_role_assignments_that_are_cut_are_said_to_be(
    keystone: LimitedKeystone, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = connect(keystone, contacts_from_keystone=True).cloud
    for _ in range(2):
        inventory = cloud.inventory()
        assert len(inventory.contacts) == 5
        assert not inventory.parts["contacts"]
    assert len([each for each in caplog.messages if "cuts its list of role assignments" in each]) == 1


def test_what_was_looked_up_outlives_a_reload(keystone: LimitedKeystone) -> None:
    first = connect(keystone).cloud
    first.inventory()
    second = connect(keystone).cloud
    second.take_over(first)
    assert len(second.inventory().projects) == 13
    assert len(keystone.lookups("projects")) == 8


def test_a_keystone_that_may_not_be_listed_is_not_asked_one_by_one(keystone: LimitedKeystone) -> None:
    keystone.same_answer = FORBIDDEN
    assert not connect(keystone).cloud.inventory().parts["projects"]
    assert not keystone.lookups("projects")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


IDS = [f"{number:03}" for number in range(250)]


def test_lookups_are_bounded_in_each_listing_and_remembered_for_an_hour() -> None:
    clock, asked = Clock(), list[str]()
    lookups: Lookups[str] = Lookups(clock=clock)

    def ask(id_: str) -> str:
        asked.append(id_)
        return f"{id_} at {clock.now:.0f}"

    got = lookups.look_up(IDS, ask)
    assert (len(got.found), len(got.pending), len(asked), got.complete) == (100, 150, 100, False)
    clock.now = 1800
    assert len(lookups.look_up(IDS, ask).found) == 200
    got = lookups.look_up(IDS, ask)
    assert (len(got.found), len(got.pending), len(asked), got.complete) == (250, 0, 250, True)
    assert got.found["000"] == "000 at 0"
    clock.now = 3599
    assert lookups.look_up(IDS, ask) == got
    clock.now = 3600
    assert lookups.look_up(IDS, ask).found["000"] == "000 at 3600"
    assert len(asked) == 350
    assert lookups.look_up(["001"], ask).found == {"001": "001 at 3600"}
    lookups.look_up(["001", "000"], ask)
    assert asked[350:] == ["000"], "what is no longer missing is forgotten"


@pytest.mark.parametrize("error", [NotFoundError, ForbiddenError, ListingError])
def test_a_refusal_is_remembered(error: type[CloudError]) -> None:
    clock, asked = Clock(), list[str]()
    lookups: Lookups[str] = Lookups(clock=clock)

    def ask(id_: str) -> str:
        asked.append(id_)
        raise error

    for clock.now in (0, 60, 3599):
        got = lookups.look_up(IDS[:3], ask)
        assert len(asked) == 3
        assert not got.found
        assert got.complete == (error is NotFoundError)
    clock.now = 3600
    lookups.look_up(IDS[:3], ask)
    assert len(asked) == 6


def test_a_keystone_that_is_away_is_asked_three_times_and_the_next_listing_goes_on() -> None:
    clock, asked = Clock(), list[str]()
    lookups: Lookups[str] = Lookups(clock=clock)
    away = True

    def ask(id_: str) -> str:
        asked.append(id_)
        if away:
            raise CloudError("away")
        return id_

    got = lookups.look_up(IDS[:50], ask)
    assert (asked, len(got.refused), len(got.pending)) == (IDS[:3], 3, 47)
    away = False
    clock.now = 60
    got = lookups.look_up(IDS[:50], ask)
    assert (asked[3:], len(got.found), len(got.refused)) == (IDS[3:50], 47, 3)
    clock.now = 300
    assert lookups.look_up(IDS[:50], ask).complete
    away = True
    clock.now = 10_000
    assert lookups.look_up(IDS[:50], ask).complete, "what was known stays in use"
