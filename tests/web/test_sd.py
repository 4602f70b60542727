"""``/sd`` on Flask's test client: labels like those of openstack_sd_config, and invalid requests."""

import gc
import gzip
import json
import re
import string
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.errors import CloudError
from fping_exporter.model import Address, AddressKind, Inventory, Project, Topology
from fping_exporter.web.once import OncePer
from fping_exporter.web.sd import Selection, pack, parse
from tests.build import SILENT, address, instance, inventory
from tests.web.pages import Exporter, Pinger


def cloud() -> Inventory:
    return inventory(
        instance(
            "a",
            address("10.0.0.1"),
            address("198.51.100.1", kind="floating"),
            address("2001:db8::1"),
            name="web-1",
            project_id="p1",
            metadata={"role": "web", "Grüße-an": "alle"},
            flavor="m1.tiny",
            image="0f5a",
            user_id="3f0c",
        ),
        instance("b", "10.0.0.2", project_id="p2", status="SHUTOFF"),
        instance("c", project_id="p2"),
        projects=(Project("p1", "shop", "default"), Project("p2", "lab", "default")),
    )


def asked(query: str = "", *, cloud: Callable[[], Inventory] = cloud) -> list[dict[str, Any]]:
    answer = Exporter(cloud, Pinger({"10.0.0.2": SILENT})).client.get(f"/sd?{query}")
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    groups: list[dict[str, Any]] = answer.get_json()
    return groups


def test_the_labels_of_openstack_sd() -> None:
    common = {
        "__meta_openstack_instance_flavor": "m1.tiny",
        "__meta_openstack_instance_id": "a",
        "__meta_openstack_instance_image": "0f5a",
        "__meta_openstack_instance_name": "web-1",
        "__meta_openstack_instance_status": "ACTIVE",
        "__meta_openstack_project_id": "p1",
        "__meta_openstack_user_id": "3f0c",
        "__meta_openstack_tag_role": "web",
        "__meta_openstack_tag_Gr__e_an": "alle",
        "__meta_openstack_address_pool": "private",
    }
    assert asked("port=9100&project=p1") == [
        {
            "targets": ["10.0.0.1:9100"],
            "labels": common
            | {
                "__meta_openstack_private_ip": "10.0.0.1",
                "__meta_openstack_public_ip": "198.51.100.1",
            },
        },
        {
            "targets": ["[2001:db8::1]:9100"],
            "labels": common | {"__meta_openstack_private_ip": "2001:db8::1"},
        },
    ]


def test_two_ports_of_one_network_each_have_their_own_floating_address() -> None:
    def two() -> Inventory:
        pairs = (("fa:16:3e:00:00:01", "10.0.0.1", "198.51.100.2"), ("fa:16:3e:00:00:02", "10.0.0.2", None))
        return inventory(
            instance(
                "a",
                *(
                    Address(ip, 4, kind, "private", mac)
                    for mac, fixed, floating in pairs
                    for kind, ip in ((AddressKind.FIXED, fixed), (AddressKind.FLOATING, floating))
                    if ip
                ),
            )
        )

    public = {
        group["labels"]["__meta_openstack_private_ip"]: group["labels"].get("__meta_openstack_public_ip")
        for group in asked(cloud=two)
    }
    assert public == {"10.0.0.1": "198.51.100.2", "10.0.0.2": None}


def test_a_floating_address_that_may_lead_to_either_of_two() -> None:
    def two() -> Inventory:
        floating = address("198.51.100.1", kind="floating")
        return inventory(instance("a", "10.0.0.1", "10.0.0.2", floating))

    groups = asked(cloud=two)
    assert [group["targets"] for group in groups] == [["10.0.0.1:80"], ["10.0.0.2:80"]]
    assert not any("__meta_openstack_public_ip" in group["labels"] for group in groups)


def test_neutron_tells_which_floating_address_leads_where() -> None:
    def two() -> Inventory:
        floating = [address(ip, kind="floating") for ip in ("198.51.100.1", "198.51.100.2")]
        return inventory(
            instance("a", "10.0.0.1", "10.0.0.2", *floating),
            instance("b", "10.0.0.3", address("198.51.100.3", kind="floating")),  # which has moved away
            topology=Topology(
                floating={"198.51.100.1": ("a",), "198.51.100.2": ("a",), "198.51.100.3": ("",)},
                public={"a": {"10.0.0.1": "198.51.100.2", "10.0.0.2": "198.51.100.1"}},
            ),
        )

    labels = [group["labels"] for group in asked(cloud=two)]
    assert {
        each["__meta_openstack_private_ip"]: each.get("__meta_openstack_public_ip") for each in labels
    } == {"10.0.0.1": "198.51.100.2", "10.0.0.2": "198.51.100.1", "10.0.0.3": None}


def test_an_answer_of_many_parts_is_one_array() -> None:
    def many() -> Inventory:
        return inventory(*(instance(f"{n}", f"10.0.{n // 250}.{n % 250}") for n in range(1_700)))

    targets = [group["targets"] for group in asked(cloud=many)]
    assert targets == [[f"10.0.{n // 250}.{n % 250}:80"] for n in range(1_700)]


def test_a_sweep_changes_what_pings_select_and_a_list_changes_all() -> None:
    pinger = Pinger({})
    exporter = Exporter(cloud, pinger, settings=config.Config(cache=config.Cache(sweep=Duration(0.001))))

    def ask(query: str) -> tuple[str, int]:
        time.sleep(0.002)
        answer = exporter.client.get(f"/sd?{query}")
        return answer.headers["ETag"], len(answer.get_json())

    alive, every = ask("alive=1"), ask("")
    assert (alive[1], every[1]) == (3, 3)
    assert (ask("alive=1"), ask("")) == (alive, every)
    pinger.outcomes = {"10.0.0.2": SILENT}
    assert ask("alive=1") == (ANY, 2)
    assert ask("") == every
    assert ask("alive=1&port=81") == (ANY, 2)


def test_selections_without_end_are_not_kept_without_end() -> None:
    exporter = Exporter(cloud, Pinger({}))
    kept = []
    for port in range(1, 30):
        exporter.client.get(f"/sd?port={port}")
        kept.append(sum(isinstance(each, OncePer) for each in gc.get_objects()))
    assert kept[-1] == kept[14]


def test_an_empty_label_is_left_out() -> None:
    [group] = asked(cloud=lambda: inventory(instance("a", "10.0.0.1", metadata={"role": "", "tier": ""})))
    assert "__meta_openstack_user_id" not in group["labels"]
    assert not [label for label in group["labels"] if "tag" in label]


@given(st.dictionaries(st.text(), st.text(), max_size=4), st.text())
def test_any_name_and_metadata_are_labels(metadata: dict[str, str], name: str) -> None:
    one = instance("a", "10.0.0.1", name=name, metadata=metadata)
    body = pack([one], inventory(one), Selection())
    [group] = json.loads(gzip.decompress(body.gzipped))
    labels = group["labels"]
    assert labels.get("__meta_openstack_instance_name", "") == name
    tags = {label: value for label, value in labels.items() if label.startswith("__meta_openstack_tag_")}
    assert set(tags.values()) <= set(metadata.values())
    assert bool(tags) == any(metadata.values())
    assert all(re.fullmatch("[a-zA-Z0-9_]+", label) for label in labels)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [["10.0.0.1:80"], ["[2001:db8::1]:80"], ["10.0.0.2:80"]]),
        ("alive=1", [["10.0.0.1:80"], ["[2001:db8::1]:80"]]),
        ("alive=0", [["10.0.0.2:80"]]),
        ("project=lab", [["10.0.0.2:80"]]),
        ("project=shop&project=p2&alive=0&port=65535", [["10.0.0.2:65535"]]),
        ("project=gone", []),
    ],
)
def test_the_selection(query: str, expected: list[list[str]]) -> None:
    assert [group["targets"] for group in asked(query)] == expected


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("port=0", "port: expected a number from 1 to 65535, got '0'"),
        ("port=65536", "port: expected a number from 1 to 65535, got '65536'"),
        ("port=ssh", "port: expected a number from 1 to 65535, got 'ssh'"),
        ("port=%D9%A8%D9%A0", "port: expected a number from 1 to 65535, got '٨٠'"),
        ("port=80&port=81", "port: given 2 times"),
        ("port=", "port: empty"),
        ("alive=yes", "alive: expected 1 or 0, got 'yes'"),
        ("project=", "project: empty"),
        ("projects=a", "'projects': unknown parameter; known are port, alive, project"),
        ("a%0Ab=1", "'a\\nb': unknown parameter; known are port, alive, project"),
    ],
)
def test_a_bad_query_is_refused_in_one_line(query: str, said: str) -> None:
    exporter = Exporter(cloud, Pinger({}))
    answer = exporter.client.get(f"/sd?{query}")
    assert answer.status_code == 400
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.text == said + "\n"
    assert exporter.pinger.sweeps == 0


@given(st.lists(st.tuples(st.sampled_from(["port", "alive", "project", "x"]), st.text(string.printable))))
def test_any_query_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    try:
        selection = parse(MultiDict(pairs))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert 1 <= selection.port <= 65535
        assert {name for name, _ in pairs} <= {"port", "alive", "project"}


@pytest.mark.parametrize(("interval", "status"), [("0.5", 503), ("60", 200)])
def test_the_answer_comes_before_prometheus_gives_up(interval: str, status: int) -> None:
    swept = threading.Event()

    def slow() -> Inventory:
        swept.wait(0.3)
        return cloud()

    header = {"X-Prometheus-Refresh-Interval-Seconds": interval}
    answer = Exporter(slow, Pinger({})).client.get("/sd", headers=header)
    swept.set()
    assert answer.status_code == status


def test_without_results_prometheus_is_to_keep_what_it_has() -> None:
    def no_cloud() -> Inventory:
        raise CloudError("Nova does not answer")

    answer = Exporter(no_cloud, Pinger({})).client.get("/sd")
    assert answer.status_code == 503
    assert answer.text == "no results are fresh enough\n"


def test_chosen_labels_come_without_a_prefix() -> None:
    settings = config.Config(labels={"team": "metadata.role", "pool": "tag:pool=*"})
    exporter = Exporter(cloud, Pinger({}), settings=settings)
    groups = exporter.client.get("/sd").get_json()
    assert [group["labels"].get("team") for group in groups] == ["web", "web", None]
    assert not any("pool" in group["labels"] for group in groups)  # an empty label is none
