"""os-fping as clients of Nova's old API ask for it: what nobody asked is neither alive nor dead."""

import json
import urllib.error
import urllib.request
from email.message import Message
from typing import Any, NamedTuple

import pytest

from tests.integration.conftest import Start
from tests.integration.exporter import Exporter
from tests.integration.lab import Fate, Lab
from tests.integration.novaclient import Novaclient

pytestmark = pytest.mark.lab

QUICK = {"timeout": "500ms", "retries": 1}


class Reply(NamedTuple):
    """An answer of the API."""

    status: int
    headers: Message
    body: Any


def ask(exporter: Exporter, path: str, *, token: str) -> Reply:
    request = urllib.request.Request(f"http://{exporter.address}{path}", headers={"X-Auth-Token": token})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return Reply(response.status, response.headers, json.load(response))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers, json.load(error))


def list_alive(exporter: Exporter, *, token: str, query: str = "") -> dict[str, bool]:
    reply = ask(exporter, f"/os-fping{query}", token=token)
    assert reply.status == 200
    return {server["id"]: server["alive"] for server in reply.body["servers"]}


def assert_unknown(reply: Reply, id_: str) -> None:
    assert (reply.status, list(reply.body)) == (503, ["serviceUnavailable"])
    assert id_ in reply.body["serviceUnavailable"]["message"]
    assert int(reply.headers["Retry-After"]) >= 1


def instance_alive(exporter: Exporter) -> dict[str, bool]:
    series = exporter.scrape(timeout=30).by("instance_alive", "id", "project_id")
    return {id_: bool(up) for (id_, _), up in series.items()}


def unasked(exporter: Exporter) -> float:
    return exporter.scrape().value("fping_exporter_os_fping_unasked_total")


def test_a_guest_that_no_vantage_reaches_is_not_dead(lab: Lab, start: Start, novaclient: Novaclient) -> None:
    """The exporter of one host has no way to the guests of the other."""
    servers = lab.servers()
    fixed = [addr for addr in lab.addrs() if addr.network_kind != "external"]
    fates: dict[str, set[Fate]] = {}
    for addr in fixed:
        fates.setdefault(addr.server_id, set()).add(addr.fate)
    hosts = {addr.server_id: addr.host for addr in fixed}
    here = {id_ for id_, host in hosts.items() if host == "lab-compute-1"}
    remote = set(hosts) - here
    living = next(id_ for id_ in sorted(remote) if Fate.ALIVE in fates[id_] and servers[id_].active)
    exporter = start(
        cloud="admin",
        instances={"host": "lab-compute-1"},
        probe=QUICK | {"vantages": ["ovnmeta"], "addresses": "fixed"},
    )
    metrics = instance_alive(exporter)

    said = list_alive(exporter, token=lab.token("admin"), query="?all_tenants=1")

    without_address = {id_ for id_, server in servers.items() if not server.addresses}
    assert without_address
    assert said == {id_: Fate.ALIVE in fates[id_] for id_ in here} | dict.fromkeys(without_address, False)
    assert {id_: said[id_] for id_ in metrics} == metrics
    assert unasked(exporter) == len(remote)

    assert_unknown(ask(exporter, f"/os-fping/{living}", token=lab.token("admin")), living)
    shown = novaclient.fping("get", living, version="2.35", endpoint=f"http://{exporter.address}/v2.1")
    assert (shown.found, shown.code) == (None, 503)
    assert unasked(exporter) == len(remote) + 2


def test_whose_answer_it_would_be_is_not_known(lab: Lab, start: Start) -> None:
    """Either twin's owner is told that nobody knows, by an exporter in its default configuration."""
    exporter = start(cloud="admin", probe=QUICK)
    metrics = instance_alive(exporter)

    for cloud in ("alpha", "beta"):
        own = lab.servers(cloud=cloud)
        (twin,) = (id_ for id_, server in own.items() if server.name == f"{cloud}-twin")
        said = list_alive(exporter, token=lab.token(cloud))
        assert twin not in said
        assert said == {id_: up for id_, up in metrics.items() if id_ in own}
        assert_unknown(ask(exporter, f"/os-fping/{twin}", token=lab.token(cloud)), twin)
