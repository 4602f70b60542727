"""The instance table: filters, sort order, pagination."""

import string
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.model import Instance, Probed, Project, Reason, Snapshot, Verdict
from fping_exporter.timeline import Timeline
from fping_exporter.web.ping_state import PingState, classify, ping_state
from fping_exporter.web.table import (
    COLUMNS,
    PAGE_SIZE,
    Ranked,
    TableQuery,
    find_page,
    find_rows,
    rank,
)
from tests.build import SILENT, instance, inventory, sweep


def verdict(one: Instance, reason: Reason | None = None, *, replied_at: float | None = None) -> Verdict:
    return Verdict(
        instance=one,
        alive=reason is None,
        reason=reason,
        probed=tuple(Probed(address, None, SILENT) for address in one.addresses),
        rtt=None if reason else 0.001 * int(one.id),
        last_reply_at=replied_at,
    )


def snapshot() -> Snapshot:
    verdicts = (
        verdict(instance("1", "10.0.0.1", name="web-b", project_id="p1", hypervisor="h2", tags=("Green",))),
        verdict(
            instance(
                "2", "10.0.0.2", name="Web-a", project_id="p2", hypervisor="h1", metadata={"Role": "Web"}
            ),
            Reason.NO_REPLY,
        ),
        verdict(instance("3", "10.0.0.3", name="db", project_id="p1", status="SHUTOFF")),
        verdict(
            instance("4", "10.0.0.4", name="off", project_id="p2", status="SHUTOFF", hypervisor="h1"),
            Reason.NOT_ACTIVE,
            replied_at=5.0,
        ),
        verdict(instance("5", name="bare", project_id="p3"), Reason.NO_ADDRESS),
    )
    return Snapshot(
        inventory=inventory(
            *(each.instance for each in verdicts),
            projects=(Project("p1", "Shop", "default"), Project("p2", "lab", "default")),
        ),
        verdicts=verdicts,
        sweep=sweep({}),
    )


def found(args: Mapping[str, str], snapshot: Snapshot) -> str:
    """Return the ids of the rows on all pages."""
    rows = find_rows(rank(classify(snapshot)), TableQuery.from_args(args), snapshot)
    return "".join(verdict.instance.id for verdict in rows)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, "12345"),
        ({"q": "WEB"}, "12"),
        ({"q": " 10.0.0.4 "}, "4"),
        ({"q": "nothing"}, ""),
        ({"q": "H1"}, "24"),
        ({"q": "shop"}, "13"),
        ({"q": "P3"}, "5"),
        ({"q": "3"}, "35"),  # an address and an id, and the beginning of no project's id
        ({"q": "green"}, "1"),
        ({"q": "role=web"}, "2"),
        ({"project": "p1"}, "13"),
        ({"project": "lab"}, "24"),
        ({"project": "p3"}, "5"),
        ({"status": "SHUTOFF"}, "34"),
        ({"status": "active"}, "125"),
        ({"ping": "alive"}, "13"),
        ({"ping": "silent"}, "24"),
        ({"ping": "stopped"}, "4"),
        ({"ping": "never"}, "2"),
        ({"ping": "unasked"}, "5"),
        ({"ping": "though_off"}, "3"),
        ({"ping": "no_address"}, "5"),
        ({"ping": "no_reply"}, "2"),
        ({"ping": "not_active"}, "4"),
        ({"ping": "unheard of"}, ""),
        ({"hypervisor": "h1", "status": "ACTIVE"}, "2"),
    ],
)
def test_what_is_found(args: dict[str, str], expected: str) -> None:
    assert "".join(sorted(found(args, snapshot()))) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("", "23541"),  # ACTIVE and silent, answering though off, the rest
        ("nonsense", "23541"),
        ("name", "53421"),
        ("-name", "12435"),
        ("project", "42531"),
        ("status", "52134"),
        ("hypervisor", "42153"),
        ("-hypervisor", "14253"),
        ("rtt", "13542"),
        ("-rtt", "31542"),
    ],
)
def test_the_order(order: str, expected: str) -> None:
    assert found({"sort": order}, snapshot()) == expected


def test_the_latest_to_stop_answering_comes_first_and_never_answered_comes_last() -> None:
    verdicts = [
        verdict(instance(id_, "10.0.0.1"), Reason.NO_REPLY, replied_at=heard)
        for id_, heard in (("a", 1.0), ("b", 9.0), ("c", None))
    ]
    assert found({}, msgspec.structs.replace(snapshot(), verdicts=tuple(verdicts))) == "bac"


def test_who_answers_at_layer_2_needs_less_attention_and_can_be_found() -> None:
    base = snapshot()
    stopped = verdict(instance("1", "10.0.0.1"), Reason.NO_REPLY, replied_at=5.0)
    never = verdict(instance("2", "10.0.0.2"), Reason.NO_REPLY)
    ignoring = msgspec.structs.replace(stopped, instance=instance("3", "10.0.0.3"), layer2_alive=True)
    verdicts = [ignoring, verdict(instance("4", "10.0.0.4")), never, stopped]
    changed = msgspec.structs.replace(base, verdicts=tuple(verdicts))
    assert found({}, changed) == "1234"
    assert found({"ping": "layer2"}, changed) == "3"


@pytest.mark.parametrize(("order", "expected"), [("since", "42531"), ("-since", "24531")])
def test_the_order_by_since(order: str, expected: str) -> None:
    """Who is not asked, and who is not as the timeline has it, comes last."""
    timelines = {
        "1": Timeline(alive=False, since=1.0),
        "2": Timeline(alive=False, since=30.0),
        "4": Timeline(alive=False, since=20.0),
        "5": Timeline(alive=False, since=10.0),
    }
    assert found({"sort": order}, msgspec.structs.replace(snapshot(), timelines=timelines)) == expected


@pytest.mark.parametrize(
    ("total", "asked", "shown"),
    [
        (0, 1, (1, 1, 0, 0)),
        (1, 1, (1, 1, 1, 1)),
        (PAGE_SIZE, 2, (1, 1, 1, PAGE_SIZE)),
        (PAGE_SIZE + 1, 2, (2, 2, PAGE_SIZE + 1, 1)),
        (PAGE_SIZE * 3, 2, (2, 3, PAGE_SIZE + 1, PAGE_SIZE)),
        (PAGE_SIZE * 3, 99, (3, 3, PAGE_SIZE * 2 + 1, PAGE_SIZE)),
    ],
)
def test_pages(total: int, asked: int, shown: tuple[int, int, int, int]) -> None:
    page = find_page(Ranked([], [verdict(instance("1"))] * total), TableQuery(page=asked), snapshot())
    assert (page.number, page.last, page.first_row, len(page.rows)) == shown
    assert page.total == total


@pytest.mark.parametrize("page", ["", "0", "-1", "x", "1.5", "٣", "9" * 5000])
def test_a_page_that_is_none_is_the_first(page: str) -> None:
    assert TableQuery.from_args({"page": page}).page == 1


@given(
    st.dictionaries(
        st.sampled_from([*TableQuery._fields, "x"]),
        st.text(string.printable) | st.sampled_from(["7", *(column.key for column in COLUMNS)]),
    )
)
def test_any_query_is_answered_and_its_link_leads_back_to_it(args: dict[str, str]) -> None:
    query = TableQuery.from_args(args)
    newest = snapshot()
    page = find_page(rank(classify(newest)), query, newest)
    rows = find_rows(rank(classify(newest)), query, newest)
    assert page.rows == rows[:PAGE_SIZE]
    link = {name: str(value) for name, value in query.link_args(page=query.page).items()}
    assert TableQuery.from_args(link) == query._replace(format="")


def test_a_link_keeps_the_filters_and_begins_anew() -> None:
    query = TableQuery(q="web", sort="rtt", page=7)
    assert query.link_args(sort="-rtt") == {"q": "web", "sort": "-rtt"}
    assert query.link_args(page=8) == {"q": "web", "sort": "rtt", "page": 8}
    assert query.link_args(q="", sort="") == {}


@pytest.mark.parametrize(
    ("status", "addresses", "said", "state"),
    [
        ("ACTIVE", 1, (True, 9.0), PingState.ALIVE),
        ("ACTIVE", 1, (False, 9.0), PingState.STOPPED),
        ("ACTIVE", 1, (False, None), PingState.NEVER),
        ("ACTIVE", 1, (None, 9.0), PingState.UNASKED),
        ("ACTIVE", 0, (False, None), PingState.UNASKED),
        ("BUILD", 0, (False, None), PingState.UNASKED),
        ("ERROR", 0, (False, 9.0), PingState.UNASKED),
        ("SHUTOFF", 1, (False, 9.0), PingState.STOPPED),
    ],
)
def test_only_an_instance_that_was_asked_is_called_silent(
    status: str, addresses: int, said: tuple[bool | None, float | None], state: PingState
) -> None:
    alive, replied_at = said
    one = instance("a", *["10.0.0.1"] * addresses, status=status)
    probed = tuple(Probed(address, None, None if alive is None else SILENT) for address in one.addresses)
    judged = Verdict(
        instance=one,
        alive=alive,
        reason=None if alive else Reason.NO_REPLY,
        probed=probed,
        last_reply_at=replied_at,
    )
    assert ping_state(judged) is state
