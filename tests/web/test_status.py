"""The status page and the pages of instances on Flask's test client: content, and escaping of names."""

import re
import time
from html import unescape
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.errors import AuthError
from fping_exporter.model import Hypervisor, Inventory, Project
from fping_exporter.monitor import Setup
from tests.browser.scene import HOSTILE
from tests.build import SILENT, UNREACHABLE, Source, address, instance, inventory
from tests.web.pages import Exporter, Pinger


def cloud() -> Inventory:
    listed = inventory(
        instance("a", "10.0.0.1", name="web-1", project_id="p1", hypervisor="h1"),
        instance("b", "10.0.0.2", name="web-2", project_id="p1", hypervisor="h2"),
        instance("c", "10.0.0.3", name="db", project_id="p2", status="SHUTOFF"),
        instance("d", name="bare", project_id="p2", status="BUILD", task_state="spawning"),
        projects=(Project("p1", "shop", "default"), Project("p2", "lab", "default")),
        hypervisors=(Hypervisor("h1", up=True), Hypervisor("h2", up=False)),
    )
    return msgspec.structs.replace(listed, listed_at=time.time())


def swept(pinger: Pinger | None = None, *, cache: config.Cache | None = None) -> Exporter:
    exporter = Exporter(
        cloud,
        pinger or Pinger({"10.0.0.2": SILENT}),
        settings=config.Config(cache=cache or config.Cache()),
    )
    exporter.sweep()
    return exporter


def words(html: str) -> str:
    """Return the text that a reader sees, without markup; ages below ten seconds read as none."""
    text = " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split()).replace("\N{EN DASH}", "-")
    return re.sub(r"\b\ds ago", "0s ago", text)


def page(path: str = "/", exporter: Exporter | None = None, *, status: int = 200) -> str:
    answer = (exporter or swept()).client.get(path)
    assert answer.status_code == status
    return answer.text


def rows(html: str) -> list[str]:
    """Return the text of each row of the instance table."""
    table = html.partition('<table class="instances')[2]
    return [words(row) for row in re.findall(r"(?s)<tr>\s*<th scope=\"row\".*?</tr>", table)]


def test_the_counts_and_the_matrix() -> None:
    text = words(page())
    assert "Instances 4 ACTIVE 2 ACTIVE, answering 1 ACTIVE, stopped answering 0" in text
    assert "ACTIVE, never answered 1 Off, but answering 1 Last sweep 0s ago Last listing 0s ago" in text
    assert "Nova status Answering Silent Not asked ACTIVE 1 1 0 SHUTOFF 1 0 0 BUILD 0 0 1" in text
    assert "Reason Instances no reply 1" in text
    assert "Hypervisor Silent h2 down 1" in text
    assert "Project Silent shop 1" in text
    assert "<title>1 silent · prod · RegionOne · mon-1 · fping-exporter</title>" in page()


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/instance/a", 200), ("/instance/none", 404)])
def test_every_page_and_its_title_name_cloud_region_and_host(path: str, status: int) -> None:
    html = page(path, status=status)
    assert " · prod · RegionOne · mon-1 · fping-exporter</title>" in html
    assert "Cloud prod Region RegionOne Pinged from mon-1" in words(html)


def test_stopped_answering_and_never_answered_are_counted_apart() -> None:
    pinger = Pinger({"10.0.0.2": SILENT})
    exporter = swept(pinger, cache=config.Cache(sweep=Duration(0.001)))
    pinger.outcomes = {"10.0.0.1": SILENT, "10.0.0.2": SILENT}
    time.sleep(0.002)
    exporter.sweep()
    html = page("/", exporter)
    assert "ACTIVE, stopped answering 1 ACTIVE, never answered 1" in words(html)
    assert rows(page("/?status=ACTIVE&ping=stopped", exporter)) == [
        "web-1 a shop ACTIVE no reply 0s ago - h1"
    ]
    assert rows(page("/?status=ACTIVE&ping=never", exporter)) == [
        "web-2 b shop ACTIVE no reply never seen - h2 down"
    ]
    assert len(rows(page("/?ping=silent", exporter))) == 2


def test_no_instance_is_called_silent_that_nobody_asked() -> None:
    bare = instance("e", name="bare", status="ERROR"), instance("f", name="active", status="ACTIVE")
    exporter = Exporter(lambda: inventory(*bare), Pinger({}))
    exporter.sweep()
    html = page("/", exporter)
    assert "ERROR 0 0 1 ACTIVE 0 0 1" in words(html)
    assert "ACTIVE, not asked 1" in words(html)
    assert "<title>0 silent" in html
    assert rows(page("/?ping=silent", exporter)) == []


def test_an_answer_is_odd_only_where_nova_calls_the_instance_off() -> None:
    guests = (
        instance("a", "10.0.0.1", name="off", status="SHELVED"),
        instance("b", "10.0.0.2", name="moving", status="MIGRATING"),
    )
    exporter = Exporter(lambda: inventory(*guests), Pinger({}))
    exporter.sweep()
    html = page("/", exporter)
    assert "Off, but answering 1" in words(html)
    assert rows(html)[0].startswith("off a ")
    assert len(rows(page("/?ping=alive", exporter))) == 2
    assert [row.split()[0] for row in rows(page("/?ping=though_off", exporter))] == ["off"]
    assert html.count('<span class="badge odd">answers</span>') == 1
    assert html.count('<span class="badge good">answers</span>') == 1
    assert html.count('<td class="number odd">') == 1


def test_an_instance_with_an_ambiguous_address_is_not_asked() -> None:
    twins = instance("a", "10.0.0.1", name="one"), instance("b", "10.0.0.1", name="two")
    exporter = Exporter(lambda: inventory(*twins), Pinger({}))
    exporter.sweep()
    html = page("/", exporter)
    assert "ACTIVE, not asked 2" in words(html)
    assert "Reason Instances ambiguous address 2" in words(html)
    assert len(rows(page("/?ping=unasked", exporter))) == 2
    assert len(rows(page("/?ping=ambiguous_address", exporter))) == 2
    assert rows(page("/?ping=silent", exporter)) == []
    assert rows(page("/instance/a", exporter)) == ["10.0.0.1 fixed private - ambiguous address - -"]


def test_the_table_has_the_silent_first() -> None:
    assert rows(page()) == [
        "web-2 b shop ACTIVE no reply never seen - h2 down",
        "db c lab SHUTOFF answers 0s ago 0.25 ms -",
        "bare d lab BUILD spawning not active never seen - -",
        "web-1 a shop ACTIVE answers 0s ago 0.25 ms h1",
    ]


def test_the_page_shows_the_first_sweep_when_it_is_complete() -> None:
    exporter = Exporter(cloud, Pinger({}))
    assert '<meta http-equiv="refresh"' in page("/", exporter)
    exporter.sweep()
    assert "refresh" not in page("/", exporter)


def test_the_page_sends_no_packet_and_asks_no_cloud() -> None:
    exporter = Exporter(cloud, Pinger({}))
    assert "No sweep is complete yet" in words(page("/", exporter))
    assert exporter.pinger.sweeps == 0
    exporter.sweep()
    for path in ("/", "/?q=x", "/instance/a", "/instance/x"):
        exporter.client.get(path)
    assert exporter.pinger.sweeps == 1


def test_a_filter_is_kept_by_the_form_and_by_the_headings() -> None:
    html = page("/?q=web&ping=silent&project=p1&sort=-rtt")
    assert rows(html) == ["web-2 b shop ACTIVE no reply never seen - h2 down"]
    assert '<input type="search" name="q" value="web"' in html
    assert '<option value="silent" selected>' in html
    assert '<option value="p1" selected>shop</option>' in html
    assert '<input type="hidden" name="sort" value="-rtt">' in html
    assert 'aria-sort="descending"' in html
    assert "/?q=web&amp;project=p1&amp;ping=silent&amp;sort=name#instances" in html
    assert "Show all" in html


def test_nothing_found() -> None:
    assert "Nothing matches. Show all instances" in words(page("/?q=nothing"))


def test_a_cloud_without_instances() -> None:
    exporter = Exporter(inventory, Pinger({}))
    exporter.sweep()
    assert "has no instances, or the configuration selects none" in words(page("/", exporter))


def test_pages_of_a_hundred() -> None:
    many = Exporter(lambda: inventory(*(instance(f"{n:03}") for n in range(250))), Pinger({}))
    many.sweep()
    html = page("/?page=2&sort=name", many)
    assert len(rows(html)) == 100
    assert "101 to 200 of 250" in html
    assert "First Previous Page 2 of 3 Next Last" in words(html)
    assert 'rel="next" href="/?sort=name&amp;page=3#instances"' in html


def test_one_instance_address_by_address() -> None:
    one = instance(
        "a",
        *("10.0.0.1", "10.0.0.2", "2001:db8::1"),
        address("198.51.100.1", kind="floating", network="public"),
        name="web",
        power_state="RUNNING",
        availability_zone="nova",
        tags=("green", "old"),
    )
    pinger = Pinger({"10.0.0.2": SILENT, "198.51.100.1": UNREACHABLE})
    exporter = Exporter(
        lambda: inventory(one), pinger, settings=config.Config(probe=config.Probe(families=(4,)))
    )
    exporter.sweep()
    html = page("/instance/a", exporter)
    assert rows(html) == [
        "10.0.0.1 fixed private local answers 1 / 1 0.25 ms",
        "10.0.0.2 fixed private local no reply 0 / 1 -",
        "2001:db8::1 fixed private - not asked - -",
        "198.51.100.1 floating public local unreachable 0 / 1 -",
    ]
    assert "Status ACTIVE Task - Power RUNNING Hypervisor - Availability zone nova Tags green old" in words(
        html
    )
    assert "Best round trip 0.25 ms Lost packets 0 %" in words(html)


def test_an_instance_that_is_not_there() -> None:
    assert "No such instance" in page("/instance/x", status=404)
    assert "No such instance" in page("/instance/a", Exporter(cloud, Pinger({})), status=404)


def test_old_results_are_called_so() -> None:
    young = Duration(0.001)
    exporter = swept(Pinger({}), cache=config.Cache(inventory=young, sweep=young, max_stale=Duration(0.05)))
    assert "These results" not in words(page("/", exporter))
    time.sleep(0.06)
    assert re.search(
        r"These results are \S+ old\. That is more than cache\.max_stale \(50ms\)", words(page("/", exporter))
    )


def test_why_the_cloud_could_not_be_listed() -> None:
    def refused() -> Inventory:
        raise AuthError("Keystone did not accept the credentials")

    exporter = Exporter(refused, Pinger({}))
    exporter.sweep()
    assert (
        "The instances could not be listed: Keystone did not accept the credentials No sweep is complete yet."
        in words(page("/", exporter))
    )


def test_an_exporter_that_sees_nothing_says_so() -> None:
    blind = swept(Pinger(dict.fromkeys(("10.0.0.1", "10.0.0.2"), UNREACHABLE)))
    assert "None of 2 ACTIVE instances answers. The exporter itself" in words(page("/", blind))
    assert "None of" not in words(page())


def test_parts_that_could_not_be_listed() -> None:
    exporter = Exporter(lambda: inventory(instance("a", "10.0.0.1")), Pinger({}))
    exporter.sweep()
    assert "hypervisors: could not be listed" in words(page("/", exporter))


class Tags(HTMLParser):
    """Collects the elements and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: set[tuple[str, tuple[str, ...]]] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add((tag, tuple(sorted(name for name, _ in attrs))))


class Named:
    """An exporter of one instance; all its names are the one that was given last."""

    settings = config.Config(cache=config.Cache(sweep=Duration(0.001)))
    exporter = Exporter(inventory, Pinger({}), settings=settings)

    def pages(self, name: str, *, query: str = "") -> list[str]:
        one = instance("a", "10.0.0.1", name=name, project_id="p", hypervisor=name, tags=(name,))
        cloud = inventory(one, projects=(Project("p", name, name),))
        pinger = Pinger({"10.0.0.1": SILENT})
        self.exporter.monitor = self.exporter.monitor.hand_over(
            Setup(self.settings, Source(lambda: cloud), pinger), same_cloud=False
        )
        self.exporter.sweep()
        assert pinger.sweeps == 1
        return [page(path + query, self.exporter) for path in ("/", "/instance/a")]


NAMED = Named()
PLAIN = [Tags(html).seen for html in NAMED.pages("plain")]
FILTERED = PLAIN[0].union(
    *(Tags(NAMED.pages("plain", query=query)[0]).seen for query in ("?q=none&sort=x", "?project=p"))
)
NAMES = st.sampled_from(HOSTILE) | st.text(st.sampled_from("<>\"'&{}%/\\ \u202e\u2066\n\0ab"), min_size=1)


@settings(max_examples=25, deadline=None)
@given(NAMES)
def test_a_name_never_becomes_markup(name: str) -> None:
    for html, plain in zip(NAMED.pages(name), PLAIN, strict=True):
        assert Tags(html).seen <= plain
        assert not re.search("[\u202a-\u202e\u2066-\u2069\0\x1b]", words(html))


@settings(max_examples=25, deadline=None)
@given(st.text())
def test_a_query_never_becomes_markup(text: str) -> None:
    query = {"q": text, "project": text, "sort": text, "page": text}
    answer = NAMED.exporter.client.get("/", query_string=query)
    assert answer.status_code == 200
    assert Tags(answer.text).seen <= FILTERED


@pytest.mark.parametrize("path", ["/static/style.css", "/static/icon.svg"])
def test_what_the_page_needs_comes_from_the_exporter(path: str) -> None:
    assert f'"{path}"' in page()
    with swept().client.get(path) as answer:
        assert answer.status_code == 200


def test_nothing_on_the_page_needs_a_script_or_another_site() -> None:
    for path in ("/", "/instance/a"):
        html = page(path)
        assert "<script" not in html
        assert " style=" not in html
        assert not re.search(r'(?:src|href|action)="(?!/)', html)
