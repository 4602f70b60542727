"""Two entries of the lab in one exporter: each has its own instances, and both share a token."""

import json
import time
import urllib.request
from pathlib import Path

import pytest

from tests.integration.exporter import Exporter, Scrape, write_config
from tests.integration.lab import Lab
from tests.integration.proxy import NovaProxy

pytestmark = pytest.mark.lab

QUICK = {"timeout": "500ms", "retries": 0}
SOON = {"inventory": "1s", "sweep": "500ms"}
LABELS = ("id", "project_id")


def fetch(exporter: Exporter, path: str, *, timeout: float = 10) -> str:
    request = urllib.request.Request(
        f"http://{exporter.address}{path}", headers={"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)}
    )
    with urllib.request.urlopen(request, timeout=timeout + 5) as answer:  # noqa: S310
        text: str = answer.read().decode()
        return text


def probe(exporter: Exporter, cloud: str, *, timeout: float = 10) -> Scrape:
    return Scrape(fetch(exporter, f"/probe?cloud={cloud}", timeout=timeout))


def ids(scrape: Scrape) -> frozenset[str]:
    return frozenset(id_ for id_, _ in scrape.by("instance_hypervisor_active", *LABELS))


def test_two_regions_of_the_lab(lab: Lab, tmp_path: Path) -> None:
    alpha, beta = (frozenset(lab.servers(cloud=cloud)) for cloud in ("alpha", "beta"))
    with NovaProxy(lab.endpoints()["compute"]) as proxy:
        proxy.only = {"project_id": lab.project_id("alpha")}
        elsewhere = {f"{service}_endpoint_override": url for service, url in lab.endpoints().items()}
        here = {"compute_endpoint_override": proxy.url}
        regions = [{"name": "RegionOne", "values": here}, {"name": "RegionTwo", "values": elsewhere}]
        clouds = {
            "one": {"region": "RegionOne"},
            "two": {"region": "RegionTwo", "projects": ["beta"]},
        }
        config = write_config(tmp_path, cloud="admin", cache=SOON, probe=QUICK, clouds=clouds)
        entries = lab.write_clouds(tmp_path, regions=regions)
        with Exporter(config, clouds=entries, log=tmp_path / "exporter.log") as exporter:
            assert json.loads(fetch(exporter, "/sd/clouds"))[1]["targets"] == ["two"]
            first = [ids(probe(exporter, name, timeout=30)) for name in clouds]
            assert first == [alpha, beta]
            tokens = [
                probe(exporter, name).by("fping_exporter_openstack_requests_total", "service", "code")
                for name in clouds
            ]
            assert sum(each.get(("identity", "201"), 0) for each in tokens) == 1

            proxy.hanging = True
            time.sleep(SECONDS)
            began = time.monotonic()
            assert ids(probe(exporter, "two", timeout=30)) == beta
            assert time.monotonic() - began < 15
            proxy.hanging = False
            proxy.release()

            clouds["new"] = clouds.pop("two")
            write_config(tmp_path, cloud="admin", cache=SOON, probe=QUICK, clouds=clouds)
            exporter.reload()
            assert ids(probe(exporter, "one")) == alpha
            assert ids(probe(exporter, "new", timeout=30)) == beta


SECONDS = 1.5
"""Longer than a list is young."""
