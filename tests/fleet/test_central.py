"""An agent's list: from which central, how old, and what happens where none answers."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fping_exporter.cli import main
from fping_exporter.config import Agents, Cache, CentralInventory, Config, Scope
from fping_exporter.config.duration import Duration
from fping_exporter.errors import CentralError, ConfigError
from fping_exporter.fleet.central import Centrals
from fping_exporter.fleet.http_get import get
from fping_exporter.model import Hypervisor
from tests.build import instance
from tests.fleet.centrals import Central, Pki, serve
from tests.fleet.scripted import Scripted
from tests.permission import need_ping

A, B = instance("a", "10.0.0.1", host="cn-1"), instance("b", "10.0.0.2", host="cn-2")
PASSWORD = """
tls_server_config: {cert_file: central.pem, key_file: central.key}
basic_auth_users: {agent: "$2b$04$h0.iNSk7BRRGkznNj.QVNOvvpsaJtjYGUvhfZDpKaZS7YSjK0HSdW"}
"""


class Codes(list[int]):
    def observe(self, service: str, code: int) -> None:
        assert service == "central"
        self.append(code)


def agent(
    pki: Pki, *urls: str, name: str = "cn-1", host: str = "cn-1", codes: Codes | None = None
) -> Centrals:
    settings = CentralInventory(
        central=urls,
        host=host,
        ca_file=pki.path("ca.pem"),
        cert_file=pki.path(f"{name}.pem"),
        key_file=pki.path(f"{name}.key"),
    )
    return Centrals(Config(inventory=settings), observe=(codes if codes is not None else Codes()).observe)


@pytest.fixture
def central(pki: Pki) -> Iterator[Central]:
    with serve(Central(A, B), pki) as central:
        central.refresh()
        yield central


@pytest.fixture
def second(pki: Pki) -> Iterator[Central]:
    with serve(Central(A, B), pki) as central:
        central.refresh()
        yield central


def ids(centrals: Centrals) -> list[str]:
    return [each.id for each in centrals.inventory().instances]


def test_the_instances_of_one_host(pki: Pki, central: Central) -> None:
    centrals = agent(pki, central.url)
    assert (centrals.name, centrals.region) == ("", "")
    before = time.time()
    there = centrals.inventory()
    assert there.instances == (A,)
    assert there.hypervisors == (Hypervisor("cn-1", up=True, host="cn-1"),)
    assert there.relay_age is not None
    assert 0 <= there.relay_age < 60
    assert there.listed_at == pytest.approx(time.time() - there.relay_age, abs=5)
    assert 0 < there.duration <= time.time() - before
    assert (centrals.name, centrals.region) == ("prod", "RegionOne")


def test_a_list_that_has_not_changed_is_not_sent_again_and_is_as_young_as_the_new_one(
    pki: Pki, central: Central
) -> None:
    codes = Codes()
    central.refresh(age=300)
    centrals = agent(pki, central.url, codes=codes)
    first = centrals.inventory()
    assert first.relay_age
    assert 300 <= first.relay_age < 330
    central.refresh(age=10)
    second = centrals.inventory()
    assert second.relay_age
    assert 10 <= second.relay_age < 40
    assert second.instances is first.instances
    central.guests[0] = instance("a", "10.0.0.9", host="cn-1")
    central.refresh()
    assert centrals.inventory().instances == (central.guests[0],)
    assert codes == [200, 304, 200]


def test_a_list_that_is_older_than_the_one_here_is_not_used(pki: Pki, second: Central) -> None:
    """As after the death of a central, of which the other one has listed before it."""
    second.guests.clear()
    second.refresh(age=50)
    with serve(Central(A), pki) as first:
        first.refresh()
        centrals = agent(pki, first.url, second.url)
        while (there := centrals.inventory()).instances != (A,):  # the order is the host's
            centrals = agent(pki, second.url, first.url)
    again = centrals.inventory()
    assert again.instances == (A,)
    assert again.relay_age is not None
    assert again.relay_age >= (there.relay_age or 0)
    second.refresh()
    assert centrals.inventory().instances == ()


def test_where_one_central_is_away_another_is_asked_and_then_first(
    pki: Pki, central: Central, caplog: pytest.LogCaptureFixture
) -> None:
    codes = Codes()
    away = "https://127.0.0.1:1"
    for order in ((away, central.url), (central.url, away)):
        centrals = agent(pki, *order, codes=codes)
        assert ids(centrals) == ["a"]
        assert ids(centrals) == ["a"]
    assert codes == [200, 304, 200, 304]
    lines = [line for line in caplog.messages if "after the other centrals" in line]
    assert lines == [
        f"{away} is asked after the other centrals for a while: no connection: Connection refused"
    ]


def test_of_two_lists_that_are_late_the_younger_one_is_used(
    pki: Pki, central: Central, second: Central
) -> None:
    central.refresh(age=400)
    second.guests.clear()
    second.refresh(age=300)
    for order in ((central.url, second.url), (second.url, central.url)):
        there = agent(pki, *order).inventory()
        assert there.instances == ()
        assert there.relay_age
        assert 300 <= there.relay_age < 330
    second.refresh()
    assert ids(agent(pki, central.url, second.url)) == []


def test_where_no_central_answers_the_error_names_each(pki: Pki) -> None:
    away = ("https://127.0.0.1:1", "https://127.0.0.1:2")
    with pytest.raises(CentralError) as caught:
        agent(pki, *away).inventory()
    faults = str(caught.value).split("; ")
    assert sorted(faults) == [f"{url}: no connection: Connection refused" for url in away]


def test_a_host_that_nova_does_not_have(pki: Pki, central: Central) -> None:
    expected = f'{central.url}: HTTP 404: Nova has no host "cn-9", or several of that short name.'
    with pytest.raises(CentralError, match=f"^{re.escape(expected)}$"):
        agent(pki, central.url, host="cn-9").inventory()


def test_a_certificate_of_another_authority_is_refused(pki: Pki, central: Central) -> None:
    with pytest.raises(CentralError, match=r"no connection: |no answer of HTTP"):
        agent(pki, central.url, name="stranger").inventory()


def test_a_central_that_another_authority_vouches_for_is_refused(pki: Pki, central: Central) -> None:
    settings = CentralInventory(central=(central.url,), host="cn-1", ca_file=pki.path("other-ca.pem"))
    with pytest.raises(CentralError, match="no connection: its certificate is refused: self-signed cert"):
        Centrals(Config(inventory=settings)).inventory()


def test_a_central_of_another_name_is_refused(pki: Pki, central: Central) -> None:
    url = central.url.replace("127.0.0.1", "localhost")
    with pytest.raises(CentralError, match="no connection: its certificate is refused: Hostname mismatch"):
        agent(pki, url).inventory()


def test_a_certificate_that_names_another_host_is_refused(pki: Pki) -> None:
    with serve(Central(A, B, agents=Agents(match_san=True)), pki) as central:
        central.refresh()
        assert ids(agent(pki, central.url)) == ["a"]
        assert ids(agent(pki, central.url, name="cn-2", host="cn-2.example")) == ["b"]
        with pytest.raises(
            CentralError, match=r'HTTP 403: agents\.match_san: .* does not name the host "cn-2"'
        ):
            agent(pki, central.url, host="cn-2").inventory()


def test_a_password(pki: Pki, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    with serve(Central(A, B), pki, PASSWORD) as central:
        central.refresh()
        settings = CentralInventory(
            central=(central.url,),
            host="cn-1",
            ca_file=pki.path("ca.pem"),
            username="agent",
            password_file=str(file),
        )
        centrals = Centrals(Config(inventory=settings))
        with pytest.raises(CentralError, match="HTTP 401: Unauthorized"):
            centrals.inventory()
        file.write_text("secret\n")  # a new one is in force at the next request
        assert ids(centrals) == ["a"]
        file.unlink()
        with pytest.raises(CentralError, match=r"inventory\.password_file: .* cannot be read: No such file"):
            centrals.inventory()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"ca_file": "{none}"},
            "inventory.ca_file: {none}: cannot be read: No such file or directory",
        ),
        ({"ca_file": "{junk}"}, "inventory.ca_file: {junk}: no certificate in PEM"),
        (
            {"cert_file": "{junk}", "key_file": "{junk}"},
            "inventory: {junk} and {junk} cannot be used as certificate and key: ",
        ),
        (
            {"cert_file": "{junk}", "key_file": "{none}"},
            "inventory.key_file: {none}: cannot be read: No",
        ),
        (
            {"username": "agent", "password_file": "{empty}"},
            "inventory.password_file: {empty}: expected one line of text",
        ),
        (
            {"username": "agent", "password_file": "{junk}"},
            "inventory.password_file: {junk}: expected one line of text",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, changes: dict[str, str], expected: str) -> None:
    (tmp_path / "junk").write_text("no\ncertificate")
    (tmp_path / "empty").write_text("\n")
    names = {"junk": str(tmp_path / "junk"), "empty": str(tmp_path / "empty"), "none": str(tmp_path / "none")}
    files = {key: value.format(**names) for key, value in changes.items()}
    settings = CentralInventory(central=("https://central",), host="self", **files)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        Centrals(Config(inventory=settings))
    assert str(caught.value).startswith(expected.format(**names))
    assert "\n" not in str(caught.value)


HEADERS = b"Age: 1\r\nCache-Control: private, max-age=60\r\n"
BODY = b'{"format":"fping-exporter inventory","version":1}'


def reply(
    body: bytes = BODY, *, status: bytes = b"200 OK", headers: bytes = HEADERS, length: int = 0
) -> bytes:
    size = b"Content-Length: %d\r\n" % (length or len(body))
    return b"HTTP/1.1 " + status + b"\r\n" + headers + size + b"\r\n" + body


GZIP = HEADERS + b"Content-Encoding: gzip\r\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(headers=b""), "its answer does not say how old the list is"),
        (reply(headers=b"Age: 1\r\n"), "its answer does not say how old the list is"),
        (reply(headers=b"Age: -1\r\nCache-Control: max-age=60\r\n"), "its answer does not say how old"),
        (reply(headers=b"Age: 1\r\nCache-Control: s-max-age=60\r\n"), "its answer does not say how old"),
        (reply(b"", status=b"304 Not Modified"), "HTTP 304, but no list is here"),
        (reply(b"", status=b"302 Found", headers=b"Location: /\r\n"), "HTTP 302: no reason given"),
        (reply(b"a\x1b[31m\n\nb" * 100, status=b"500 Error"), "HTTP 500: a[31m ba[31m b"),
        (reply(b"<html>"), "its answer is no list of fping-exporter ("),
        (reply(headers=GZIP), "its answer is damaged (Error -3"),
        (reply(b"\x1f\x8b\x08\x00", headers=GZIP), "its answer is damaged (it ends early)"),
        (reply(length=1000), "the answer ended early"),
        (b"", "no answer of HTTP (RemoteDisconnected)"),
        (b"nonsense\r\n\r\n", "no answer of HTTP (BadStatusLine)"),
    ],
)
def test_an_answer_that_cannot_be_used(answer: bytes, expected: str) -> None:
    with Scripted(answer) as server:
        with pytest.raises(CentralError) as caught:
            plain_agent(server.url).inventory()
        assert str(caught.value).startswith(f"{server.url}: {expected}")
        assert str(caught.value).isprintable()


def plain_agent(url: str, **cache: Duration) -> Centrals:
    settings = CentralInventory(central=(url,), network=("private",))
    return Centrals(Config(inventory=settings, cache=Cache(**cache)))


def test_an_answer_without_a_length_is_read_to_its_end() -> None:
    with Scripted(b"HTTP/1.0 200 OK\r\n" + HEADERS + b"\r\n" + BODY) as server:
        assert plain_agent(server.url).inventory().instances == ()
        assert server.request.startswith(b"GET /v1/inventory?network=private HTTP/1.1\r\n")


@pytest.mark.parametrize("head", [True, False])
def test_an_answer_that_drips_is_given_up(head: bool) -> None:  # noqa: FBT001, a table
    answer = b"HTTP/1.1 200 OK\r\n" + HEADERS + (b"X: " if head else b"\r\n")
    seconds = {"inventory": Duration(0.1), "sweep": Duration(0.1), "max_stale": Duration(0.6)}
    with (
        Scripted(answer, drip=0.02) as server,
        pytest.raises(CentralError, match="no complete answer within"),
    ):
        plain_agent(server.url, **seconds).inventory()


def test_pauses_follow_the_age_of_the_list(pki: Pki, central: Central) -> None:
    centrals = agent(pki, central.url)
    assert 1.5 <= centrals.next_poll() <= 3.5
    central.refresh(age=20)
    centrals.inventory()
    assert 10 < centrals.next_poll() <= 60 - 20 + 2.5


def test_pauses_grow_while_there_is_no_new_list(pki: Pki, central: Central) -> None:
    centrals = agent(pki, central.url)
    for most in (1.5, 3, 6, 12, 24, 45, 45):
        central.refresh(age=100)
        centrals.inventory()
        assert most / 3 <= centrals.next_poll() <= most
    central.refresh()
    centrals.inventory()
    assert centrals.next_poll() > 10


def test_pauses_grow_while_no_central_answers(pki: Pki) -> None:
    centrals = agent(pki, "https://127.0.0.1:1")
    for most in (1.5, 3, 6, 12):
        with pytest.raises(CentralError):
            centrals.inventory()
        assert most / 3 <= centrals.next_poll() <= most


def test_a_reload_goes_on_with_the_list(pki: Pki, central: Central) -> None:
    codes = Codes()
    before = agent(pki, central.url, codes=codes)
    before.inventory()
    after = agent(pki, central.url, codes=codes)
    assert after.scope == before.scope
    after.take_over(before)
    assert ids(after) == ["a"]
    assert codes == [200, 304]
    assert agent(pki, central.url, host="cn-2").scope != before.scope


def test_the_list_of_another_cloud_of_a_central_is_another_list(pki: Pki) -> None:
    def scope(*urls: str) -> Scope:
        return agent(pki, *urls).scope

    lon1 = scope("https://c1/clouds/lon1", "https://c2/clouds/lon1")
    assert lon1 == scope("https://c3:10605/clouds/lon1/")
    assert lon1 != scope("https://c1/clouds/lon2", "https://c2/clouds/lon2")
    assert scope("https://c1") == scope("https://c2/") != lon1


def test_agents_share_the_centrals(pki: Pki) -> None:
    """Each prefers one; with twenty hosts, both centrals are somebody's."""
    urls = ("https://127.0.0.1:1", "https://127.0.0.1:2")
    first = set()
    for number in range(20):
        with pytest.raises(CentralError) as caught:
            agent(pki, *urls, host=f"cn-{number}").inventory()
        first.add(str(caught.value).partition(": ")[0])
    assert first == set(urls)


def test_the_configuration_of_a_cloud_names_no_centrals() -> None:
    with pytest.raises(ConfigError, match="expected the centrals"):
        Centrals(Config())


def test_an_answer_has_a_bound() -> None:
    limits: dict[str, Any] = {"headers": {}, "context": None, "seconds": 5.0}
    for most, fits in ((len(BODY), True), (len(BODY) - 1, False)):
        with Scripted(reply()) as server:
            if fits:
                assert get(server.url + "/?a", max_bytes=most, **limits).body == BODY
                continue
            with pytest.raises(CentralError, match="the answer is larger than"):
                get(server.url + "/?a", max_bytes=most, **limits)


def test_an_answer_may_take_longer_than_a_connection() -> None:
    """As that of a central which lists very many instances in the networks that are asked for."""
    with Scripted(reply(), delay=0.3) as server:
        answer = get(
            server.url + "/?a", headers={}, context=None, seconds=30, max_bytes=1000, connect_seconds=0.2
        )
    assert answer.body == BODY


@pytest.mark.parametrize("command", [["list"], ["explain", "a"], ["wait", "a"]])
def test_a_command_uses_no_list_that_is_too_old(
    command: list[str], central: Central, pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_ping()
    central.refresh(age=36_000)
    files = {name: pki.path(file) for name, file in FILES.items()}
    settings = {"inventory": {"central": [central.url], "host": "cn-1", **files}}
    (tmp_path / "agent.yml").write_text(json.dumps(settings))
    assert main([*command, "--config.file", str(tmp_path / "agent.yml")]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "the newest list of the central is 10h old, and cache.max_stale is 10m" in printed.err


FILES = {"ca_file": "ca.pem", "cert_file": "cn-1.pem", "key_file": "cn-1.key"}
