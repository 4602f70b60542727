"""The pages and interfaces of several clouds behind one server."""

import gc
import gzip
import json
import re
import threading
import time
import weakref
from collections.abc import Collection, Iterator
from html import unescape

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from werkzeug.test import Client

from fping_exporter import config
from fping_exporter.config import strict_yaml
from fping_exporter.errors import CloudError
from fping_exporter.model import Inventory, Sweep, Target
from fping_exporter.web import create_app
from tests.build import ORIGIN, SILENT, Source, instance, inventory
from tests.web.pages import Pinger
from tests.web.site import FakeCloud, make_cloud, make_front, make_router, open_site

SOON = 10.0


def unlisted() -> Inventory:
    raise CloudError("Nova does not answer")


class Hanging(Pinger):
    """A prober whose sweeps do not end before a test lets them."""

    def __init__(self) -> None:
        super().__init__({})
        self.released = threading.Event()

    def probe(self, targets: Collection[Target]) -> Sweep:
        assert self.released.wait(30)
        return super().probe(targets)


def cloud_of(name: str, *guests: str, pinger: Pinger | None = None) -> FakeCloud:
    """A cloud with one instance for each of `guests`; the first is silent."""
    ips = {guest: f"10.0.0.{number}" for number, guest in enumerate(guests, start=1)}
    listed = inventory(*(instance(id_, ip) for id_, ip in ips.items()))
    listed = msgspec.structs.replace(listed, listed_at=time.time())
    return make_cloud(name, Source(lambda: listed), pinger or Pinger({"10.0.0.1": SILENT}))


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    pinger = Hanging()
    yield pinger
    pinger.released.set()


def three(hanging: Hanging) -> tuple[FakeCloud, ...]:
    """One cloud that works, one that hangs, one that refuses."""
    return (
        cloud_of("lon1", "a", "b"),
        cloud_of("lon2", "c", pinger=hanging),
        make_cloud("par1", Source(unlisted), Pinger({})),
    )


def values(text: str, name: str) -> dict[str, float]:
    """Return the samples of a metric by the value of their only label, or by an empty text."""
    found = {family.name: family for family in parse_text(text)}
    samples = found[name].samples if name in found else []
    return {next(iter(sample.labels.values()), ""): sample.value for sample in samples}


def ids(text: str) -> list[str]:
    return re.findall(r'(?m)^instance_alive\{id="([^"]+)"', text)


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split()).replace("\N{EN DASH}", "-")


def test_a_probe_brings_one_cloud_and_what_the_exporter_says_of_it() -> None:
    client = open_site(cloud_of("lon1", "a", "b"), cloud_of("lon2", "c"))
    text = client.get("/probe?cloud=lon1").text
    assert ids(text) == ["a", "b"]
    assert values(text, "fping_exporter_up") == {"": 1}
    assert values(text, "fping_exporter_inventory_instances") == {"": 2}
    assert values(text, "fping_exporter_sweep_targets") == {"": 2}
    assert "cloud=" not in text
    assert "process_" not in text
    assert "build_info" not in text
    assert ids(client.get("/probe?cloud=lon2").text) == ["c"]


def test_a_probe_has_the_formats_of_metrics() -> None:
    client = open_site(cloud_of("lon1", "a", "b", "c"), cloud_of("lon2"))
    openmetrics = client.get(
        "/probe?cloud=lon1",
        headers={"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"},
    )
    assert gzip.decompress(openmetrics.data).endswith(b"# EOF\n")
    named = client.get("/probe?name[]=instance_alive&cloud=lon1&name[]=fping_exporter_up").text
    assert {line.partition("{")[0].split()[0] for line in named.splitlines() if line[0] != "#"} == {
        "instance_alive",
        "fping_exporter_up",
    }
    shards = [ids(client.get(f"/probe?shard={number}/2&cloud=lon1").text) for number in range(2)]
    assert sorted([*shards[0], *shards[1]]) == ["a", "b", "c"]
    assert client.get("/probe?cloud=lon1&shard=2/2").status_code == 400


def test_a_probe_of_a_cloud_that_hangs_or_refuses_is_answered_in_time(hanging: Hanging) -> None:
    client = open_site(*three(hanging))
    for name in ("lon2", "par1"):
        answer = client.get(f"/probe?cloud={name}", headers={"X-Prometheus-Scrape-Timeout-Seconds": "0.6"})
        assert answer.status_code == 200
        assert values(answer.text, "fping_exporter_up") == {"": 0}
    assert ids(client.get("/probe?cloud=lon1").text) == ["a", "b"]


@pytest.mark.parametrize("path", ["/probe", "/sd"])
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", "cloud: missing; known are lon1, lon2\n"),
        ("?cloud", "cloud: unknown: ''; known are lon1, lon2\n"),
        ("?cloud=par%0a", "cloud: unknown: 'par\\n'; known are lon1, lon2\n"),
        ("?cloud=lon1&cloud=lon1", "cloud: given 2 times; known are lon1, lon2\n"),
        ("?clou%64=lon1&cloud=lon2", "cloud: given 2 times; known are lon1, lon2\n"),
    ],
)
def test_without_a_known_cloud_there_is_one_line_that_names_them(path: str, query: str, error: str) -> None:
    answer = open_site(cloud_of("lon1"), cloud_of("lon2")).get(f"{path}{query}")
    assert answer.status_code == 400
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.text == error


def test_the_metrics_of_several_clouds_are_of_the_process_and_wait_for_nothing(
    hanging: Hanging,
) -> None:
    client = open_site(*three(hanging))
    client.get("/probe?cloud=lon1")
    client.get("/probe?cloud=lon2", headers={"X-Prometheus-Scrape-Timeout-Seconds": "0.6"})
    text = client.get("/metrics").text
    assert values(text, "fping_exporter_up") == {"lon1": 1, "lon2": 0, "par1": 0}
    assert "fping_exporter_build_info{" in text
    assert "process_cpu_seconds_total" in text
    assert ids(text) == []
    assert "fping_exporter_sweep" not in text


def test_an_only_cloud_has_everything_at_both_places() -> None:
    client = open_site(cloud_of("default", "a", "b"))
    text = client.get("/metrics").text
    assert ids(text) == ids(client.get("/probe?cloud=default").text) == ["a", "b"]
    assert values(text, "fping_exporter_up") == {"": 1}
    assert "process_cpu_seconds_total" in text
    assert len(client.get("/sd").json) == len(client.get("/sd?cloud=default&port=9100").json) == 2  # type: ignore[arg-type]
    assert "1 silent" in client.get("/").text
    assert 'href="/clouds/default/instance/a' in client.get("/clouds/default/").text
    assert "All clouds" not in client.get("/").text
    assert client.get("/sd/clouds").json == [
        {"targets": ["default"], "labels": {"__meta_fping_exporter_cloud": "default"}}
    ]


def test_the_targets_are_those_of_the_cloud_that_is_named() -> None:
    client = open_site(cloud_of("lon1", "a", "b"), cloud_of("lon2", "c"))
    assert [each["targets"] for each in json.loads(client.get("/sd?cloud=lon1&alive=1&port=22").text)] == [
        ["10.0.0.2:22"]
    ]
    assert client.get("/clouds/lon2/sd").json == client.get("/sd?cloud=lon2").json
    assert client.get("/sd?cloud=lon1&nonsense=1").status_code == 400


def test_the_clouds_are_targets_for_prometheus() -> None:
    answer = open_site(cloud_of("lon1"), cloud_of("lon2")).get("/sd/clouds")
    assert answer.content_type == "application/json"
    assert answer.json == [
        {"targets": ["lon1"], "labels": {"__meta_fping_exporter_cloud": "lon1"}},
        {"targets": ["lon2"], "labels": {"__meta_fping_exporter_cloud": "lon2"}},
    ]


def test_the_overview_has_a_card_for_each_cloud(hanging: Hanging) -> None:
    client = open_site(*three(hanging))
    for name in ("lon1", "par1"):
        client.get(f"/probe?cloud={name}")
    client.get("/")
    page = client.get("/")
    assert page.headers["Refresh"] == "5"
    cards = [words(card) for card in re.findall(r"(?s)<li class=.*?</li>", page.text)]
    assert re.sub(r"\d+s ago [\d:]+ UTC", "now", cards[0]) == (
        "lon1 up ACTIVE 2 Silent 1 Unknown 0 Last ping now"
    )
    assert cards[1] == "lon2 waiting ACTIVE - Silent - Unknown - Last ping -"
    assert cards[2] == "par1 no results ACTIVE - Silent - Unknown - Last ping - Nova does not answer"
    assert 'href="clouds/lon1/"' in page.text
    assert "<title>1 silent ·" in page.text
    assert "refresh=15" in page.text
    assert client.get("/?refresh=30").headers["Refresh"] == "30"


def test_the_overview_counts_nobody_by_results_that_are_too_old() -> None:
    lists = iter([inventory(instance("a", "10.0.0.1"))])
    settings = strict_yaml.convert(
        {"cache": {"inventory": "1ms", "sweep": "1ms", "max_stale": "50ms"}}, config.Config
    )
    old = make_cloud(
        "old",
        Source(lambda: next(lists, None) or unlisted()),
        Pinger({"10.0.0.1": SILENT}),
        settings=settings,
    )
    old.monitor.snapshot(timeout=None)
    assert old.monitor.latest
    time.sleep(0.06)
    page = open_site(old, cloud_of("lon1", "b")).get("/").text
    cards = [words(card) for card in re.findall(r"(?s)<li class=.*?</li>", page)]
    assert cards[0].startswith("old no results ACTIVE - Silent - Unknown - Last ping ")
    assert "Last ping -" not in cards[0]
    assert "<title>1 silent ·" in page


def test_the_overview_waits_once_for_a_cloud_that_hangs(hanging: Hanging) -> None:
    clouds = {"lon2": cloud_of("lon2", "c", pinger=hanging), "lon1": cloud_of("lon1", "a")}
    client = Client(make_router(clouds, make_front(clouds, max_wait=SOON)))
    client.get("/", environ_overrides={"fping_exporter.stop_waiting": lambda: True})
    clouds["lon1"].monitor.snapshot(timeout=None)
    began = time.monotonic()
    assert re.findall("lon2 waiting|lon1 up", words(client.get("/").text)) == ["lon2 waiting", "lon1 up"]
    assert time.monotonic() - began < SOON
    hanging.released.set()
    clouds["lon2"].monitor.snapshot(timeout=None)
    assert re.findall("lon2 up|lon1 up", words(client.get("/").text)) == ["lon2 up", "lon1 up"]


def test_the_pages_of_a_cloud_say_which_one_it_is_and_link_all() -> None:
    client = open_site(cloud_of("lon1", "a"), cloud_of("lon2", "b"))
    page = client.get("/clouds/lon2/")
    assert page.status_code == 200
    assert "<title>1 silent · lon2 · RegionOne · mon-1 · fping-exporter</title>" in page.text
    assert '<a href="/">All clouds</a>' in page.text
    links = set(re.findall(r'(?:href|src|action)="(/[^"?#]*)', page.text))
    assert links - {"/"} == {link for link in links if link.startswith("/clouds/lon2/")}
    for link in links:
        assert client.get(link).status_code == 200, link
    assert words(client.get("/clouds/lon2/instance/b").text).count("lon2") >= 1
    assert client.get("/clouds/lon2/instance/a").status_code == 404


def test_prefixes_stand_before_every_link() -> None:
    client = open_site(cloud_of("lon1", "a"), cloud_of("lon2", "b"))
    prefixed = {"SCRIPT_NAME": "/fping"}
    page = client.get("/clouds/lon2/", environ_overrides=prefixed).text
    assert '<a href="/fping/">All clouds</a>' in page
    assert 'href="/fping/clouds/lon2/instance/b' in page
    slashless = client.get("/clouds/lon2?q=x", environ_overrides=prefixed)
    assert slashless.status_code == 308
    assert slashless.headers["Location"].endswith("/fping/clouds/lon2/?q=x")
    assert 'href="/fping/static/style.css"' in client.get("/", environ_overrides=prefixed).text


def test_a_path_that_leads_nowhere_links_the_clouds() -> None:
    client = open_site(cloud_of("lon1"), cloud_of("lon2"))
    for path in ("/clouds/par1/", "/clouds/par1", "/nothing", "/os-fping", "/instance/a"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert 'href="/clouds/lon1/"' in answer.text
        assert f"Nothing is served at {path}" in words(answer.text)
    assert client.get("/", environ_overrides={"PATH_INFO": "//metrics"}).status_code == 404
    inner = client.get("/clouds/lon1/nothing")
    assert inner.status_code == 404
    assert "Nothing is served at /clouds/lon1/nothing" in words(inner.text)
    assert open_site(cloud_of("only")).get("/clouds/other/").status_code == 404


@pytest.mark.parametrize("version", ["", "/v2", "/v2.1", "/v2.1/project"])
def test_os_fping_is_below_each_cloud(version: str) -> None:
    client = open_site(cloud_of("lon1", "a", "b"), cloud_of("lon2", "c"))
    answer = client.get(f"/clouds/lon2{version}/os-fping")
    assert [server["id"] for server in json.loads(answer.text)["servers"]] == ["c"]
    fault = client.get(f"/clouds/lon2{version}/os-fping/a/b/c")
    assert (fault.status_code, fault.content_type) == (404, "application/json")


def test_ready_waits_for_each_cloud_but_for_none_for_ever(hanging: Hanging) -> None:
    client = open_site(*three(hanging))
    assert client.get("/-/ready").text == "The first sweep is not complete yet: lon1, lon2, par1.\n"
    for name in ("lon1", "par1"):
        client.get(f"/probe?cloud={name}")
    answer = client.get("/-/ready")
    assert (answer.status_code, answer.text) == (503, "The first sweep is not complete yet: lon2.\n")
    hanging.released.set()
    client.get("/probe?cloud=lon2")
    assert client.get("/-/ready").status_code == 200
    assert client.get("/clouds/par1/-/ready").status_code == 503
    assert client.get("/-/healthy").status_code == 200


def test_another_cloud_of_the_same_name_has_pages_of_its_own() -> None:
    clouds = {"lon1": cloud_of("lon1", "a"), "lon2": cloud_of("lon2", "b")}
    client = Client(make_router(clouds, make_front(clouds)))
    assert ids(client.get("/probe?cloud=lon1").text) == ["a"]
    clouds["lon1"] = cloud_of("lon1", "z")
    assert ids(client.get("/probe?cloud=lon1").text) == ["z"]
    clouds["new"] = clouds.pop("lon2")
    assert client.get("/probe?cloud=lon2").status_code == 400
    assert client.get("/clouds/lon2/").status_code == 404
    assert ids(client.get("/probe?cloud=new").text) == ["b"]


@pytest.mark.parametrize("path", ["/", "/instance/a", "/instance/none", "/hypervisors", "/?format=json"])
def test_a_page_is_of_one_configuration_if_a_reload_comes_meanwhile(path: str) -> None:
    before, after = cloud_of("lon1", "a", "b"), make_cloud("lon1", Source(unlisted), Pinger({}))
    before.monitor.snapshot(timeout=None)
    monitors = [before.monitor]
    client = create_app(
        lambda: monitors.pop() if monitors else after.monitor,
        telemetry=before.telemetry,
        telemetry_path="/metrics",
        origin=lambda: ORIGIN,
    ).test_client()
    answer = client.get(path)
    assert answer.status_code == (404 if path == "/instance/none" else 200)
    assert "no longer served as metrics" not in answer.text


def test_nothing_of_a_cloud_that_is_gone_is_kept_once_another_one_is_asked() -> None:
    clouds = {"lon1": cloud_of("lon1", "a"), "lon2": cloud_of("lon2", "b")}
    client = Client(make_router(clouds, make_front(clouds)))
    for path in ("/probe?cloud=lon1", "/probe?cloud=lon2", "/clouds/lon2/", "/clouds/lon2/sd", "/"):
        assert client.get(path).status_code == 200
    monitor = weakref.ref(clouds.pop("lon2").monitor)
    client.get("/metrics")
    deadline = time.monotonic() + SOON
    while monitor() is not None and time.monotonic() < deadline:  # a thread of its may be about to end
        gc.collect()
        time.sleep(0.01)
    assert monitor() is None
