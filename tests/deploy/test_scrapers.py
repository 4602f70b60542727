"""Debian's Prometheus and VictoriaMetrics scrape a cloud of 30,000 instances, in shards and whole."""

import contextlib
import random
import re
import signal
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer
from fping_exporter.model import Inventory
from tests.build import SILENT, instance, inventory
from tests.deploy.stack import query
from tests.deploy.test_prometheus import DEPLOY
from tests.integration.process import Process, eventually, free_port
from tests.web.pages import Exporter, Pinger

pytestmark = pytest.mark.e2e

INSTANCES = 30_000
RANDOM = random.Random(14)  # noqa: S311, for ids that are spread like real ones
LIMIT = 16 * 1024 * 1024
"""Bytes of a response, before compression, that vmagent and VictoriaMetrics accept by default."""
IDS = sorted(str(uuid.UUID(int=RANDOM.getrandbits(128), version=4)) for _ in range(INSTANCES))
WITH_EACH_SHARD = (
    "fping_exporter_up",
    "fping_exporter_blind",
    "fping_exporter_sweep_last_success_timestamp_seconds",
)
"""What says of the samples beside it what they are worth."""
SHARDS, WHOLE = "fping-exporter", "whole"
"""The jobs."""


def address(number: int) -> str:
    return f"10.0.{number >> 8}.{number & 255}"


def cloud() -> Inventory:
    """Return so many instances, a tenth of which Nova calls off."""
    return inventory(
        *(
            instance(
                id_,
                address(number),
                project_id=f"{number % 1500:032x}",
                status="ACTIVE" if number % 10 else "SHUTOFF",
                hypervisor=f"compute-{number % 750}.example.com",
                launched_at=1_795_000_000.0 + number,
            )
            for number, id_ in enumerate(IDS)
        )
    )


@pytest.fixture(scope="module")
def exporter() -> Iterator[str]:
    """The HOST:PORT of an exporter that shows the same results to every scrape."""
    silent = {address(number): SILENT for number in range(0, INSTANCES, 7)}
    hour = Duration(3600)
    ages = config.Cache(inventory=hour, sweep=hour, max_stale=Duration(7200))
    shown = Exporter(cloud, Pinger(silent), settings=config.Config(cache=ages))
    server = HttpServer(shown.app, listen=[TcpAddress("127.0.0.1", 0)])
    server.start()
    shown.sweep()
    yield str(server.addresses[0])
    server.stop(5)


@pytest.fixture(scope="module")
def text(exporter: str) -> str:
    """All that the exporter shows."""
    with urllib.request.urlopen(f"http://{exporter}/metrics", timeout=10) as answer:
        body: bytes = answer.read()
    assert len(body) > LIMIT
    return body.decode()


@pytest.fixture(scope="module")
def scrapers(exporter: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The HOST:PORT of both programs, by name; each scrapes in shards (as shipped), and whole."""
    with contextlib.ExitStack() as running:
        addresses = {}
        for name, flags in (("prometheus", PROMETHEUS), ("victoria-metrics", VICTORIA_METRICS)):
            directory = tmp_path_factory.mktemp(name)
            (directory / "config.yml").write_text(configuration(exporter), encoding="utf-8")
            addresses[name] = f"127.0.0.1:{free_port()}"
            command = [f"/usr/bin/{name}"]
            command += [flag.format(directory=directory, address=addresses[name]) for flag in flags]
            process = running.enter_context(Process(command, log=directory / "log"))
            # What they have stored need not be written.
            running.callback(process.send_signal, signal.SIGKILL)
            process.wait_for("ready to receive web requests|started VictoriaMetrics")
        yield addresses


PROMETHEUS = (
    "--config.file={directory}/config.yml",
    "--storage.tsdb.path={directory}/data",
    "--web.listen-address={address}",
)
VICTORIA_METRICS = (
    "-promscrape.config={directory}/config.yml",
    "-storageDataPath={directory}/data",
    "-httpListenAddr={address}",
    "-search.latencyOffset=0s",  # else samples can be queried after half a minute
)


def configuration(target: str) -> str:
    """Return the shipped configuration for shards with another `target`, and a job that scrapes it whole."""
    shipped = yaml.safe_load((DEPLOY / "shards.yml").read_text(encoding="utf-8"))
    (shards,) = shipped["scrape_configs"]
    for group in shards["static_configs"]:
        group["targets"] = [target]
    whole = {"job_name": WHOLE, "static_configs": [{"targets": [target]}]}
    # Samples are counted before some are dropped. To store all of them would take several times as long.
    kept = {"source_labels": ["__name__"], "regex": "instance_alive|fping_exporter_.+", "action": "keep"}
    settings = {"scrape_interval": "8s", "scrape_timeout": "8s", "metric_relabel_configs": [kept]}
    return yaml.safe_dump({"scrape_configs": [shards | settings, whole | settings]})


def value(address: str, expr: str) -> float:
    """Return the value of the series that the query gives; raises IndexError if there is none."""
    return float(query(address, expr)[0]["value"][1])


@pytest.mark.parametrize(
    ("scraper", "job", "targets"),
    [("prometheus", SHARDS, 4), ("prometheus", WHOLE, 1), ("victoria-metrics", SHARDS, 4)],
)
def test_everything_is_there(
    scrapers: dict[str, str], text: str, scraper: str, job: str, targets: int
) -> None:
    address = scrapers[scraper]
    samples = sum(line[:1] != "#" for line in text.splitlines())
    again = (targets - 1) * len(WITH_EACH_SHARD)

    def is_scraped() -> None:
        assert value(address, f'sum(up{{job="{job}"}})') == targets
        assert value(address, f'sum(scrape_samples_scraped{{job="{job}"}})') == samples + again

    def is_stored() -> None:  # VictoriaMetrics does that in the background
        assert value(address, f'count(instance_alive{{job="{job}"}})') == INSTANCES

    eventually(is_scraped, timeout=120)
    eventually(is_stored)
    shown = [each["metric"] for each in query(address, f'instance_alive{{job="{job}"}}')]
    assert sorted(labels["id"] for labels in shown) == IDS
    assert len({labels["instance"] for labels in shown}) == 1
    own = Counter(
        each["metric"]["__name__"] for each in query(address, f'{{job="{job}",__name__=~"fping_.+"}}')
    )
    expected = Counter(re.findall(r"^fping_exporter_\w+", text, re.MULTILINE))
    assert own == expected | Counter(dict.fromkeys(WITH_EACH_SHARD, targets))


def test_victoriametrics_refuses_what_is_larger_than_its_limit(scrapers: dict[str, str]) -> None:
    """Debian's takes it once, which is when it learns that it is large."""
    address = scrapers["victoria-metrics"]

    def is_refused() -> None:
        assert value(address, f'up{{job="{WHOLE}"}}') == 0

    eventually(is_refused, timeout=120)
    with urllib.request.urlopen(f"http://{address}/targets", timeout=10) as answer:
        assert f"exceeds -promscrape.maxScrapeSize={LIMIT}" in answer.read().decode()
