"""A real Prometheus discovers its targets through ``/sd`` (http_sd_config)."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer
from fping_exporter.model import Inventory, Topology
from tests.build import SILENT, address, instance, inventory
from tests.integration.process import Process, eventually, free_port
from tests.web.pages import Exporter, Pinger

pytestmark = pytest.mark.e2e


def cloud() -> Inventory:
    """Return three instances at loopback addresses, two of which answer."""
    floating = address("127.0.0.99", kind="floating")
    return inventory(
        instance("a", "127.0.0.1", floating, name="web-1", project_id="p1", metadata={"role": "web"}),
        instance("b", "127.0.0.2", name="lab-1", project_id="p2"),
        instance("c", "127.0.0.3", name="dead", project_id="p1"),
        topology=Topology(loopback=True),
    )


@pytest.fixture
def exporter() -> Iterator[str]:
    """The HOST:PORT of an exporter, which also serves the instances' addresses."""
    server = HttpServer(Exporter(cloud, Pinger({"127.0.0.3": SILENT})).app, listen=[TcpAddress("0.0.0.0", 0)])
    server.start()
    yield f"127.0.0.1:{str(server.addresses[0]).rpartition(':')[2]}"
    server.stop(5)


def test_prometheus_scrapes_what_it_is_told_of(exporter: str, tmp_path: Path) -> None:
    port = exporter.rpartition(":")[2]
    listen = f"127.0.0.1:{free_port()}"
    config = tmp_path / "prometheus.yml"
    job = {
        "job_name": "node",
        "scrape_interval": "1s",
        "http_sd_configs": [
            {"url": f"http://{exporter}/sd?port={port}&alive=1&project=p1", "refresh_interval": "1s"}
        ],
        "relabel_configs": [
            {"source_labels": ["__meta_openstack_instance_name"], "target_label": "name"},
            {"source_labels": ["__meta_openstack_tag_role"], "target_label": "role"},
        ],
    }
    config.write_text(yaml.safe_dump({"scrape_configs": [job]}))

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://{listen}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def scraped() -> None:
        targets = ask("targets?state=active")["activeTargets"]
        assert len(targets) == 1
        target = targets[0]
        assert target["health"] == "up"
        assert (
            target["discoveredLabels"].items()
            >= {
                "__address__": f"127.0.0.1:{port}",
                "__meta_openstack_instance_id": "a",
                "__meta_openstack_instance_name": "web-1",
                "__meta_openstack_instance_status": "ACTIVE",
                "__meta_openstack_project_id": "p1",
                "__meta_openstack_address_pool": "private",
                "__meta_openstack_private_ip": "127.0.0.1",
                "__meta_openstack_public_ip": "127.0.0.99",
                "__meta_openstack_tag_role": "web",
            }.items()
        )
        up = ask("query?query=up")["result"][0]
        assert up["metric"] == {
            "__name__": "up",
            "instance": f"127.0.0.1:{port}",
            "job": "node",
            "name": "web-1",
            "role": "web",
        }
        assert up["value"][1] == "1"

    command = [
        "/usr/bin/prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={listen}",
    ]
    with Process(command, log=tmp_path / "prometheus.log") as prometheus:
        prometheus.wait_for("Server is ready to receive web requests")
        eventually(scraped, timeout=20)
