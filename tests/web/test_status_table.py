"""Finding, sorting and paging of the table of instances."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.model import Instance, Project, Reason, Snapshot, Verdict
from fping_exporter.web.table import PAGE_SIZE, SORTS, Query, find, paginate, sort
from tests.build import instance, inventory, sweep


def verdict(one: Instance, reason: Reason | None = None, *, replied_at: float | None = None) -> Verdict:
    return Verdict(
        instance=one,
        alive=reason is None,
        reason=reason,
        rtt=None if reason else 0.001 * int(one.id),
        last_reply_at=replied_at,
    )


def snapshot() -> Snapshot:
    verdicts = (
        verdict(instance("1", "10.0.0.1", name="web-b", project_id="p1", hypervisor="h2")),
        verdict(instance("2", "10.0.0.2", name="Web-a", project_id="p2", hypervisor="h1"), Reason.NO_REPLY),
        verdict(instance("3", "10.0.0.3", name="db", project_id="p1", status="SHUTOFF")),
        verdict(
            instance("4", "10.0.0.4", name="off", project_id="p2", status="SHUTOFF", hypervisor="h1"),
            Reason.NOT_ACTIVE,
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


def ids(verdicts: list[Verdict]) -> str:
    return "".join(verdict.instance.id for verdict in verdicts)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, "12345"),
        ({"q": "WEB"}, "12"),
        ({"q": " 10.0.0.4 "}, "4"),
        ({"q": "nothing"}, ""),
        ({"project": "p1"}, "13"),
        ({"project": "lab"}, "24"),
        ({"project": "p3"}, "5"),
        ({"status": "SHUTOFF"}, "34"),
        ({"ping": "alive"}, "13"),
        ({"ping": "silent"}, "245"),
        ({"ping": "no_reply"}, "2"),
        ({"ping": "not_active"}, "4"),
        ({"ping": "unheard of"}, ""),
        ({"hypervisor": "h1", "status": "ACTIVE"}, "2"),
    ],
)
def test_what_is_found(args: dict[str, str], expected: str) -> None:
    assert ids(find(snapshot(), Query.read(args))) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("", "52341"),  # silent though ACTIVE, answering though not ACTIVE, the rest
        ("nonsense", "52341"),
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
    shot = snapshot()
    assert ids(sort(shot, list(shot.verdicts), order)) == expected


def test_of_the_silent_the_one_last_heard_of_comes_first() -> None:
    verdicts = [
        verdict(instance(id_), Reason.NO_REPLY, replied_at=heard)
        for id_, heard in (("a", 1.0), ("b", 9.0), ("c", None))
    ]
    assert ids(sort(snapshot(), verdicts, "")) == "bac"


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
    page = paginate([verdict(instance("1"))] * total, asked)
    assert (page.number, page.last, page.begin, len(page.rows)) == shown
    assert page.total == total


@pytest.mark.parametrize("page", ["", "0", "-1", "x", "1.5", "٣", "9" * 5000])
def test_a_page_that_is_none_is_the_first(page: str) -> None:
    assert Query.read({"page": page}).page == 1


@given(
    st.dictionaries(
        st.sampled_from([*Query._fields, "x"]), st.text(string.printable) | st.sampled_from(["7", *SORTS])
    )
)
def test_any_query_is_answered_and_its_link_leads_back_to_it(args: dict[str, str]) -> None:
    query = Query.read(args)
    shot = snapshot()
    paginate(sort(shot, find(shot, query), query.sort), query.page)
    link = {name: str(value) for name, value in query.but(page=query.page).items()}
    assert Query.read(link) == query


def test_a_link_keeps_the_filters_and_begins_anew() -> None:
    query = Query(q="web", sort="rtt", page=7)
    assert query.but(sort="-rtt") == {"q": "web", "sort": "-rtt"}
    assert query.but(page=8) == {"q": "web", "sort": "rtt", "page": 8}
    assert query.but(q="", sort="") == {}
