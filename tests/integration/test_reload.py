"""A reload between two clouds: what is said of one is never said of the other."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.exporter import Exporter, Scrape, write_config
from tests.integration.lab import Lab
from tests.integration.process import eventually
from tests.integration.proxy import NovaProxy

pytestmark = pytest.mark.lab

QUICK = {"timeout": "500ms", "retries": 0}
LONG = {"timeout": "1s", "retries": 1}
"""A sweep takes two seconds where an address is silent."""
SOON = {"inventory": "1s", "sweep": "500ms"}
LABELS = ("id", "project_id")


@pytest.fixture
def proxy(lab: Lab) -> Iterator[NovaProxy]:
    with NovaProxy(lab.endpoints()["compute"]) as proxy:
        yield proxy


@pytest.fixture
def clouds(lab: Lab, proxy: NovaProxy, tmp_path: Path) -> Path:
    """Credentials whose entry `admin` has two regions. Nova of the first is the proxy."""
    elsewhere = {f"{service}_endpoint_override": url for service, url in lab.endpoints().items()}
    here = {"compute_endpoint_override": proxy.url}
    regions = [{"name": "RegionOne", "values": here}, {"name": "RegionTwo", "values": elsewhere}]
    return lab.write_clouds(tmp_path, regions=regions)


def ids(scrape: Scrape) -> frozenset[str]:
    return frozenset(id_ for id_, _ in scrape.by("instance_hypervisor_active", *LABELS))


SCOPES: Mapping[str, tuple[dict[str, object], dict[str, object]]] = {
    "projects": (
        {"cloud": "admin", "region": "RegionTwo", "projects": ["alpha"]},
        {"cloud": "admin", "region": "RegionTwo", "projects": ["beta"]},
    ),
    "clouds": ({"cloud": "alpha", "all_projects": False}, {"cloud": "beta", "all_projects": False}),
    "regions": (
        {"cloud": "admin", "region": "RegionOne"},
        {"cloud": "admin", "region": "RegionTwo", "projects": ["beta"]},
    ),
}


@pytest.mark.parametrize("scopes", SCOPES.values(), ids=SCOPES)
def test_a_sweep_under_way_is_not_served_as_the_other_clouds(
    lab: Lab, proxy: NovaProxy, clouds: Path, tmp_path: Path, scopes: tuple[dict[str, object], ...]
) -> None:
    alpha, beta = (frozenset(lab.servers(cloud=cloud)) for cloud in ("alpha", "beta"))
    proxy.only = {"project_id": lab.project_id("alpha")}
    settings = {"cache": SOON, "probe": LONG}
    config = write_config(tmp_path, **settings, **scopes[0])

    with Exporter(config, clouds=clouds, log=tmp_path / "exporter.log") as exporter:
        assert ids(exporter.scrape(timeout=30)) == alpha
        time.sleep(0.5)  # the sweep is due
        assert ids(exporter.scrape(timeout=0.8)) == alpha  # the old one: the next is under way
        write_config(tmp_path, **settings, **scopes[1])
        exporter.reload()

        seen = [exporter.scrape(timeout=1) for _ in range(3)]
        seen.append(exporter.scrape(timeout=30))

    assert {ids(scrape) for scrape in seen} <= {frozenset(), beta}
    assert ids(seen[-1]) == beta
    for scrape in seen:
        assert scrape.value("fping_exporter_up") == bool(ids(scrape))
        assert scrape.value("fping_exporter_inventory_instances") in (0, len(beta))


def test_a_cloud_that_hangs_does_not_hold_up_the_next_one(
    lab: Lab, proxy: NovaProxy, clouds: Path, tmp_path: Path
) -> None:
    alpha, beta = (frozenset(lab.servers(cloud=cloud)) for cloud in ("alpha", "beta"))
    proxy.only = {"project_id": lab.project_id("alpha")}
    settings = {"cache": SOON, "probe": QUICK}
    config = write_config(tmp_path, **settings, cloud="admin", region="RegionOne")

    with Exporter(config, clouds=clouds, log=tmp_path / "exporter.log") as exporter:
        assert ids(exporter.scrape(timeout=30)) == alpha
        proxy.hanging = True
        asked = proxy.lists
        eventually(lambda: _assert_listing(exporter, proxy, asked))
        write_config(tmp_path, **settings, cloud="admin", region="RegionTwo", projects=["beta"])
        reloaded = time.monotonic()
        exporter.reload()

        assert ids(exporter.scrape(timeout=30)) == beta
        assert time.monotonic() - reloaded < 20

        proxy.release()
        for _ in range(5):
            scrape = exporter.scrape()
            assert ids(scrape) == beta
            assert scrape.value("fping_exporter_inventory_success") == 1
            time.sleep(0.2)
        assert "listing the instances failed" not in exporter.log


def _assert_listing(exporter: Exporter, proxy: NovaProxy, asked: int) -> None:
    exporter.scrape()
    assert proxy.lists > asked


def test_reloads_that_are_quicker_than_a_list_leave_instances(
    lab: Lab, proxy: NovaProxy, clouds: Path, tmp_path: Path
) -> None:
    there = frozenset(lab.servers())
    probe = {"timeout": "100ms", "retries": 0, "layer2": "off"}  # a sweep is to be quicker than the reloads
    settings = {"cloud": "admin", "region": "RegionOne", "cache": SOON, "probe": probe}
    config = write_config(tmp_path, **settings)
    proxy.hold()

    with Exporter(config, clouds=clouds, log=tmp_path / "exporter.log") as exporter:
        for _ in range(3):
            assert ids(exporter.scrape(timeout=1)) == frozenset()
            exporter.reload()
        assert proxy.lists <= 1
        proxy.let_one_pass()
        deadline = time.monotonic() + 30
        while not ids(scrape := exporter.scrape(timeout=1)):
            assert time.monotonic() < deadline, exporter.log
            exporter.reload()
        assert ids(scrape) == there
        assert proxy.lists <= 3, "one list, and one under way, which first asks for what changed"

        one = min(there)
        write_config(tmp_path, **settings, instances={"include": [{"id": one}]})
        asked = proxy.lists
        exporter.reload()
        time.sleep(0.5)  # the sweep is due
        assert ids(exporter.scrape(timeout=10)) == {one}, "the list is there, and needs no other"
        assert proxy.lists <= asked + 1
