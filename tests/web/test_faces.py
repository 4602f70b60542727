"""``/metrics``, ``/-/healthy``, ``/-/ready`` and the front page on Flask's test client."""

import gzip
import re
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from werkzeug.test import Client

from fping_exporter import __version__
from fping_exporter.cli.parser import RESERVED
from fping_exporter.errors import CloudError
from fping_exporter.metrics.exposition import Exposition
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Inventory, Outcome, Sweep, Target
from fping_exporter.monitor import Monitor
from fping_exporter.web import metrics as metrics_face
from fping_exporter.web.metrics import time_to_wait
from tests.build import ALIVE, Source, instance, inventory
from tests.web.site import make_app, make_cloud, make_front, open_site


class Pinger:
    """A prober to which every target answers, and that can be held up."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()

    def probe(self, targets: Collection[Target]) -> Sweep:
        assert self.open.wait(10)
        outcomes: dict[Target, Outcome] = dict.fromkeys(targets, ALIVE)
        return Sweep(
            outcomes=outcomes, sent=len(outcomes), received=len(outcomes), started_at=time.time(), duration=0
        )


def no_cloud() -> Inventory:
    raise CloudError("Nova does not answer")


def client_of(*guests: str, pinger: Pinger | None = None, path: str = "/metrics") -> Client:
    cloud = (
        (lambda: inventory(*(instance(id_, f"10.0.0.{ord(id_[0])}") for id_ in guests)))
        if guests
        else no_cloud
    )
    return open_site(make_cloud("default", Source(cloud), pinger or Pinger()), path=path)


CLIENT = client_of("a")


def test_a_scrape_brings_the_instances_and_the_exporter() -> None:
    answer = client_of("a", "b").get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in parse_text(answer.text)}
    assert [sample.labels["id"] for sample in families["instance_alive"].samples] == ["a", "b"]
    assert [sample.value for sample in families["fping_exporter_up"].samples] == [1]
    assert families["fping_exporter_packets_sent"].samples[0].value == 2
    assert families["fping_exporter_build_info"].samples[0].labels["version"] == __version__


def test_a_telemetry_path_with_a_space() -> None:
    client = client_of("a", path="/a b")
    assert client.get("/a%20b").status_code == 200
    assert 'href="/a%20b"' in client.get("/").text


def test_openmetrics_on_request() -> None:
    answer = client_of("a").get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    names = {family.name for family in parse_openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert {"instance_alive", "fping_exporter_packets_sent"} <= names


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
@example('application/openmetrics-text;version="1.0.0"')
@example("application/openmetrics-text;version=1.0.0-rc.0")
@example("text/plain;version=1.x")
def test_no_accept_header_is_an_error(accept: str) -> None:
    answer = CLIENT.get("/metrics?name[]=fping_exporter_up", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.text.endswith("# EOF\n") == ("openmetrics" in answer.content_type)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_gzip_on_request(accept: str) -> None:
    client = client_of("a")
    plain = client.get("/metrics?name[]=instance_alive", headers={"Accept": accept})
    packed = client.get(
        "/metrics?name[]=instance_alive", headers={"Accept": accept, "Accept-Encoding": "br, GZIP;q=0.5"}
    )
    assert plain.headers.get("Content-Encoding") is None
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert gzip.decompress(packed.data) == plain.data


def test_gzip_without_a_cloud() -> None:
    packed = client_of().get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert b"\nfping_exporter_up 0.0\n" in gzip.decompress(packed.data)


@pytest.mark.parametrize("accept", ["", "br", "gzip;q=0", "identity"])
def test_no_gzip_unasked(accept: str) -> None:
    answer = client_of("a").get("/metrics", headers={"Accept-Encoding": accept})
    assert answer.headers.get("Content-Encoding") is None
    assert "instance_alive{" in answer.text


def test_names_restrict_the_answer() -> None:
    answer = client_of("a").get(
        "/metrics?name[]=instance_alive&name[]=fping_exporter_packets_sent_total&name[]=x"
    )
    assert [line.split("{")[0].split(" ")[0] for line in answer.text.splitlines() if line[0] != "#"] == [
        "instance_alive",
        "fping_exporter_packets_sent_total",
    ]


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_shards_have_each_instance_once_and_each_whether_to_believe_it(accept: str, encoding: str) -> None:
    client = client_of(*"abcdefgh")
    found: list[str] = []
    own: list[set[str]] = []
    for number in range(3):
        answer = client.get(
            f"/metrics?shard={number}/3", headers={"Accept": accept, "Accept-Encoding": encoding}
        )
        text = (gzip.decompress(answer.data) if encoding else answer.data).decode()
        assert "\nfping_exporter_up 1.0\n" in text
        assert text.endswith("# EOF\n") == bool(accept)
        found += re.findall(r'\ninstance_alive{id="(.)"', text)
        own.append(set(re.findall(r"\n((?:fping_exporter|process)_\w+)", text)))
    assert sorted(found) == list("abcdefgh")
    assert {"fping_exporter_build_info", "fping_exporter_packets_sent_total"} < own[0]
    trust = {"up", "blind", "sweep_last_success_timestamp_seconds"}
    assert own[1:] == [{f"fping_exporter_{name}" for name in trust}] * 2


def test_names_choose_from_what_a_shard_has() -> None:
    client = client_of(*"ab")
    asked = "name[]=fping_exporter_up&name[]=fping_exporter_build_info"
    first, second = (client.get(f"/metrics?{asked}&shard={number}/2").text for number in range(2))
    assert "fping_exporter_build_info{" in first
    assert re.findall(r"^\w+", second, re.MULTILINE) == ["fping_exporter_up"]


def test_names_and_a_shard() -> None:
    client = client_of(*"abcdefgh")
    answers = [client.get(f"/metrics?name[]=instance_alive&shard={number}/2").text for number in range(2)]
    lines = [line for answer in answers for line in answer.splitlines() if line[0] != "#"]
    assert sorted(line.partition(",")[0] for line in lines) == [
        f'instance_alive{{id="{id_}"' for id_ in "abcdefgh"
    ]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("shard=4/4", "shard: expected i/n with 0 <= i < n <= 64, such as 0/4, got '4/4'"),
        ("shard=", "shard: expected i/n with 0 <= i < n <= 64, such as 0/4, got ''"),
        ("shard=0/2&shard=1/2", "shard: given 2 times"),
    ],
)
def test_a_wrong_shard_is_refused_with_one_line(query: str, error: str) -> None:
    answer = client_of().get(f"/metrics?{query}")
    assert answer.status_code == 400
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.text == f"{error}\n"


def test_without_a_cloud_the_exporter_still_speaks_for_itself() -> None:
    answer = client_of().get("/metrics")
    assert answer.status_code == 200
    families = {family.name: family for family in parse_text(answer.text)}
    assert "instance_alive" not in families
    assert families["fping_exporter_up"].samples[0].value == 0
    assert families["fping_exporter_inventory_success"].samples[0].value == 0


def test_a_scrape_returns_before_prometheus_gives_up() -> None:
    pinger = Pinger()
    pinger.open.clear()
    client = client_of("a", pinger=pinger)
    early = client.get("/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": "0.6"})
    assert "instance_alive" not in early.text
    pinger.open.set()
    assert 'instance_alive{id="a"' in client.get("/metrics").text


class Inflating(Exposition):
    """A text that takes as long to inflate as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.open = threading.Event(), threading.Event()

    def plain(self, **_: Any) -> Iterator[bytes]:
        self.begun.set()
        assert self.open.wait(10)
        yield b"inflated 1\n"


class Shown(Monitor):
    """A monitor that has this text."""

    def __init__(self, text: Exposition) -> None:
        self._text = text

    def exposition(self, **_: Any) -> Exposition:
        return self._text


@pytest.mark.parametrize("place_wanted", [False, True])
def test_plain_text_is_waited_for_no_longer_than_a_sweep(*, place_wanted: bool) -> None:
    text = Inflating()
    app = Flask(__name__)
    app.register_blueprint(
        metrics_face.blueprint(lambda: Shown(text), own=[Telemetry().registry], path="/metrics")
    )
    first: list[str] = []
    thread = threading.Thread(target=lambda: first.append(app.test_client().get("/metrics").text))
    thread.start()
    assert text.begun.wait(10)
    late = app.test_client().get(
        "/metrics",
        headers={"X-Prometheus-Scrape-Timeout-Seconds": "60" if place_wanted else "0.6"},
        environ_overrides={"fping_exporter.stop_waiting": lambda: place_wanted},
    )
    packed = app.test_client().get("/metrics", headers={"Accept-Encoding": "gzip"})
    text.open.set()
    thread.join()
    assert (late.status_code, packed.status_code) == (503, 200)
    assert "ask for gzip" in late.text
    assert first[0].startswith("inflated 1\n")
    assert app.test_client().get("/metrics").text.startswith("inflated 1\n")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 9.5),
        ("", 9.5),
        ("15", 14.5),
        ("0.2", 0),
        ("nan", 9.5),
        ("inf", 9.5),
        ("-1", 9.5),
        ("x", 9.5),
        ("1e9", 119.5),
        ("1e10", 119.5),
    ],
)
def test_the_time_a_request_may_wait(header: str | None, seconds: float) -> None:
    assert time_to_wait(header) == seconds


def test_another_path_for_the_metrics() -> None:
    client = client_of("a", path="/probe/metrics")
    assert client.get("/probe/metrics").status_code == 200
    assert client.get("/metrics").status_code == 404
    assert 'href="/probe/metrics"' in client.get("/").text


@pytest.mark.parametrize("path", ["//metrics", "///-/healthy", "//os-fping", "//"])
def test_a_second_slash_makes_another_path(path: str) -> None:
    # As the server passes it on; to the test client a path that begins so would be a host.
    assert client_of("a").get("/", environ_overrides={"PATH_INFO": path}).status_code == 404


def test_ready_after_the_first_sweep() -> None:
    client = client_of("a")
    assert client.get("/-/healthy").status_code == 200
    assert client.get("/-/ready").status_code == 503
    client.get("/metrics")
    assert client.get("/-/ready").status_code == 200


def test_the_front_page_has_the_numbers_of_the_last_sweep() -> None:
    client = client_of("a", "b")
    page = client.get("/")
    assert (
        '<dt>ACTIVE, answering</dt><dd><a href="/?status=ACTIVE&amp;ping=alive#instances">2</a></dd>'
        in page.text
    )
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")


def test_the_metrics_can_be_nowhere_that_means_something_else() -> None:
    cloud = make_cloud("default", Source(no_cloud), Pinger())
    apps = make_app(cloud), make_front({cloud.name: cloud})
    rules = [rule.rule for app in apps for rule in app.url_map.iter_rules()]
    segments = {rule.split("/")[1] for rule in [*rules, "/clouds/NAME/", "/probe"]} - {"", "metrics"}
    assert {segment for segment in segments if not segment.startswith("<")} == RESERVED
