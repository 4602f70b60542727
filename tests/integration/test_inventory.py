"""What /metrics says of the list of instances itself: a list that lacks most, and when Nova launched each."""

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.integration.conftest import Start
from tests.integration.exporter import Exporter, Scrape, write_config
from tests.integration.lab import Lab
from tests.integration.process import eventually
from tests.integration.proxy import NovaProxy

pytestmark = pytest.mark.lab

T = TypeVar("T")

QUICK = {"timeout": "500ms", "retries": 0}
LABELS = ("id", "project_id")


@pytest.fixture
def proxy(lab: Lab) -> Iterator[NovaProxy]:
    with NovaProxy(lab.endpoints()["compute"]) as proxy:
        yield proxy


@pytest.fixture
def exporter(lab: Lab, proxy: NovaProxy, tmp_path: Path) -> Iterator[Exporter]:
    """An exporter that lists all servers through the proxy, every second."""
    cache = {"inventory": "1s", "full_inventory": "1s", "sweep": "500ms"}
    config = write_config(tmp_path, cloud="admin", cache=cache, probe=QUICK)
    clouds = lab.write_clouds(tmp_path, compute_endpoint_override=proxy.url)
    with Exporter(config, clouds=clouds, log=tmp_path / "exporter.log") as exporter:
        yield exporter


def ids(scrape: Scrape) -> set[str]:
    return {id_ for id_, _ in scrape.by("instance_hypervisor_active", *LABELS)}


def unconfirmed(scrape: Scrape) -> float:
    return scrape.value("fping_exporter_inventory_unconfirmed")


def runs(values: Iterable[T]) -> list[T]:
    """Return the values, those that repeat the one before them left out."""
    return [value for value, _ in itertools.groupby(values)]


def watch(exporter: Exporter, proxy: NovaProxy, *, lists: int) -> Iterator[Scrape]:
    """Scrape until the first list is doubted, then until the exporter has listed, and swept, so often more.

    The second list waits for that: one that comes as soon as the first could end the doubt unseen.
    """
    deadline = time.monotonic() + 30
    doubted = False
    while not doubted:
        yield (scrape := exporter.scrape())
        doubted = unconfirmed(scrape) == 1
        assert doubted or time.monotonic() < deadline
    proxy.release()
    asked = proxy.lists
    deadline = time.monotonic() + 30
    while proxy.lists <= asked + lists:  # the one beyond them has begun, so that they have ended
        yield exporter.scrape()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_empty_list_ends_no_series(lab: Lab, exporter: Exporter, proxy: NovaProxy) -> None:
    there = set(lab.servers())
    first = exporter.scrape(timeout=30)
    assert (ids(first), unconfirmed(first)) == (there, 0)
    alive = set(first.by("instance_alive", *LABELS))

    proxy.hold(after=1)
    proxy.empty_next(1)
    scrapes = list(watch(exporter, proxy, lists=3))

    assert {frozenset(ids(scrape)) for scrape in scrapes} == {frozenset(there)}
    assert {frozenset(scrape.by("instance_alive", *LABELS)) for scrape in scrapes} == {frozenset(alive)}
    assert runs(unconfirmed(scrape) for scrape in scrapes)[-2:] == [1, 0]
    exporter.wait_for(rf"the new list lacks {len(there)} of {len(there)} instances", timeout=0)


def test_an_empty_list_that_is_confirmed_counts(lab: Lab, exporter: Exporter, proxy: NovaProxy) -> None:
    there = set(lab.servers())
    assert ids(exporter.scrape(timeout=30)) == there

    proxy.hold(after=1)
    proxy.empty_next(10**6)
    scrapes = list(watch(exporter, proxy, lists=3))

    assert runs(frozenset(ids(scrape)) for scrape in scrapes) == [there, frozenset()]
    assert runs(unconfirmed(scrape) for scrape in scrapes)[-2:] == [1, 0]
    proxy.empty_next(0)
    eventually(lambda: _assert_there(exporter.scrape(), there))


def _assert_there(scrape: Scrape, there: set[str]) -> None:
    assert (ids(scrape), unconfirmed(scrape)) == (there, 0)


def test_when_nova_launched_each(lab: Lab, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nova's times are in UTC and say nothing of it; the exporter's clock need not be."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")

    scrape = start(cloud="admin", probe=QUICK).scrape(timeout=30)

    said = {id_: at for (id_, _), at in scrape.by("instance_launched_timestamp_seconds", *LABELS).items()}
    assert said == lab.launched_at()
    never = {server.name for server in lab.servers().values() if server.id not in said}
    assert never >= {"alpha-novalidhost", "beta-novalidhost"}
