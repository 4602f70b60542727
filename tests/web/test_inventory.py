"""``/v1/inventory``: which agents get which list, and the headers that say how old it is."""

import gzip
import time
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from fping_exporter.config import Agents, Cache, Config
from fping_exporter.config.duration import Duration
from fping_exporter.errors import CloudError
from fping_exporter.fleet.wire import decode
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Hypervisor, Inventory
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.web import create_app
from fping_exporter.web import inventory as face
from tests.build import ORIGIN, Source, instance, inventory
from tests.web.pages import Pinger

CERTIFICATE = {"SSL_CLIENT_CERT": "PEM", "fping_exporter.client_names": ("cn-1.example",)}


class Central:
    """An exporter with a list of which a test decides the age."""

    def __init__(self, settings: Config, *, local: bool = False) -> None:
        self.lists = 0
        self.guests = [instance("a", "10.0.0.1", host="cn-1"), instance("b", "10.0.0.2", host="cn-2")]
        self.listed_before = 0.0
        self.fault: Exception | None = None
        self.monitor = Monitor(
            Setup(settings, Source(self.list), Pinger({})), telemetry=(telemetry := Telemetry())
        )
        app = create_app(
            lambda: self.monitor,
            telemetry=telemetry,
            telemetry_path="/metrics",
            origin=lambda: ORIGIN,
            others=[face.blueprint(lambda: self.monitor, origin=lambda: ORIGIN, local=local)],
        )
        self.client: FlaskClient = app.test_client()

    def list(self) -> Inventory:
        self.lists += 1
        if self.fault:
            raise self.fault
        there = inventory(
            *self.guests,
            hypervisors=tuple(
                Hypervisor(f"cn-{number}", up=True, host=f"cn-{number}") for number in (1, 2, 3)
            ),
        )
        return there if not self.listed_before else with_age(there, self.listed_before)

    def refresh(self) -> None:
        self.monitor.refresh_list().wait()


def with_age(there: Inventory, seconds: float) -> Inventory:
    return Inventory(
        instances=there.instances,
        hypervisors=there.hypervisors,
        listed_at=there.listed_at,
        duration=there.duration,
        relay_age=seconds,
    )


@pytest.fixture
def central() -> Central:
    exporter = Central(Config(agents=True))
    exporter.refresh()
    return exporter


def ask(central: Central, query: str = "host=cn-1", **headers: str) -> TestResponse:
    return central.client.get(
        f"/v1/inventory?{query}",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        environ_overrides={"REMOTE_USER": "agent"},
    )


def test_an_agent_gets_the_instances_of_its_host(central: Central) -> None:
    answer = ask(central)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    document = decode(answer.data)
    assert [each.id for each in document.instances] == ["a"]
    assert [each.name for each in document.hypervisors] == ["cn-1"]
    assert (document.cloud, document.region) == ("prod", "RegionOne")
    assert decode(ask(central, "host=cn-3.example").data).instances == ()
    both = decode(ask(central, "host=cn-2&host=cn-1").data)
    assert [each.id for each in both.instances] == ["a", "b"]
    assert [each.id for each in decode(ask(central, "network=private").data).instances] == ["a", "b"]


def test_gzip_on_request(central: Central) -> None:
    plain, packed = ask(central), ask(central, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert packed.get_etag() != plain.get_etag()


def test_a_list_that_has_not_changed_is_not_sent_again_but_its_age_is() -> None:
    central = Central(Config(agents=True))
    central.listed_before = 20.0
    central.refresh()
    first = ask(central, Accept_Encoding="gzip")
    assert first.headers["Age"] == "21"
    assert first.headers["Cache-Control"] == "private, max-age=60"
    tag = first.headers["ETag"]
    assert not tag.startswith("W/")
    central.listed_before = 3.0
    central.refresh()
    second = ask(central, Accept_Encoding="gzip", If_None_Match=tag)
    assert (second.status_code, second.data) == (304, b"")
    assert (second.headers["Age"], second.headers["ETag"]) == ("4", tag)
    assert second.headers["Cache-Control"] == first.headers["Cache-Control"]
    assert ask(central, Accept_Encoding="gzip", If_None_Match=f"W/{tag}").status_code == 304
    assert ask(central, If_None_Match=tag).status_code == 200  # not compressed, it is something else
    central.guests[0] = instance("a", "10.0.0.9", host="cn-1")
    central.refresh()
    third = ask(central, Accept_Encoding="gzip", If_None_Match=tag)
    assert third.status_code == 200
    assert third.headers["ETag"] != tag


def test_a_change_on_another_host_changes_nothing_for_this_one(central: Central) -> None:
    tag = ask(central).headers["ETag"]
    central.guests[1] = instance("b", "10.0.0.7", host="cn-2")
    central.refresh()
    assert ask(central, If_None_Match=tag).status_code == 304


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("", 400, "choose instances by host= or by network=, and not by both."),
        ("host=a&network=b", 400, "choose instances by host= or by network=, and not by both."),
        ("host=", 400, "host: expected a name of 1 to 255 characters."),
        (urlencode({"host": "x" * 256}), 400, "host: expected a name of 1 to 255 characters."),
        (
            "&".join(f"network={number}" for number in range(257)),
            400,
            "network: at most 256 of them, got 257.",
        ),
        ("hosts=cn-1", 400, "'hosts': unknown parameter; known are host and network."),
        ("host=cn-9", 404, 'Nova has no host "cn-9", or several of that short name.'),
        (
            "network=other",
            404,
            'the cloud has no network "other", as far as Neutron tells: its list has gaps.',
        ),
    ],
)
def test_a_wrong_choice_gets_one_clear_line(central: Central, query: str, status: int, text: str) -> None:
    answer = ask(central, query)
    assert (answer.status_code, answer.text) == (status, f"{text}\n")


@given(st.lists(st.tuples(st.sampled_from(["host", "network", "x"]), st.text(max_size=300)), max_size=4))
def test_parameters(pairs: list[tuple[str, str]]) -> None:
    try:
        choice = face.parse(MultiDict(pairs))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert bool(choice.hosts) != bool(choice.networks)


def test_an_exporter_that_is_no_central_has_no_list() -> None:
    exporter = Central(Config())
    exporter.refresh()
    answer = ask(exporter)
    assert answer.status_code == 404
    assert "lacks agents: true" in answer.text


@pytest.mark.parametrize(
    ("local", "environ", "status"),
    [
        (False, {}, 403),
        (True, {}, 200),
        (False, {"REMOTE_USER": "agent"}, 200),
        (False, CERTIFICATE, 200),
        (False, {"HTTP_REMOTE_USER": "agent", "HTTP_SSL_CLIENT_CERT": "PEM"}, 403),
    ],
)
def test_nobody_unknown_gets_a_list(local: bool, environ: dict[str, str], status: int) -> None:  # noqa: FBT001, a table
    exporter = Central(Config(agents=True), local=local)
    exporter.refresh()
    assert exporter.client.get("/v1/inventory?host=cn-1", environ_overrides=environ).status_code == status


@pytest.mark.parametrize(
    ("query", "environ", "status"),
    [
        ("host=cn-1", CERTIFICATE, 200),
        ("host=cn-1.example", CERTIFICATE, 200),
        ("host=cn-1.other", CERTIFICATE, 403),
        ("host=cn-2", CERTIFICATE, 403),
        ("host=cn-1&host=cn-2", CERTIFICATE, 403),
        ("host=cn-9", CERTIFICATE, 403),  # which hosts there are is nothing to it
        ("network=private", CERTIFICATE, 403),
        ("host=cn-1", {"REMOTE_USER": "agent"}, 403),
        ("host=cn-1", {**CERTIFICATE, "fping_exporter.client_names": ()}, 403),
        ("host=cn-1", {**CERTIFICATE, "fping_exporter.client_names": ("*.example",)}, 403),
    ],
)
def test_a_certificate_names_the_host(query: str, environ: dict[str, object], status: int) -> None:
    exporter = Central(Config(agents=Agents(match_san=True)))
    exporter.refresh()
    answer = exporter.client.get(f"/v1/inventory?{query}", environ_overrides=environ)
    assert answer.status_code == status
    if status == 403:
        assert answer.text.startswith("agents.match_san: ")


def test_before_the_first_list_an_agent_is_asked_to_come_again() -> None:
    exporter = Central(Config(agents=True))
    exporter.fault = CloudError("Nova is away")
    exporter.refresh()
    answer = ask(exporter)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_while_agents_ask_the_list_is_refreshed_without_a_scrape() -> None:
    cache = Cache(inventory=Duration(0.05), sweep=Duration(0.01), max_stale=Duration(600))
    exporter = Central(Config(agents=True, cache=cache))
    exporter.refresh()
    assert exporter.lists == 1
    ask(exporter)
    deadline = time.monotonic() + 5
    while exporter.lists < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    assert exporter.lists == 2, "nobody has asked since"
