"""A central's answers: which instances they have, and how often they are made."""

import gzip
import tracemalloc

import msgspec
import pytest

from fping_exporter.fleet.publisher import Choice, Publisher, UnknownChoiceError
from fping_exporter.fleet.wire import decode
from fping_exporter.model import Hypervisor, Inventory, Network, Port, Topology
from tests.build import instance, inventory

TOPOLOGY = Topology(
    ports={
        "a": (Port("net-1", "m1", {"10.0.0.1": "sub"}, ()),),
        "b": (Port("net-2", "m2", {"10.0.0.2": "sub"}, ()), Port("net-1", "m3", {"10.0.0.3": "sub"}, ())),
    },
    networks={
        id_: Network(id_, name, external=False, shared=False)
        for id_, name in (("net-1", "private"), ("net-2", "private"), ("net-3", "empty"))
    },
)
A, B = instance("a", "10.0.0.1", host="cn-1"), instance("b", "10.0.0.2", "10.0.0.3", host="cn-2.one.example")
C = instance("c", "10.0.0.4", host="cn-2.two.example")
WHOLE = inventory(
    A, B, C, topology=TOPOLOGY, hypervisors=(Hypervisor("node-9.example", up=True, host="cn-9.example"),)
)


def ids(
    publisher: Publisher,
    choice: Choice,
    complete: Inventory = WHOLE,
    selected: Inventory | None = None,
) -> list[str]:
    published = publisher.publish(
        choice, complete=complete, selected=selected or complete, cloud="mine", region=""
    )
    document = decode(gzip.decompress(published.compressed))
    assert document.cloud == "mine"
    return [each.id for each in document.instances]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(hosts=("cn-1",)), ["a"]),
        (Choice(hosts=("cn-1", "cn-2.one.example")), ["a", "b"]),
        (Choice(hosts=("cn-9.example",)), []),
        (Choice(networks=("net-2",)), ["b"]),
        (Choice(networks=("net-2", "net-1")), ["a", "b"]),
        (Choice(networks=("private",)), ["a", "b", "c"]),
        (Choice(networks=("net-3",)), []),
        (Choice(networks=("empty",)), []),
    ],
)
def test_a_choice(choice: Choice, expected: list[str]) -> None:
    """Of `c` Neutron knows no port, so that Nova's name of its network counts: ``private``."""
    assert ids(Publisher(), choice) == expected


def test_a_network_that_is_not_there() -> None:
    with pytest.raises(UnknownChoiceError, match=r'the cloud has no network "net-4"$'):
        ids(Publisher(), Choice(networks=("net-4",)))


@pytest.mark.parametrize(
    "topology", [Topology(), msgspec.structs.replace(TOPOLOGY, incomplete=frozenset({"networks"}))]
)
def test_a_network_that_may_be_there(topology: Topology) -> None:
    with pytest.raises(UnknownChoiceError, match='no network "net-4", as far as Neutron tells: its list'):
        ids(Publisher(), Choice(networks=("net-4",)), inventory(A, topology=topology))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cn-1", "cn-1"),
        ("CN-1", "cn-1"),
        ("cn-1.example", "cn-1"),
        ("cn-2.one.example", "cn-2.one.example"),
        ("cn-9", "cn-9.example"),
    ],
)
def test_a_host_has_a_short_and_a_long_name(name: str, expected: str) -> None:
    assert Publisher().nova_host(name, complete=WHOLE, selected=WHOLE) == expected


@pytest.mark.parametrize("name", ["cn-3", "cn-2", "cn-9.other", "node-9"])
def test_a_host_that_nova_does_not_have_or_has_twice(name: str) -> None:
    with pytest.raises(
        UnknownChoiceError, match=f'^Nova has no host "{name}", or several of that short name$'
    ):
        Publisher().nova_host(name, complete=WHOLE, selected=WHOLE)


def test_where_hypervisors_cannot_be_listed_a_host_may_have_no_instance() -> None:
    there = inventory(A)
    assert Publisher().nova_host("cn-7", complete=there, selected=there) == "cn-7"
    assert ids(Publisher(), Choice(hosts=("cn-7",)), there) == []


def test_where_nova_hides_the_hosts_of_instances_no_list_says_that_a_host_is_empty() -> None:
    hidden = inventory(instance("a", "10.0.0.1"), hypervisors=WHOLE.hypervisors)
    with pytest.raises(UnknownChoiceError, match=r"^Nova does not tell this central on which hosts"):
        Publisher().nova_host("cn-9", complete=hidden, selected=hidden)
    shelved = inventory(instance("a", "10.0.0.1", status="SHELVED_OFFLOADED"), hypervisors=WHOLE.hypervisors)
    assert Publisher().nova_host("cn-9", complete=shelved, selected=shelved) == "cn-9.example"


def test_only_selected_instances_are_sent_and_their_hosts_are_known() -> None:
    publisher, selected = Publisher(), inventory(B, topology=TOPOLOGY)
    assert publisher.nova_host("cn-1.example", complete=WHOLE, selected=selected) == "cn-1"
    assert ids(publisher, Choice(hosts=("cn-1",)), WHOLE, selected) == []


def test_an_answer_is_made_once_for_each_list_and_compressed_anew_only_if_it_differs() -> None:
    publisher, choice = Publisher(), Choice(hosts=("cn-1",))

    def publish(*instances: object) -> object:
        there = inventory(*instances)  # type: ignore[arg-type]
        return publisher.publish(choice, complete=there, selected=there, cloud="", region="")

    first = publisher.publish(choice, complete=WHOLE, selected=WHOLE, cloud="", region="")
    assert publisher.publish(choice, complete=WHOLE, selected=WHOLE, cloud="", region="") is first
    one = publish(A)
    assert publish(A, B) is one
    other = publish(instance("a", "10.0.0.9", host="cn-1"), B)
    assert other is not one
    assert other.digest != one.digest  # type: ignore[attr-defined]


def test_answers_are_forgotten_where_they_would_take_too_much_memory() -> None:
    size = len(Publisher().publish(Choice(("cn-1",)), complete=WHOLE, selected=WHOLE, cloud="", region="")[1])
    publisher = Publisher(max_bytes=size + 1500)  # one answer with the objects around it, and not two
    first, second = (
        publisher.publish(Choice((host,)), complete=WHOLE, selected=WHOLE, cloud="", region="")
        for host in ("cn-1", "cn-9.example")
    )
    assert second
    again = publisher.publish(Choice(("cn-1",)), complete=WHOLE, selected=WHOLE, cloud="", region="")
    assert again == first
    assert again is not first
    small = Publisher(max_bytes=1)
    assert small.publish(Choice(("cn-1",)), complete=WHOLE, selected=WHOLE, cloud="", region="") == first


def test_names_that_an_agent_asks_for_take_their_part_of_the_memory() -> None:
    """Whoever may ask can choose sets of networks without end, whose answers are short."""
    networks = {f"{n:036}": Network(f"{n:036}", "", external=False, shared=False) for n in range(200)}
    there = inventory(A, topology=Topology(networks=networks))
    publisher = Publisher(max_bytes=100_000)
    tracemalloc.start()
    try:
        for skipped in networks:
            choice = Choice(networks=tuple(f" {id_}"[1:] for id_ in networks if id_ != skipped))
            publisher.publish(choice, complete=there, selected=there, cloud="", region="")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 400_000
