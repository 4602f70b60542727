"""A fleet answers for the whole. What is killed costs what it alone knew, and makes nobody dead."""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.browser.chrome import Chrome, chrome
from tests.integration.fleet import Central, Fleet, Verdicts, fleet
from tests.integration.lab import Fate, Lab, Server, Service
from tests.integration.novaclient import Answer, Novaclient
from tests.integration.process import eventually

pytestmark = pytest.mark.lab

COMPUTE = "lab-compute-1"
ROWS = """return [...document.querySelectorAll('table.wide tbody tr')].map(row => {
  const badge = row.querySelector('td[data-label="Ping"] .badge')
  return [row.querySelector('.id').textContent.trim(), badge.textContent.trim(), badge.className]
})"""
"""JavaScript: the id of each row of the page, and the text and classes of its badge in the column Ping."""


@dataclass
class World:
    """A fleet, and those who ask it."""

    lab: Lab
    fleet: Fleet
    novaclient: Novaclient
    browser: Chrome
    servers: Mapping[str, Server]
    token: str
    answers: list[Verdicts] = field(default_factory=list)
    """All lists of os-fping since they were last cleared."""

    def become(self, truth: Verdicts, *centrals: Central) -> None:
        """Wait until these centrals (none given: both) say what is true, in os-fping and on their pages."""
        for central in centrals or self.fleet.centrals:
            eventually(lambda: self._check_list(central, truth))  # noqa: B023, called at once
            eventually(lambda: self.check_page(central, truth))  # noqa: B023, likewise

    def _check_list(self, central: Central, truth: Verdicts) -> None:
        answer = self.fping(central, "list", all_tenants=True)
        assert answer.found is not None, answer
        said: Verdicts = {each["id"]: each["alive"] for each in answer.found}
        self.answers.append(said)
        assert said == {id_: alive for id_, alive in truth.items() if alive is not None}

    def check_page(self, central: Central, truth: Verdicts) -> None:
        """Compare what Chromium shows of ACTIVE instances: alive, silent or that nothing is known."""
        self.browser.get(central.url)
        shown = {
            id_: True if text == "answers" else False if "bad" in classes.split() else None
            for id_, text, classes in self.browser.evaluate(ROWS)
        }
        assert shown.keys() == self.servers.keys()
        active = {id_ for id_, server in self.servers.items() if server.active}
        assert {id_: shown[id_] for id_ in active} == {id_: truth[id_] for id_ in active}

    def fping(self, central: Central, method: str, *args: object, **kwargs: Any) -> Answer:
        """Ask a central's os-fping as an admin, with the old client."""
        return self.novaclient.fping(
            method,
            *args,
            version="2.35",
            endpoint=f"{central.url}/v2.1",
            token=self.token,
            ca_file=self.fleet.ca_file,
            **kwargs,
        )

    def truth(self, *, without: Collection[str] = ()) -> Verdicts:
        """Return what the centrals are to say while they hear nothing of some agents."""
        return self.fleet.truth(self.servers, agents=self.fleet.agents.keys() - set(without))

    def known_to_one(self, agent: str) -> list[Server]:
        """Return the guests that answer, and of which nobody but this agent knows; there are some."""
        whole, without = self.truth(), self.truth(without=[agent])
        found = [server for id_, server in self.servers.items() if whole[id_] and without[id_] is None]
        assert found
        return sorted(found, key=lambda server: server.name)

    def assert_never_dead(self, guests: Collection[Server]) -> None:
        """Check that none of these was called dead in any list."""
        assert self.answers
        ids = {guest.id for guest in guests}
        assert not [answer for answer in self.answers if any(answer.get(id_) is False for id_ in ids)]


@pytest.fixture(scope="module")
def running(lab: Lab, novaclient: Novaclient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with fleet(tmp_path_factory.mktemp("fleet"), lab) as whole, chrome() as browser:
        browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
        yield World(lab, whole, novaclient, browser, lab.servers(), lab.token("admin"))


@pytest.fixture
def world(running: World) -> World:
    """Return the fleet once all of it is well: whatever was gone has come back."""
    running.become(running.truth())
    running.answers.clear()
    return running


def test_agents_go_on_with_the_central_that_is_left(world: World) -> None:
    """From the second death on, all of them have asked the one that dies."""
    (guest, *_) = world.known_to_one(COMPUTE)
    one, other = world.fleet.centrals
    try:
        for gone, left, fate in ((one, other, Fate.SILENT), (other, one, Fate.ALIVE)):
            with world.fleet.without(gone):
                died_at = time.time()
                world.lab.set_fate(fate, guest.id)
                world.become(world.truth(), left)
                eventually(lambda: assert_listed(world, since=died_at))  # noqa: B023, called at once
    finally:
        world.lab.set_fate(Fate.ALIVE, guest.id)


def assert_listed(world: World, *, since: float) -> None:
    for agent in world.fleet.agents.values():
        scrape = agent.scrape()
        assert scrape.value("fping_exporter_inventory_success") == 1
        assert scrape.value("fping_exporter_inventory_last_success_timestamp_seconds") > since


def test_the_guests_of_an_agent_that_is_gone_are_unknown(world: World) -> None:
    agent, guests = world.fleet.agents[COMPUTE], world.known_to_one(COMPUTE)
    alert = f'ALERTS{{alertname="FpingExporterGone",alertstate="firing",instance="{agent.address}"}}'
    eventually(lambda: assert_quiet(world, alert))  # an earlier test may have stopped it

    with world.fleet.without(agent):
        world.become(world.truth(without=[COMPUTE]))

        world.assert_never_dead(guests)
        for central in world.fleet.centrals:
            assert world.fping(central, "get", guests[0].id).code == 503
        eventually(lambda: assert_fires(world, alert))


def assert_quiet(world: World, alert: str) -> None:
    assert not world.fleet.prometheus.query(alert)


def assert_fires(world: World, alert: str) -> None:
    assert world.fleet.prometheus.query(alert)


def test_without_prometheus_the_centrals_know_what_they_ask_themselves(world: World) -> None:
    own = world.truth(without=world.fleet.agents)
    guests = [world.servers[id_] for id_, alive in world.truth().items() if alive and own[id_] is None]
    assert set(own.values()) == {True, False, None}

    with world.fleet.without_prometheus():
        world.become(own)

        world.assert_never_dead(guests)
        for central in world.fleet.centrals:
            assert world.fping(central, "get", guests[0].id).code == 503
            world.browser.get(central.url)
            assert "What the other exporters say could not be read" in world.browser.page_source


def test_without_nova_the_verdicts_go_on(world: World) -> None:
    (guest, *_) = world.known_to_one(COMPUTE)
    try:
        with world.lab.without(Service.NOVA):
            for fate in (Fate.SILENT, Fate.ALIVE):
                world.lab.set_fate(fate, guest.id)
                truth = world.truth()
                for central in world.fleet.centrals:
                    eventually(lambda: world.check_page(central, truth))  # noqa: B023, called at once
            answer = world.fping(world.fleet.centrals[0], "list", all_tenants=True)
            assert (answer.found, answer.code) == (None, 503), "os-fping asks Nova whose servers they are"
    finally:
        world.lab.set_fate(Fate.ALIVE, guest.id)


def test_an_agent_that_starts_without_a_central_has_its_last_list(world: World) -> None:
    agent, (guest, *_) = world.fleet.agents[COMPUTE], world.known_to_one(COMPUTE)
    try:
        with world.fleet.without(*world.fleet.centrals):
            assert agent.stop() == 0
            world.fleet.start(agent)
            for fate in (Fate.ALIVE, Fate.SILENT):
                world.lab.set_fate(fate, guest.id)
                eventually(lambda: assert_stored_list_is_asked(world))
    finally:
        world.lab.set_fate(Fate.ALIVE, guest.id)


def assert_stored_list_is_asked(world: World) -> None:
    scrape = world.fleet.agents[COMPUTE].scrape()
    assert scrape.value("fping_exporter_inventory_success") == 0
    said = scrape.by("instance_alive", "id", "project_id")
    assert {id_: bool(alive) for (id_, _), alive in said.items()} == world.fleet.seen_by(COMPUTE)
