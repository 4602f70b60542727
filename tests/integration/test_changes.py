"""What /metrics says while the cloud changes, or goes away."""

import time
from collections.abc import Iterator

import pytest

from fping_exporter.nova_status import contradicts
from tests.integration.conftest import Start
from tests.integration.exporter import Exporter, Scrape
from tests.integration.lab import Fate, Lab, Server, Service
from tests.integration.process import eventually

pytestmark = pytest.mark.lab

QUICK = {
    "cloud": "admin",
    "cache": {"inventory": "2s", "sweep": "1s", "max_stale": "10m"},
    "probe": {"timeout": "500ms", "retries": 1},
}


@pytest.fixture
def exporter(start: Start) -> Exporter:
    return start(**QUICK)


@pytest.fixture(scope="module")
def quick(lab: Lab) -> Iterator[Server]:
    """A server of these tests' own."""
    created = lab.create("quick")
    yield created
    lab.delete(created.id)


@pytest.fixture
def server(lab: Lab, quick: Server) -> Iterator[Server]:
    """That server, which is ACTIVE and answers."""
    yield quick
    if not lab.servers()[quick.id].active:
        lab.start(quick.id)
    lab.set_fate(Fate.ALIVE, quick.id)


def says(scrape: Scrape, server: Server) -> tuple[float | None, float | None, str | None]:
    """Return what is said of a server: alive, active, and why it is silent; None where nothing is."""
    who = (server.id, server.project_id)
    reasons = [
        reason
        for (id_, _project, reason) in scrape.by("instance_silent", "id", "project_id", "reason")
        if id_ == server.id
    ]
    return (
        scrape.by("instance_alive", "id", "project_id").get(who),
        scrape.by("instance_hypervisor_active", "id", "project_id").get(who),
        reasons[0] if reasons else None,
    )


def soon(
    exporter: Exporter, server: Server, alive: float | None, active: float | None, why: str | None
) -> None:
    """Assert that the exporter comes to say this of the server, and both sides' disagreement with it."""

    def check() -> None:
        scrape = exporter.scrape()
        assert says(scrape, server) == (alive, active, why)
        mismatch = scrape.by("instance_state_mismatch", "id", "project_id")
        expected = (
            None if alive is None else contradicts("ACTIVE" if active else "SHUTOFF", alive=bool(alive))
        )
        assert mismatch.get((server.id, server.project_id)) == expected

    eventually(check)


def test_server_is_created_and_deleted(lab: Lab, exporter: Exporter) -> None:
    created = lab.create("new")
    soon(exporter, created, 1, 1, None)

    lab.delete(created.id)
    soon(exporter, created, None, None, None)


def test_server_without_an_address(lab: Lab, exporter: Exporter) -> None:
    created = lab.create("alone", network=None)
    try:
        soon(exporter, created, 0, 1, "no_address")
    finally:
        lab.delete(created.id)


def test_server_is_stopped_and_started(lab: Lab, exporter: Exporter, server: Server) -> None:
    soon(exporter, server, 1, 1, None)

    lab.stop(server.id)
    soon(exporter, server, 0, 0, "not_active")

    lab.start(server.id)
    soon(exporter, server, 1, 1, None)


def test_server_answers_although_nova_calls_it_off(lab: Lab, exporter: Exporter, server: Server) -> None:
    lab.stop(server.id)
    lab.set_fate(Fate.ALIVE, server.id)

    soon(exporter, server, 1, 0, None)


def test_guest_dies_and_comes_back(lab: Lab, exporter: Exporter, server: Server) -> None:
    who = {"id": server.id, "project_id": server.project_id}
    soon(exporter, server, 1, 1, None)

    lab.set_fate(Fate.SILENT, server.id)
    soon(exporter, server, 0, 1, "no_reply")
    died = exporter.scrape().value("instance_last_reply_timestamp_seconds", **who)
    assert time.time() - 60 < died < time.time()

    lab.set_fate(Fate.ALIVE, server.id)
    soon(exporter, server, 1, 1, None)
    assert exporter.scrape().value("instance_last_reply_timestamp_seconds", **who) > died


def test_nova_away_probing_goes_on(lab: Lab, exporter: Exporter, server: Server) -> None:
    soon(exporter, server, 1, 1, None)

    asked = len(exporter.scrape().by("instance_alive", "id", "project_id"))
    with lab.without(Service.NOVA):
        eventually(lambda: _assert_listing(exporter, success=False))
        lab.set_fate(Fate.SILENT, server.id)
        soon(exporter, server, 0, 1, "no_reply")
        scrape = exporter.scrape()
        age = time.time() - scrape.value("fping_exporter_inventory_last_success_timestamp_seconds")
        assert age > 2
        assert scrape.value("fping_exporter_up") == 1
        assert scrape.value("fping_exporter_sweep_success") == 1
        assert len(scrape.by("instance_alive", "id", "project_id")) == asked

    lab.set_fate(Fate.ALIVE, server.id)
    soon(exporter, server, 1, 1, None)
    eventually(lambda: _assert_listing(exporter, success=True))


def _assert_listing(exporter: Exporter, *, success: bool) -> None:
    scrape = exporter.scrape()
    assert scrape.value("fping_exporter_inventory_success") == success


def test_nova_hangs_and_holds_no_scrape_up(lab: Lab, exporter: Exporter, server: Server) -> None:
    soon(exporter, server, 1, 1, None)

    with lab.hanging(Service.NOVA):
        time.sleep(2)  # the inventory is due
        lab.set_fate(Fate.SILENT, server.id)
        soon(exporter, server, 0, 1, "no_reply")
        for _ in range(5):
            begun = time.monotonic()
            exporter.scrape(timeout=20)
            assert time.monotonic() - begun < 10, "it waited for Nova"
            time.sleep(0.5)

    lab.set_fate(Fate.ALIVE, server.id)
    soon(exporter, server, 1, 1, None)


def test_nova_away_for_too_long(lab: Lab, start: Start) -> None:
    exporter = start(**{**QUICK, "cache": {"inventory": "1s", "sweep": "500ms", "max_stale": "5s"}})
    eventually(lambda: _assert_instances(exporter, up=True))

    with lab.without(Service.NOVA):
        eventually(lambda: _assert_instances(exporter, up=False))

    eventually(lambda: _assert_instances(exporter, up=True))


def _assert_instances(exporter: Exporter, *, up: bool) -> None:
    scrape = exporter.scrape()
    assert scrape.value("fping_exporter_up") == up
    assert bool(scrape.by("instance_alive", "id", "project_id")) == up
    assert bool(scrape.by("hypervisor_up", "hypervisor")) == up


def test_hypervisor_goes_down(lab: Lab, exporter: Exporter) -> None:
    def check() -> None:
        assert exporter.scrape().by("hypervisor_up", "hypervisor") == {
            (name,): up for name, up in lab.hypervisors().items()
        }

    eventually(check)
    with lab.forced_down("lab-compute-2"):
        assert lab.hypervisors() == {"lab-compute-1": True, "lab-compute-2": False}
        eventually(check)
    eventually(check)
