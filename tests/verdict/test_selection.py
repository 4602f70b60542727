"""Rules: which instances are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.config import Rule
from fping_exporter.model import Instance, Project
from fping_exporter.verdict.selection import Selector, select
from tests.build import address, instance, inventory

WEB = instance(
    "11-22",
    address("10.0.0.7", network="front"),
    address("fd00::7", network="back"),
    name="web-1",
    project_id="5fa0",
    status="ACTIVE",
    host="c1",
    hypervisor="c1.example.com",
    availability_zone="az1",
    tags=("prod", "blue"),
    metadata={"role": "www", "empty": ""},
)


def taken(*, include: tuple[Rule, ...] = (), exclude: tuple[Rule, ...] = ()) -> bool:
    there = inventory(WEB, projects=(Project("5fa0", "shop", "default"),))
    return bool(select(there, config.Instances(include=include, exclude=exclude)).instances)


def test_addresses_shared_with_what_is_left_out_stay_known_as_such() -> None:
    there = inventory(
        instance("a", "10.0.0.1", "10.0.0.2"), instance("b", "10.0.0.1"), instance("c", "10.0.0.3")
    )
    got = select(there, config.Instances(include=(Rule(id="a"),)))
    assert [each.id for each in got.instances] == ["a"]
    assert got.topology.claims == {"10.0.0.1": {"a", "b"}}


INSTANCES = st.builds(
    lambda id_, name, ips, project: instance(id_, *ips, name=name, project_id=project),
    st.sampled_from("abcd"),
    st.sampled_from(["web", "db"]),
    st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]), max_size=3),
    st.sampled_from("pq"),
)
RULES = st.lists(
    st.sampled_from([Rule(name="web"), Rule(project="shop"), Rule(address="10.0.0.1")]), max_size=2
).map(tuple)


@given(
    st.builds(config.Instances, include=RULES, exclude=RULES),
    st.lists(
        st.tuples(st.lists(INSTANCES, unique_by=lambda each: each.id), st.sampled_from("pq"), st.booleans())
    ),
)
def test_list_after_list_is_selected_as_if_it_were_the_first(
    rules: config.Instances, lists: list[tuple[list[Instance], str, bool]]
) -> None:
    selector, before = Selector(rules), inventory()
    for instances, shop, kept in lists:
        known = {each.id: each for each in before.instances}
        there = inventory(
            *([known.get(each.id, each) for each in instances] if kept else instances),
            projects=(Project(shop, "shop", "default"),),
        )
        assert selector(there) == select(there, rules)
        before = there


@pytest.mark.parametrize(
    "rule",
    [
        Rule(id="11-*"),
        Rule(project="5fa0"),
        Rule(project="sh?p"),
        Rule(name="web-[0-9]"),
        Rule(name=("db-*", "web-*")),
        Rule(status="active"),
        Rule(hypervisor="c1"),
        Rule(hypervisor="*.example.com"),
        Rule(availability_zone="az1"),
        Rule(network="back"),
        Rule(tag="blue"),
        Rule(address="10.0.0.0/8"),
        Rule(address=("192.0.2.0/24", "fd00::/8")),
        Rule(metadata={"role": "w*"}),
        Rule(name="web-1", tag="prod", metadata={"role": "www"}),
    ],
    ids=repr,
)
def test_a_rule_that_matches_includes_and_excludes(rule: Rule) -> None:
    assert taken(include=(rule,))
    assert not taken(exclude=(rule,))


@pytest.mark.parametrize(
    "rule",
    [
        Rule(id="11"),
        Rule(project="5fa"),
        Rule(name="WEB-1"),
        Rule(status="SHUTOFF"),
        Rule(hypervisor="c2*"),
        Rule(network="mid"),
        Rule(tag="green"),
        Rule(address="10.1.0.0/16"),
        Rule(metadata={"role": "db"}),
        Rule(metadata={"rank": "*"}),
        Rule(name="web-1", tag="green"),
        Rule(metadata={"role": "www", "rank": "*"}),
    ],
    ids=repr,
)
def test_a_rule_that_does_not_match_does_nothing(rule: Rule) -> None:
    assert not taken(include=(rule,))
    assert taken(exclude=(rule,))


@pytest.mark.parametrize(("globs", "fits"), [("*", True), ("", True), (("a", ""), True), ("?", False)])
def test_an_empty_metadata_value_is_a_value(globs: config.Patterns, fits: bool) -> None:  # noqa: FBT001, a parameter of the test
    there = inventory(instance("a", metadata={"monitor": ""}))
    found = select(there, config.Instances(include=(Rule(metadata={"monitor": globs}),)))
    assert bool(found.instances) is fits


def test_any_rule_includes_and_any_excludes() -> None:
    yes, no = Rule(name="web-1"), Rule(name="db-1")
    assert taken(include=(no, yes))
    assert not taken(include=(yes,), exclude=(no, yes))
    assert taken()


def test_the_rest_of_the_inventory_stays() -> None:
    there = inventory(WEB, projects=(Project("5fa0", "shop", "default"),))
    left = select(there, config.Instances(exclude=(Rule(id="*"),)))
    assert left.instances == ()
    assert (left.projects, left.listed_at, left.parts) == (there.projects, there.listed_at, there.parts)


@given(st.text(min_size=1))
def test_any_text_is_a_glob(text: str) -> None:
    taken(include=(Rule(name=text, metadata={text: text}),))
