"""The status page and the pages of instances on Flask's test client: content, and escaping of names."""

import csv
import re
import threading
import time
from html import unescape
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.errors import AuthError, CloudError
from fping_exporter.explanation.advice import REASONS
from fping_exporter.model import NOT_ASKED, Hypervisor, Inventory, Project, Reason, Snapshot
from fping_exporter.monitor import Setup
from fping_exporter.web.strip import own_strip
from tests.browser.scene import HOSTILE
from tests.build import SILENT, UNREACHABLE, Source, address, instance, inventory, sweep
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


def unlisted() -> Inventory:
    raise CloudError("Nova does not answer")


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


def addresses(html: str) -> list[str]:
    """Return the text of each section on an address of an instance."""
    return [words(part.partition("</section>")[0]) for part in re.split(r'<h3 id="address-\d+">', html)[1:]]


def test_the_counts_and_the_matrix() -> None:
    text = words(page())
    assert "Instances 4 ACTIVE 2 ACTIVE, answering 1 ACTIVE, stopped answering 0" in text
    assert "ACTIVE, never answered 1 Off, but answering 1 Hypervisors down 1 Last sweep 0s ago" in text
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
        "web-1 a shop ACTIVE no reply 0s ago 0s ago - h1"
    ]
    assert rows(page("/?status=ACTIVE&ping=never", exporter)) == [
        "web-2 b shop ACTIVE no reply at least 0s ago never seen - h2 down"
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
    table = html.partition('<details class="legend">')[0]
    assert table.count('<span class="badge odd">answers</span>') == 1
    assert table.count('<span class="badge good">answers</span>') == 1
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
    [told] = addresses(page("/instance/a", exporter))
    assert told.startswith("10.0.0.1 not asked Network private , fixed ")
    assert "others may have it too two b Not asked nothing tells whose the answer would be" in told


def test_the_table_has_the_silent_first() -> None:
    assert rows(page()) == [
        "web-2 b shop ACTIVE no reply at least 0s ago never seen - h2 down",
        "db c lab SHUTOFF answers at least 0s ago 0s ago 0.25 ms -",
        "bare d lab BUILD spawning not active - never seen - -",
        "web-1 a shop ACTIVE answers at least 0s ago 0s ago 0.25 ms h1",
    ]


def test_a_view_joins_the_refresh_as_a_scrape_does() -> None:
    exporter = Exporter(cloud, Pinger({}))
    for path in ("/", "/?q=x", "/instance/a", "/hypervisors"):
        assert "Listed" in words(page(path, exporter))
    assert exporter.pinger.sweeps == 1
    exporter.client.get("/gone")
    exporter.client.get("/static/style.css")
    assert exporter.pinger.sweeps == 1


def test_a_view_does_not_wait_for_ever() -> None:
    listed = threading.Event()

    def slow() -> Inventory:
        listed.wait(10)
        return cloud()

    exporter = Exporter(slow, Pinger({}))
    early = exporter.client.get("/", environ_overrides={"fping_exporter.stop_waiting": lambda: True})
    assert "The first sweep is under way" in words(early.text)
    assert early.headers["Refresh"] == "2"
    listed.set()
    late = exporter.client.get("/")
    assert "Instances 4" in words(late.text)
    assert "Refresh" not in late.headers


@pytest.mark.parametrize(
    ("query", "header"),
    [
        ("refresh=15", "15"),
        ("refresh=1", "5"),
        ("refresh=999999", "3600"),
        ("refresh=0", None),
        ("refresh=x", None),
        ("", None),
    ],
)
def test_the_browser_loads_the_page_again_on_request(query: str, header: str | None) -> None:
    for path in ("/", "/instance/a", "/hypervisors"):
        assert swept().client.get(f"{path}?{query}").headers.get("Refresh") == header


def test_the_choice_of_a_refresh_is_kept_and_can_be_undone() -> None:
    html = page("/?refresh=15&ping=silent")
    assert "Refresh every 15s, switch off" in words(html)
    assert '<input type="hidden" name="refresh" value="15">' in html
    assert 'href="/?ping=silent">switch off' in html
    assert 'href="/instance/b?ping=silent&amp;refresh=15"' in html
    assert 'href="/?ping=silent&amp;refresh=15">every 15 s' in page("/?ping=silent")


@pytest.mark.parametrize("path", ["/", "/hypervisors", "/instance/a"])
def test_a_page_that_is_loaded_again_says_so_and_leads_to_others_that_are(path: str) -> None:
    exporter = swept()
    off, on = page(path, exporter), page(f"{path}?refresh=15", exporter)
    assert f'href="{path}?refresh=15">every 15 s' in off
    assert off.count("refresh=") == 1
    assert f'every 15s, <a href="{path}">switch off' in on
    links = re.findall(r'href="(/(?:\?|instance|hypervisors)[^"]*)"', on)
    assert [link for link in links if not re.search(f"refresh=15|format=|ask=now|^{path}$", link)] == []


def test_what_is_late_is_red_and_says_so() -> None:
    settings = config.Config(cache=config.Cache(sweep=Duration(10), inventory=Duration(20)))

    def tiles(age: float) -> list[str]:
        def listed() -> Inventory:
            return msgspec.structs.replace(cloud(), listed_at=time.time() - age, duration=1.0)

        html = page("/", Exporter(listed, Pinger({}, age=age), settings=settings))
        return [words(tile) for tile in re.findall(r'(?s)<div class="bad"><dt>Last.*?</dt>', html)]

    assert tiles(15) == []
    assert tiles(30) == ["Last sweep, late"]
    assert tiles(50) == ["Last sweep, late", "Last listing, late"]


def test_all_hypervisors_are_listed_and_those_that_are_down_come_first() -> None:
    html = page("/hypervisors")
    assert "<title>1 down · Hypervisors · prod" in html
    assert rows(html) == ["h2 down 1 0 1 0", "h1 up 1 1 0 0"]
    assert 'href="/?hypervisor=h2&amp;status=ACTIVE&amp;ping=silent#instances"' in html
    assert 'href="/hypervisors">1</a>' in page()
    assert 'href="/?hypervisor=h1&amp;status=ACTIVE&amp;ping=alive#instances"' in html


def test_hypervisors_of_which_only_the_instances_are_known() -> None:
    exporter = Exporter(lambda: inventory(instance("a", "10.0.0.1", hypervisor="h9")), Pinger({}))
    assert rows(page("/hypervisors", exporter)) == ["h9 not known 1 1 0 0"]
    assert "Hypervisors down" not in page("/", exporter)
    assert "No hypervisor is known" in page("/hypervisors", Exporter(inventory, Pinger({})))


def test_the_way_back_from_an_instance_keeps_the_filter() -> None:
    html = page("/?ping=silent&sort=-rtt&page=1")
    assert 'href="/instance/b?ping=silent&amp;sort=-rtt"' in html
    html = page("/instance/b?ping=silent&sort=-rtt")
    assert 'href="/?ping=silent&amp;sort=-rtt#instances">The filtered instances' in html
    assert "All instances" in words(page("/instance/b"))


def test_the_rows_as_json_and_csv() -> None:
    exporter = swept()
    assert "These 4 rows as JSON or CSV" in words(page("/", exporter))
    assert "This row as JSON or CSV" in words(page("/?q=web-1", exporter))
    answer = exporter.client.get("/?format=json&q=web&sort=name")
    assert answer.content_type == "application/json"
    first, second = answer.get_json()
    assert first == {
        "id": "a",
        "name": "web-1",
        "project_id": "p1",
        "project": "shop",
        "status": "ACTIVE",
        "task_state": None,
        "alive": True,
        "layer2_alive": None,
        "reason": None,
        "ping": "alive",
        "since_timestamp_seconds": first["last_reply_timestamp_seconds"],
        "since_at_least": True,
        "last_reply_timestamp_seconds": first["last_reply_timestamp_seconds"],
        "rtt_seconds": 0.00025,
        "hypervisor": "h1",
        "addresses": ["10.0.0.1"],
    }
    assert (second["id"], second["reason"], second["ping"]) == ("b", "no_reply", "never")
    answer = exporter.client.get("/?format=csv&q=db")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="instances.csv"'
    [row] = csv.DictReader(answer.text.splitlines())
    assert (row["id"], row["alive"], row["addresses"], row["reason"]) == ("c", "true", "10.0.0.3", "")
    assert exporter.client.get("/?format=json&q=nothing").get_json() == []
    assert "<html" in exporter.client.get("/?format=xml").text
    html = page("/?q=web&page=1", exporter)
    assert 'href="/?q=web&amp;format=json"' in html
    assert 'href="/?q=web&amp;format=csv"' in html


@pytest.mark.parametrize("form", ["json", "csv"])
def test_no_file_has_results_that_are_too_old_for_the_metrics(form: str) -> None:
    stale = config.Cache(inventory=Duration(1e-6), sweep=Duration(1e-6), max_stale=Duration(2e-6))
    for exporter in (Exporter(unlisted, Pinger({})), swept(cache=stale)):
        answer = exporter.client.get(f"/?format={form}")
        assert (answer.status_code, answer.text) == (503, "no results are fresh enough\n")
        assert answer.content_type == "text/plain; charset=utf-8"


def test_a_path_that_leads_nowhere_has_a_page() -> None:
    exporter = Exporter(cloud, Pinger({}))
    html = page("/no%0Asuch", exporter, status=404)
    assert "Not found Nothing is served at /no\N{REPLACEMENT CHARACTER}such ." in words(html)
    assert "<title>Not found · prod · RegionOne · mon-1 · fping-exporter</title>" in html
    assert exporter.client.get("/v2.1/os-fping/a/b").get_json()["itemNotFound"]["code"] == 404
    assert exporter.pinger.sweeps == 0


def test_a_phone_gets_fewer_rows() -> None:
    many = Exporter(lambda: inventory(*(instance(f"{n:03}") for n in range(60))), Pinger({}))
    phone = {"User-Agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Mobile Safari/537.36"}
    assert len(rows(many.client.get("/?page=2", headers=phone).text)) == 25
    assert len(rows(many.client.get("/").text)) == 60


def test_every_reason_is_explained() -> None:
    assert set(REASONS) == set(Reason)
    text = words(page())
    assert all(each.meaning in text for each in REASONS.values())


def test_a_silent_instance_has_a_reason_and_a_first_step() -> None:
    assert (
        f"Why {REASONS[Reason.NO_REPLY].meaning} Note The ping contradicts Nova's status. "
        "Next Nova calls its hypervisor down: find out whether the host is, before anything else. "
        "First step openstack server show b "
    ) in words(page("/instance/b"))
    answering = words(page("/instance/a"))
    assert "Next Nothing: it answers. Last reply" in answering, "layer 2 has a word for each address alone"
    assert "First step" not in answering
    twins = instance("a", "2001:db8::1", "10.0.0.1"), instance("b", "10.0.0.1")
    only4 = config.Config(probe=config.Probe(families=(4,)))
    text = words(page("/instance/a", Exporter(lambda: inventory(*twins), Pinger({}), settings=only4)))
    assert "First step openstack port list --fixed-ip ip-address=10.0.0.1 " in text


@pytest.mark.parametrize("reason", Reason)
def test_every_first_step_names_what_it_is_about(reason: Reason) -> None:
    command = REASONS[reason].advice.command.format(id="4be1", ip="10.0.0.7")
    assert command.startswith("openstack ")
    assert "4be1" in command or "10.0.0.7" in command


def test_the_history_of_an_instance() -> None:
    pinger = Pinger({}, age=7200)
    exporter = swept(pinger, cache=config.Cache(sweep=Duration(1e-6)))
    pinger.age = 60
    pinger.outcomes = {"10.0.0.2": SILENT}
    exporter.sweep()
    assert "Answering since at least 2h0m ago" in words(page("/instance/a", exporter)).replace("2h ", "2h0m ")
    exporter.pinger.age = 0
    html = page("/instance/b", exporter)
    text = words(html)
    assert "Silent since at least 1m" in text
    assert "Last sweeps of this exporter: 1 answered, 3 silent, 1 unknown" in text
    assert re.findall(r'<rect class="(\w+)" x="(\d+)" width="(\d+)" y="(\d)"', html) == [
        ("answered", "0", "1", "0"),
        ("unknown", "1", "1", "3"),
        ("silent", "2", "3", "2"),
    ]
    assert "History" not in words(page("/instance/d", exporter))
    assert "at least" in rows(page("/?q=web-2", exporter))[0]


def test_an_instance_that_is_not_asked_any_more_has_a_history_and_no_since() -> None:
    pinger = Pinger({})
    exporter = swept(pinger, cache=config.Cache(sweep=Duration(1e-6)))
    pinger.outcomes = {"10.0.0.1": NOT_ASKED}
    text = words(page("/instance/a", exporter))
    assert "Nobody knows since when it is as it is." in text
    assert "Last sweeps of this exporter: 1 answered, 1 unknown" in text


def test_an_instance_of_which_nothing_is_remembered_has_no_history() -> None:
    assert own_strip(Snapshot(inventory=inventory(), verdicts=(), sweep=sweep({})), "a") is None


def test_owner_and_age_of_an_instance() -> None:
    one = instance("a", "10.0.0.1", metadata={"role": "web"}, launched_at=time.time() - 7260)
    exporter = Exporter(lambda: inventory(one, contacts={"p": "ops@example.org"}), Pinger({}))
    text = words(page("/instance/a", exporter))
    assert re.search(r"Launched 2h1m ago \S+ UTC Contact ops@example.org Metadata role=web Tags -", text)


def test_a_filter_is_kept_by_the_form_and_by_the_headings() -> None:
    html = page("/?q=web&ping=silent&project=p1&sort=-rtt")
    assert rows(html) == ["web-2 b shop ACTIVE no reply at least 0s ago never seen - h2 down"]
    assert '<input type="search" name="q" value="web"' in html
    assert '<option value="silent" selected>' in html
    assert '<option value="p1" selected>shop</option>' in html
    assert '<input type="hidden" name="sort" value="-rtt">' in html
    assert 'aria-sort="descending"' in html
    assert "/?q=web&amp;project=p1&amp;ping=silent&amp;sort=name#instances" in html
    assert "Show all" in html


@pytest.mark.parametrize(
    ("query", "option"),
    [
        ("project=shop", '<option value="shop" selected>shop</option>'),
        ("hypervisor=gone", '<option value="gone" selected>gone</option>'),
        ("status=shelved", '<option value="SHELVED" selected>SHELVED</option>'),
        ("ping=odd", '<option value="odd" selected>odd</option>'),
        ("project=<b>", '<option value="&lt;b&gt;" selected>&lt;b&gt;</option>'),
    ],
)
def test_a_filter_by_what_the_form_does_not_list_is_shown_and_kept(query: str, option: str) -> None:
    html = page(f"/?{query}")
    assert html.count(" selected>") == 1
    assert option in html


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
    answering, silent, six, rejected = addresses(html)
    assert answering.startswith(
        "10.0.0.1 answers Network private , fixed Port - MAC - Owner this instance alone, by"
    )
    assert "Packets 1 of 1 answered, best round trip 0.25 ms" in answering
    assert silent.startswith("10.0.0.2 no reply ")
    assert "Packets 0 of 1 answered, best round trip - " in silent
    assert six.startswith("2001:db8::1 not asked ")
    assert "Not asked IPv6 is not asked (probe.families) Pinged from - Packets - " in six
    assert rejected.startswith("198.51.100.1 unreachable Network public , floating ")
    assert "ICMP error host unreachable (type 3, code 1), from 10.0.0.254" in rejected
    assert (
        "Status ACTIVE Task - Power RUNNING Host - Hypervisor - Availability zone nova Created - "
        "Launched not yet "
        "Contact - Metadata - Tags green old"
    ) in words(html)
    assert "Best round trip 0.25 ms Lost packets 0 %" in words(html)


def test_an_instance_that_is_not_there() -> None:
    text = words(page("/instance/x", status=404))
    assert "No such instance x is not in the last listing. It was deleted, the configuration" in text
    member = Exporter(cloud, Pinger({}), settings=config.Config(share=config.Share("redis://r")))
    text = words(page("/instance/x", member, status=404))
    assert "x is not of this exporter's part. Another exporter has it, or it was deleted, the" in text


def test_no_instance_is_called_gone_before_any_is_listed() -> None:
    exporter = Exporter(unlisted, Pinger({}))
    text = words(page("/instance/a", exporter))
    assert "Nothing to show yet" in text
    assert "No such instance" not in text


def test_old_results_are_called_so() -> None:
    young = Duration(0.001)
    cache = config.Cache(inventory=young, sweep=young, max_stale=Duration(0.4))
    exporter = swept(Pinger({}), cache=cache)
    assert "These results" not in words(page())
    setup = Setup(exporter.monitor.settings, Source(unlisted), exporter.pinger)
    exporter.monitor = exporter.monitor.hand_over(setup, same_cloud=True)
    time.sleep(0.45)
    assert re.search(
        r"These results are \S+ old\. That is more than cache\.max_stale \(400ms\)",
        words(page("/", exporter)),
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


def test_an_exporter_that_has_lost_its_way_to_most_says_so() -> None:
    many = [
        instance(f"{n}", f"10.0.0.{n}", project_id=f"p{n % 2}", hypervisor=f"h{n % 2}") for n in range(1, 9)
    ]
    pinger = Pinger({})
    brief = config.Config(cache=config.Cache(sweep=Duration(0.001)))
    exporter = Exporter(lambda: inventory(*many), pinger, settings=brief)
    assert "This exporter is blind" not in words(page("/", exporter))
    pinger.outcomes = {f"10.0.0.{n}": SILENT for n in range(1, 7)}
    time.sleep(0.002)
    assert "This exporter is blind: it has lost a vantage, or most of what" in words(page("/", exporter))


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


def test_no_other_file_is_served() -> None:
    assert swept().client.get("/static/status.py").status_code == 404
    assert swept().client.get("/static/..%2Fstatus.py").status_code == 404


def test_nothing_on_the_page_needs_a_script_or_another_site() -> None:
    for path in ("/", "/instance/a"):
        html = page(path)
        assert "<script" not in html
        assert " style=" not in html
        assert not re.search(r'(?:src|href|action)="(?![/#])', html)


def test_the_links_that_are_configured() -> None:
    links = "{runbook: 'https://wiki/run.html', grafana: 'https://g/d?id={id}', horizon: 'https://h/{hypervisor}'}"
    exporter = Exporter(
        cloud, Pinger({"10.0.0.2": SILENT}), settings=config.parse(f"links: {links}", source="f")
    )
    exporter.sweep()
    html = page("/instance/b", exporter)
    assert '<a href="https://g/d?id=b" rel="noreferrer">Grafana</a>' in html
    assert '<a href="https://h/h2" rel="noreferrer">Horizon</a>' in html
    section = "HypervisorDown"
    assert (
        f'<a href="https://wiki/run.html#{section.lower()}" rel="noreferrer">Runbook: {section}</a>' in html
    )
    assert "Horizon" not in page("/instance/d", exporter), "it is on no hypervisor"
    for path in ("/", "/hypervisors", "/instance/b"):
        assert '<a href="https://wiki/run.html" rel="noreferrer">Runbook</a>' in page(path, exporter)


def test_without_links_none_is_shown() -> None:
    html = page("/instance/b") + page()
    assert not {"Grafana", "Horizon", "Runbook"} & set(words(html).split())
