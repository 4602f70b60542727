"""Which instance people mean."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.errors import AmbiguousInstanceError, InstanceLookupError, UnknownInstanceError
from fping_exporter.instance_lookup import find_instance, find_instances
from fping_exporter.model import Inventory, Project
from tests.build import instance, inventory

THERE = inventory(
    instance("11-aa", "10.0.0.1", "fd00::7", name="web", project_id="p"),
    instance("22-bb", "10.0.0.2", name="db", project_id="p"),
    instance("33-cc", "10.0.0.2", name="db", project_id="q"),
    instance("44-dd", "10.0.0.4", name="10.0.0.1", project_id="q"),
    instance("55-ee", "10.0.0.5", name="22-bb", project_id="q"),
    instance("66-ff", name="", project_id="q"),
    instance("77-gg", "10.0.0.6", name="10.0.0.6", project_id="q"),
    projects=(Project("p", "shop"), Project("q", "acceptance")),
)


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("11-aa", "11-aa"),
        ("web", "11-aa"),
        ("FD00:0::7", "11-aa"),
        ("22-bb", "22-bb"),  # an id goes before a name
        ("10.0.0.6", "77-gg"),  # it is both
        ("10.0.0.5", "55-ee"),
    ],
)
def test_one_is_meant(text: str, id_: str) -> None:
    assert find_instance(text, THERE).id == id_


@pytest.mark.parametrize("text", ["11-a", "WEB", "we", "10.0.0.3", "10.0.0", "fd00::7%eth0", "web ", ""])
def test_none_is_meant(text: str) -> None:
    with pytest.raises(UnknownInstanceError) as raised:
        find_instance(text, THERE)
    assert str(raised.value) == f"no instance has the id, the name or the address '{text}'"


def test_several_are_meant_by_a_name() -> None:
    with pytest.raises(AmbiguousInstanceError) as raised:
        find_instance("db", THERE)
    assert str(raised.value) == (
        "2 instances have the name 'db'; give the id of one: 33-cc (acceptance/db), 22-bb (shop/db)"
    )
    assert raised.value.ids == ("33-cc", "22-bb")


def test_several_are_meant_by_an_address() -> None:
    with pytest.raises(AmbiguousInstanceError, match=r"^2 instances have the address '10\.0\.0\.2'; give"):
        find_instance("10.0.0.2", THERE)


def test_a_name_that_is_the_address_of_another_means_neither() -> None:
    with pytest.raises(AmbiguousInstanceError) as raised:
        find_instance("10.0.0.1", THERE)
    assert str(raised.value) == (
        "2 instances have the name or the address '10.0.0.1'; give the id of one: "
        "44-dd (acceptance/10.0.0.1), 11-aa (shop/web)"
    )


def test_an_error_is_bounded_and_printable() -> None:
    there = inventory(*(instance(f"{number:05}", name="web\x1b" * 50) for number in range(10_000)))
    with pytest.raises(AmbiguousInstanceError) as raised:
        find_instance("web\x1b" * 50, there)
    assert str(raised.value).endswith(", and 9990 more")
    assert len(raised.value.ids) == 10
    with pytest.raises(UnknownInstanceError) as unknown:
        find_instance("\x1b[2J" * 1000, there)
    for error in (raised.value, unknown.value):
        assert str(error).isprintable()
        assert len(str(error)) < 2000


def test_several_texts_in_their_order_each_instance_once() -> None:
    found = find_instances(["10.0.0.5", "web", "11-aa", "22-bb"], THERE)
    assert [each.id for each in found] == ["55-ee", "11-aa", "22-bb"]


WORDS = st.sampled_from(["", "a", "b", "c", "10.0.0.1", "fd00::1"])
INVENTORIES = st.lists(
    st.builds(
        lambda id_, name, ips: instance(id_, *ips, name=name),
        WORDS.filter(bool),
        WORDS,
        st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]), unique=True),
    ),
    unique_by=lambda each: each.id,
).map(lambda instances: inventory(*instances))
TEXTS = WORDS | st.sampled_from(["10.0.0.2", "FD00:0:0::1", "fd00:0:0:0:0:0:0:1", ""])


def meant(text: str, there: Inventory) -> set[str]:
    """The ids of those with the id, or else with the name or the address."""

    def has_address(ips: list[str]) -> bool:
        try:
            return ipaddress.ip_address(text) in map(ipaddress.ip_address, ips)
        except ValueError:
            return False

    return {each.id for each in there.instances if each.id == text} or {
        each.id
        for each in there.instances
        if each.name == text != "" or has_address([ip.ip for ip in each.addresses])
    }


@given(st.lists(TEXTS, max_size=4), INVENTORIES)
def test_a_text_means_one_or_is_an_error(texts: list[str], there: Inventory) -> None:
    wanted = [meant(text, there) for text in texts]
    bad = next((ids for ids in wanted if len(ids) != 1), None)
    try:
        found = find_instances(texts, there)
    except UnknownInstanceError:
        assert bad == set()
    except AmbiguousInstanceError as error:
        assert bad == set(error.ids)
    except InstanceLookupError as error:
        pytest.fail(f"an error of no kind: {error}")
    else:
        assert bad is None
        assert [each.id for each in found] == list(dict.fromkeys(id_ for ids in wanted for id_ in ids))
