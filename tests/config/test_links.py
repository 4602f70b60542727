"""Links to an instance: what tenants name their instances leads nobody astray."""

from html.parser import HTMLParser
from urllib.parse import parse_qs, unquote, urlsplit

import jinja2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fping_exporter.config import Links
from fping_exporter.config.links import PLACEHOLDERS, LinkTemplate, PageUrl, links_to
from tests.build import instance

EVERYWHERE = LinkTemplate.parse(
    "https://h.example:8443/a/{project_id}/{id}/{name}?name={name}&host={hypervisor}#{id}"
)
HOSTILE = [
    "javascript:alert(1)",
    "https://evil.example/",
    "//evil.example",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    "a\r\nSet-Cookie: b=c",
    "\0\x1b[31m",
    "a&host=b",
    "a#b?c",
    "@evil.example",
    "\\\\evil.example\\",
    "%2e%2e%2f",
    "{id}",
    "العنوان\u202egnp",
    "\ud800",
]
NAMES = st.sampled_from(HOSTILE) | st.text(min_size=1)


def fill(template: LinkTemplate, **values: str) -> str | None:
    return template.fill(dict.fromkeys(PLACEHOLDERS, "x") | values)


@settings(deadline=None)
@given(name=NAMES, hypervisor=NAMES, id_=NAMES, project=NAMES)
@example(name="..", hypervisor="a", id_="b", project="c")
def test_whatever_the_names_are_the_link_leads_to_the_same_page(
    name: str, hypervisor: str, id_: str, project: str
) -> None:
    url = fill(EVERYWHERE, name=name, hypervisor=hypervisor, id=id_, project_id=project)
    if url is None:
        assert {name, id_, project} & {".", ".."}
        return
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set(" \"'<>\\`{}")
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "h.example:8443")
    encoded = [text.encode(errors="replace").decode() for text in (project, id_, name)]
    assert [unquote(each) for each in parts.path.split("/")] == ["", "a", *encoded]
    asked = {"name": [encoded[2]], "host": [hypervisor.encode(errors="replace").decode()]}
    assert parse_qs(parts.query, keep_blank_values=True) == asked
    assert unquote(parts.fragment) == encoded[1]


class Anchors(HTMLParser):
    """Collects the elements of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


@settings(deadline=None)
@given(NAMES)
def test_in_a_page_it_is_one_attribute_and_nothing_more(name: str) -> None:
    url = fill(EVERYWHERE, name=name)
    template = jinja2.Environment(autoescape=True).from_string('<a href="{{ url }}">x</a>')
    page = Anchors()
    page.feed(template.render(url=url))
    assert page.found == [("a", [("href", url or "None")])]


@pytest.mark.parametrize(
    ("template", "values", "url"),
    [
        ("https://h/{id}", {"id": "5f0c"}, "https://h/5f0c"),
        ("https://h/x?var-id={id}&from=now-1h", {"id": "a b"}, "https://h/x?var-id=a%20b&from=now-1h"),
        ("https://h/{name}/edit", {"name": ".."}, None),
        ("https://h/{name}{id}/edit", {"name": ".", "id": "."}, None),
        ("https://h/?n={name}", {"name": ".."}, "https://h/?n=.."),
        ("https://h/%2E{name}/", {"name": "."}, None),
        ("https://h/{hypervisor}", {"hypervisor": ""}, None),
        ("https://h/", {}, "https://h/"),
        ("https://h?id={id}", {"id": "5"}, "https://h?id=5"),
        ("https://h#{id}", {"id": "5"}, "https://h#5"),
        ("http://[::1]:3000/{id}", {"id": "5"}, "http://[::1]:3000/5"),
    ],
)
def test_what_is_filled_in(template: str, values: dict[str, str], url: str | None) -> None:
    assert fill(LinkTemplate.parse(template), **values) == url


@settings(deadline=None)
@given(st.text() | st.builds("https://h/{}".format, st.text()) | st.integers() | st.none())
def test_whatever_is_configured_is_refused_or_a_url(value: object) -> None:
    for kind in (LinkTemplate, PageUrl):
        try:
            url = kind.parse(value)
        except ValueError:
            continue
        assert urlsplit(url).scheme in {"http", "https"}
        assert urlsplit(url).hostname
        assert not set(url) & set(" \"'<>\\`")


def test_links_are_those_that_are_configured_and_lead_somewhere() -> None:
    grafana, horizon = LinkTemplate.parse("https://g/{id}"), LinkTemplate.parse("https://z/{hypervisor}")
    links = Links(grafana=grafana, horizon=horizon)
    assert list(links_to(instance("a", hypervisor="h"), links)) == [
        ("Grafana", "https://g/a"),
        ("Horizon", "https://z/h"),
    ]
    assert list(links_to(instance("a"), links)) == [("Grafana", "https://g/a")]
    assert list(links_to(instance("a"), Links())) == []
