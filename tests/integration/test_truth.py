"""What /metrics says of a cloud at rest: the truth of every guest, and Nova's word beside it."""

import subprocess
from collections import Counter

import pytest

from fping_exporter.nova_status import contradicts
from tests.integration.conftest import Start
from tests.integration.exporter import Scrape
from tests.integration.lab import Fate, Lab, Server, Service, Truth
from tests.integration.process import eventually

pytestmark = pytest.mark.lab

# The kernel says after three seconds that nobody has an address: two rounds of two seconds hear it.
PATIENT = {"timeout": "2s", "retries": 1}


def word(alive: bool | None) -> str:  # noqa: FBT001, it is the value itself
    return "unknown" if alive is None else str(alive).lower()


def assert_says(scrape: Scrape, servers: dict[str, Server], truth: dict[str, Truth]) -> None:
    """All that is said of instances is true, of every instance, and of no other."""
    all_ = [(server, truth[server.id]) for server in servers.values()]
    key = {server.id: (server.id, server.project_id) for server, _ in all_}
    labels = ("id", "project_id")
    asked = {s.id: t.alive for s, t in all_ if t.alive is not None}
    assert scrape.by("instance_alive", *labels) == {key[id_]: alive for id_, alive in asked.items()}
    assert scrape.by("instance_hypervisor_active", *labels) == {key[s.id]: s.active for s, _ in all_}
    assert scrape.by("instance_state_mismatch", *labels) == {
        key[s.id]: contradicts(s.status, alive=asked[s.id]) for s, _ in all_ if s.id in asked
    }
    assert scrape.by("instance_silent", *labels, "reason") == {
        (*key[s.id], t.reason): 1 for s, t in all_ if t.reason
    }
    assert scrape.by("project_instances", "project_id", "status", "alive") == Counter(
        (s.project_id, s.status, word(t.alive)) for s, t in all_
    )
    assert scrape.by("hypervisor_instances", "hypervisor", "status", "alive") == Counter(
        (s.hypervisor, s.status, word(t.alive)) for s, t in all_ if s.hypervisor
    )
    rtts = scrape.by("instance_rtt_seconds", *labels)
    assert set(rtts) == set(scrape.by("instance_last_reply_timestamp_seconds", *labels))
    assert set(rtts) == {key[s.id] for s, t in all_ if t.alive}
    assert all(0 < rtt < 2 for rtt in rtts.values())
    losses = scrape.by("instance_packet_loss_ratio", *labels)
    assert all(losses[key[s.id]] < 1 for s, t in all_ if t.alive)
    assert all(losses.get(key[s.id], 1) == 1 for s, t in all_ if not t.alive)


def test_admin_sees_every_project(lab: Lab, start: Start) -> None:
    exporter = start(cloud="admin", probe=PATIENT)
    servers = lab.servers()
    truth = lab.truth(servers)
    assert len(servers) == 64
    assert {t.reason for t in truth.values()} == {
        *(None, "not_active", "unreachable", "no_reply", "no_vantage", "ambiguous_address")
    }

    scrape = exporter.scrape(timeout=30)

    assert_says(scrape, servers, truth)
    assert scrape.value("fping_exporter_up") == 1
    assert scrape.by("hypervisor_up", "hypervisor") == {(name,): up for name, up in lab.hypervisors().items()}
    names = lab.project_names()
    assert {
        (project, name) for project, name, _ in scrape.by("project_info", "project_id", "name", "domain_id")
    } == {(server.project_id, names[server.project_id]) for server in servers.values()}
    info = scrape.by(
        "instance_info", "id", "project_id", "name", "status", "hypervisor", "availability_zone",
        "addresses", "power_state", "task_state",
    )  # fmt: skip
    assert {(*values[:6], frozenset(values[6].split(","))) for values in info} == {
        (s.id, s.project_id, s.name, s.status, s.hypervisor, s.zone, frozenset(s.addresses or [""]))
        for s in servers.values()
    }
    assert scrape.by("fping_exporter_part_success", "part") == {
        (part,): 1 for part in ("hypervisors", "projects", "ports", "floating_ips", "security_groups")
    }
    assert scrape.value("fping_exporter_ambiguous_targets") == len(lab.ambiguous())


def test_member_sees_its_own_project_without_any_further_right(lab: Lab, start: Start) -> None:
    exporter = start(cloud="alpha", all_projects=False, probe=PATIENT)
    servers = lab.servers(cloud="alpha")
    assert {server.project_id for server in servers.values()} == {lab.project_id("alpha")}

    scrape = exporter.scrape(timeout=30)

    assert_says(scrape, servers, lab.truth(servers, seen=servers))
    assert scrape.by("hypervisor_up", "hypervisor") == {}
    assert scrape.value("fping_exporter_part_success", part="hypervisors") == 0
    assert set(scrape.by("project_info", "project_id", "name", "domain_id")) == {
        (lab.project_id("alpha"), "alpha", "default")
    }


def test_projects_are_listed_by_name(lab: Lab, start: Start) -> None:
    exporter = start(cloud="admin", projects=["beta"], probe=PATIENT)
    servers = {s.id: s for s in lab.servers().values() if s.project_id == lab.project_id("beta")}

    assert_says(exporter.scrape(timeout=30), servers, lab.truth(servers))


def test_multiping_says_who_is_alive_as_well(lab: Lab, start: Start) -> None:
    exporter = start(cloud="admin", probe={"engine": "multiping"})
    truth = lab.truth(lab.servers())

    alive = exporter.scrape(timeout=60).by("instance_alive", "id", "project_id")

    assert {id_: bool(value) for (id_, _), value in alive.items()} == {
        id_: said.alive for id_, said in truth.items() if said.alive is not None
    }


def test_only_ipv6_answers(lab: Lab, start: Start) -> None:
    server = lab.guests("alpha-shared")[0]
    ipv4 = [ip for ip in server.addresses if ":" not in ip]
    lab.set_fate(Fate.ALIVE, server.id)
    lab.set_fate(Fate.SILENT, *ipv4)
    try:
        both = start(cloud="alpha", all_projects=False).scrape(timeout=30)
        ipv4_only = start(cloud="alpha", all_projects=False, probe={"families": [4]}).scrape(timeout=30)
    finally:
        lab.set_fate(Fate.ALIVE, server.id)

    who = {"id": server.id, "project_id": server.project_id}
    assert both.value("instance_alive", **who) == 1
    assert ipv4_only.value("instance_silent", **who, reason="no_reply") == 1


def test_reader_without_the_right_is_told_what_to_change(start: Start) -> None:
    exporter = start(cloud="monitor")

    def assert_refused() -> None:
        scrape = exporter.scrape()
        assert scrape.value("fping_exporter_up") == 0
        assert scrape.value("fping_exporter_inventory_success") == 0
        assert scrape.by("instance_alive", "id", "project_id") == {}

    eventually(assert_refused)
    line = exporter.wait_for(r".*listing the instances failed.*")[0]
    assert "os_compute_api:servers:detail:get_all_tenants" in line
    assert "all_projects: false" in line


def test_reader_of_its_own_project_needs_no_other_right(start: Start) -> None:
    scrape = start(cloud="demo-reader", all_projects=False).scrape(timeout=30)

    assert scrape.value("fping_exporter_up") == 1
    assert scrape.value("fping_exporter_inventory_instances") == 0


def test_keystone_away_at_the_start(lab: Lab, start: Start) -> None:
    with lab.without(Service.KEYSTONE):
        exporter = start(cloud="admin", cache={"sweep": "1s", "inventory": "2s"})
        assert exporter.scrape().value("fping_exporter_up") == 0

    eventually(lambda: _assert_up(exporter.scrape()))


def _assert_up(scrape: Scrape) -> None:
    assert scrape.value("fping_exporter_up") == 1


def test_promtool_finds_nothing_to_blame(start: Start) -> None:
    text = start(cloud="admin").scrape(timeout=30).text

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )

    assert "instance_alive{" in text
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
