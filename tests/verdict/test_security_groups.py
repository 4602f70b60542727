"""What security groups let in, from whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.model import Port, SecurityRule, Topology
from fping_exporter.verdict.security_groups import Decision, Filtering, blocks_echo, decide

SENDER, SENDER6 = "10.0.0.2", "fd00::2"


def blocked(
    *rules: SecurityRule,
    sender: str = SENDER,
    members: dict[str, frozenset[str]] | None = None,
    address_groups: dict[str, tuple[str, ...]] | None = None,
) -> bool:
    topology = Topology(rules={"g": rules}, members=members or {}, address_groups=address_groups or {})
    return blocks_echo(Port("n", "m", {}, ("g",)), sender=sender, topology=topology)


@pytest.mark.parametrize(
    ("rules", "sender", "expected"),
    [
        ((), SENDER, True),
        ((SecurityRule(4),), SENDER, False),
        ((SecurityRule(4),), SENDER6, True),
        ((SecurityRule(6),), SENDER, True),
        ((SecurityRule(6),), SENDER6, False),
        ((SecurityRule(4, prefix="10.0.0.0/24"),), SENDER, False),
        ((SecurityRule(4, prefix="10.0.0.2/24"),), SENDER, False),
        ((SecurityRule(4, prefix="10.0.1.0/24"),), SENDER, True),
        ((SecurityRule(6, prefix="fd00::/64"),), SENDER6, False),
        ((SecurityRule(4, prefix="10.0.1.0/24"), SecurityRule(4)), SENDER, False),
    ],
)
def test_rules_by_family_and_prefix(rules: tuple[SecurityRule, ...], sender: str, *, expected: bool) -> None:
    assert blocked(*rules, sender=sender) == expected


def test_members_of_a_group_are_let_in() -> None:
    rule = SecurityRule(4, group="friends")
    assert not blocked(rule, members={"friends": frozenset({SENDER})})
    assert not blocked(rule, members={"friends": frozenset({"10.0.0.0/30"})})
    assert blocked(rule, members={"friends": frozenset({"10.0.0.3", "10.0.0.128/25"})})
    assert blocked(rule, members={"friends": frozenset()})


def test_address_groups() -> None:
    rule = SecurityRule(4, address_group="offices")
    assert not blocked(rule, address_groups={"offices": ("192.0.2.0/24", "10.0.0.2/32")})
    assert blocked(rule, address_groups={"offices": ("192.0.2.0/24", "fd00::/64")})


def test_what_is_not_known_is_not_blamed() -> None:
    assert not blocked(SecurityRule(4, group="unknown"))
    assert not blocked(SecurityRule(4, address_group="unknown"))
    topology = Topology(rules={"known": ()})
    assert not blocks_echo(Port("n", "m", {}, ("unknown",)), sender=SENDER, topology=topology)
    assert not blocks_echo(Port("n", "m", {}, ("known", "unknown")), sender=SENDER, topology=topology)


def test_port_security() -> None:
    assert not blocks_echo(Port("n", "m", {}, None), sender=SENDER, topology=Topology())
    assert blocks_echo(Port("n", "m", {}, ()), sender=SENDER, topology=Topology())


@given(st.ip_addresses(), st.lists(st.integers(min_value=0, max_value=32), max_size=4))
def test_a_rule_more_never_blocks_more(sender: object, lengths: list[int]) -> None:
    text = str(sender)
    rules = [
        SecurityRule(6 if ":" in text else 4, prefix=f"{text}/{length}" if ":" not in text else None)
        for length in lengths
    ]
    assert blocked(*rules, sender=text) == (not rules)


RULE, CLOSED = SecurityRule(4, id="r"), SecurityRule(4, prefix="192.0.2.0/24")
OPEN_TO_UNKNOWN = SecurityRule(4, group="unknown")


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (("open",), Decision(Filtering.ADMITTED, "open", RULE)),
        (("closed", "open"), Decision(Filtering.ADMITTED, "open", RULE)),
        (("half", "open"), Decision(Filtering.ADMITTED, "open", RULE)),
        (("lost", "open"), Decision(Filtering.ADMITTED, "open", RULE)),
        (("closed", "half"), Decision(Filtering.UNKNOWN, "half", OPEN_TO_UNKNOWN)),
        (("lost", "closed"), Decision(Filtering.UNKNOWN, "lost")),
        (("closed",), Decision(Filtering.BLOCKED)),
        ((), Decision(Filtering.BLOCKED)),
        (None, Decision(Filtering.UNKNOWN)),
    ],
)
def test_the_rule_that_decides(groups: tuple[str, ...] | None, expected: Decision) -> None:
    topology = Topology(rules={"open": (RULE,), "closed": (CLOSED,), "half": (OPEN_TO_UNKNOWN,)})
    port = Port("n", "m", {}, groups)
    assert decide(port, sender=SENDER, topology=topology) == expected
    assert blocks_echo(port, sender=SENDER, topology=topology) is (expected.filtering is Filtering.BLOCKED)
