"""The document in which a list travels: its form is held fast, and a neighbouring version can be read."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.errors import CentralError
from fping_exporter.fleet.inventory_part import cut
from fping_exporter.fleet.wire import VERSION, Document, decode, encode
from fping_exporter.model import (
    Hypervisor,
    Inventory,
    Network,
    Port,
    Project,
    SecurityRule,
    Topology,
)
from tests.build import address, instance, inventory
from tests.fleet.worlds import inventories

GOLDEN = Path(__file__).parents[1] / "golden" / "inventory.json"

GUEST = instance(
    "i1",
    address("10.0.0.5", mac="fa:16:3e:00:00:01"),
    address("192.0.2.5", kind="floating", mac="fa:16:3e:00:00:01"),
    host="cn-1",
    hypervisor="cn-1.example",
    power_state="RUNNING",
    availability_zone="az-1",
    tags=("web",),
    metadata={"role": "www"},
    launched_at=1_795_000_000.0,
    created_at=1_794_999_000.0,
    flavor="m1.small",
    image="image-1",
    user_id="user-1",
)
PORT = Port("net-1", "fa:16:3e:00:00:01", {"10.0.0.5": "sub-1"}, ("group-1",), "i1", "ovn")
WHOLE = inventory(
    GUEST,
    projects=(Project("p", "alpha", "default"),),
    hypervisors=(Hypervisor("cn-1.example", up=True, host="cn-1"),),
    topology=Topology(
        ports={"i1": (PORT,)},
        owners={"10.0.0.5": (PORT,)},
        floating={"192.0.2.5": ("i1",)},
        public={"i1": {"10.0.0.5": "192.0.2.5"}},
        claims={"10.0.0.5": frozenset({"i2", "i1"})},
        metadata_ports={
            "net-1": (Port("net-1", "fa:16:3e:00:00:02", {"10.0.0.2": "sub-1"}, None, "port 2"),)
        },
        networks={"net-1": Network("net-1", "private", external=False, shared=False)},
        routers={"sub-1": ("router-1",)},
        distributed=frozenset({"router-1"}),
        rules={"group-1": (SecurityRule(4, "10.0.0.0/8", "group-2", "addresses-1", "rule-1"),)},
        group_names={"group-1": "web", "elsewhere": "db"},
        members={"group-2": frozenset({"10.0.0.9", "10.0.0.8"})},
        address_groups={"addresses-1": ("198.51.100.0/24",)},
        incomplete=frozenset({"ports"}),
    ),
)
BODY = encode(cut(WHOLE, [GUEST], hosts=["cn-1"]), cloud="mine", region="west")


def test_the_document_is_as_the_golden_one() -> None:
    assert json.loads(BODY) == json.loads(GOLDEN.read_text("utf-8"))


def test_the_same_list_is_the_same_document_in_whatever_order_it_was_listed() -> None:
    one, other = instance("a", host="cn-1"), instance("b", host="cn-1")
    documents = {
        encode(inventory(*order), cloud="mine", region="west") for order in ((one, other), (other, one))
    }
    assert len(documents) == 1


@given(inventories())
def test_what_is_encoded_is_decoded(whole: Inventory) -> None:
    document = decode(encode(whole, cloud="mine", region="west"))
    assert document.instances == tuple(sorted(whole.instances, key=lambda each: each.id))
    assert (document.projects, document.hypervisors) == (whole.projects, whole.hypervisors)
    assert (document.topology, document.parts) == (whole.topology, whole.parts)
    assert (document.cloud, document.region) == ("mine", "west")


def changed(**changes: object) -> bytes:
    return json.dumps(json.loads(BODY) | changes).encode()


def test_the_next_version_may_have_more_fields() -> None:
    def with_more(value: Any) -> Any:
        if isinstance(value, list):
            return [with_more(each) for each in value]
        if isinstance(value, dict):
            more = {} if all(re.search("[0-9]|:", key) for key in value) else {"a_new_field": {"x": [1]}}
            return {key: with_more(each) for key, each in value.items()} | more
        return value

    document: dict[str, Any] = json.loads(BODY) | {"version": VERSION + 1}
    document["instances"] = with_more(document["instances"])
    for each in document["instances"]:
        del each["metadata"]["a_new_field"]
    document["hypervisors"] = with_more(document["hypervisors"])
    document["topology"]["a_new_field"] = {"x": 1}
    document["topology"]["ports"] = with_more(document["topology"]["ports"])
    for ports in document["topology"]["ports"].values():
        for each in ports:
            each["subnets"].pop("a_new_field", None)
    document["a_new_field"] = [1]
    read = decode(json.dumps(document).encode())
    assert read == msgspec.structs.replace(decode(BODY), version=VERSION + 1)


def test_the_version_before_may_lack_fields() -> None:
    document = json.loads(BODY)
    minimal = {
        "format": document["format"],
        "version": VERSION - 1,
        "instances": [{"id": "a", "project_id": "p", "name": "a", "status": "ACTIVE"}],
        "hypervisors": [{"name": "cn-1.example", "up": True}],
    }
    read = decode(json.dumps(minimal).encode())
    assert read.instances == (instance("a"),)
    assert read.hypervisors == (Hypervisor("cn-1.example", up=True),)
    assert read.topology == Topology()


@pytest.mark.parametrize(
    ("version", "older"),
    [(VERSION + 2, "this agent"), (VERSION + 40, "this agent"), (VERSION - 2, "the central")],
)
def test_a_version_further_away_is_refused_with_the_side_to_upgrade(version: int, older: str) -> None:
    expected = (
        f"its list is of version {version} of the format, and this agent reads {VERSION - 1} to "
        f"{VERSION + 1}: upgrade {older}"
    )
    with pytest.raises(CentralError, match=f"^{re.escape(expected)}$"):
        decode(changed(version=version))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "its answer is no list of fping-exporter ("),
        (b"<html>", "its answer is no list of fping-exporter ("),
        (b"[]", "its answer is no list of fping-exporter ("),
        (b"{}", "its answer is no list of fping-exporter"),
        (
            changed(instances=[{"id": 1}]),
            "its list cannot be read (Expected `str`, got `int` - at `$.instances[0].id`)",
        ),
        (changed(instances=[{}]), "its list cannot be read ("),
        (b'{"format":' + b"[" * 5000, "its answer is no list of fping-exporter ("),
    ],
)
def test_what_is_no_list_is_refused(body: bytes, expected: str) -> None:
    with pytest.raises(CentralError) as caught:
        decode(body)
    assert str(caught.value).startswith(expected)


@given(st.binary() | st.integers(0, len(BODY)).map(lambda end: BODY[:end]))
def test_no_body_is_a_bug(body: bytes) -> None:
    try:
        assert isinstance(decode(body), Document)
    except CentralError as error:
        assert "\n" not in str(error)
