"""The section ``links``: where the pages link to about an instance."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

from fping_exporter.config.strict_yaml import Section
from fping_exporter.model import Instance

__all__ = ["PLACEHOLDERS", "Link", "LinkTemplate", "Links", "PageUrl", "links_to"]

PLACEHOLDERS = ("id", "project_id", "name", "hypervisor")
"""What may stand in braces in a template: fields of an instance."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_END_OF_HOST = re.compile("[?#]")
_DOTS = frozenset({".", ".."})


class PageUrl(str):
    """The URL of a page; whoever links to one of its sections adds a fragment."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse the setting; raise ValueError, which says what would be right."""
        text = _check_url(value)
        if "{" in text or "}" in text:
            raise ValueError("a placeholder, which this link has no use for")
        if "#" in text:
            raise ValueError("a fragment, in place of which that of a section is added")
        return cls(text)


class LinkTemplate(str):
    """A URL with placeholders such as ``{id}`` behind the host's name."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse the setting; raise ValueError, which says what would be right."""
        text = _check_url(value)
        allowed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        for name in _BRACES.findall(text):
            if name not in PLACEHOLDERS:
                raise ValueError(f"unknown placeholder {{{name:.40}}}; allowed are {allowed}")
        rest = _BRACES.sub("", text)
        if "{" in rest or "}" in rest:
            raise ValueError(f"a brace that belongs to no placeholder; allowed are {allowed}")
        return cls(text)

    def fill(self, values: Mapping[str, str]) -> str | None:
        """Return the URL with `values` in place of the placeholders; None if it would lead nowhere.

        Tenants choose names. So all of a value is percent-encoded but the characters that mean nothing in a
        URL (RFC 3986, section 2.3). No link is made where a value is empty, or where a browser would take it
        for a step up in the path.
        """
        if not all(values[name] for name in _BRACES.findall(self)):
            return None
        url = _BRACES.sub(lambda found: quote(values[found[1]], safe="", errors="replace"), self)
        segments = urlsplit(url).path.split("/")
        return None if any(unquote(segment) in _DOTS for segment in segments) else url


def _check_url(value: object) -> str:
    """Return a URL of http or https without a password; raise ValueError if it is none."""
    text = value if isinstance(value, str) else ""
    host = text.partition("://")[2].partition("/")[0]
    if "@" in host:
        raise ValueError("a user name or a password, which the pages would show to everybody")
    if "{" in _END_OF_HOST.split(host)[0]:
        raise ValueError(
            "a placeholder in the name of the host: it may be in the path, the query or the fragment"
        )
    if not _is_url(text):
        raise ValueError(
            f"expected a URL of http or https such as https://wiki.example.org, got {value!r:.100}"
        )
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, brackets without an end
        return False
    return right and text.isascii() and text.isprintable() and _NOT_IN_URLS.isdisjoint(text)


_NOT_IN_URLS = frozenset(" \"'<>\\^`|")
"""Characters that RFC 3986 knows only encoded, and the apostrophe, which ends texts of HTML and shells."""


class Links(Section, frozen=True):
    """Where the pages link to; a link that is not configured is not shown."""

    runbook: PageUrl | None = None
    """The page made of ``deploy/runbook.md``."""
    grafana: LinkTemplate | None = None
    horizon: LinkTemplate | None = None


class Link(NamedTuple):
    """A link to what somebody else shows of an instance."""

    title: str
    url: str


def links_to(instance: Instance, links: Links) -> Iterator[Link]:
    """Yield the links to an instance in Grafana and Horizon, as far as they are configured."""
    values = {name: getattr(instance, name) for name in PLACEHOLDERS}
    for title, template in (("Grafana", links.grafana), ("Horizon", links.horizon)):
        if template and (url := template.fill(values)):
            yield Link(title, url)
