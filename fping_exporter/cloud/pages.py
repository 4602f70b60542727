"""Paged lists of the OpenStack APIs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from fping_exporter.cloud.surrogates import replace_lone_surrogates
from fping_exporter.errors import ListingError

__all__ = ["Get", "Page", "decode", "pages"]

_LIMIT = 1000
"""Entries per page: what Nova and Neutron allow by default. A service that allows fewer returns fewer."""

_MAX_PAGES = 10_000
"""Ten million entries, or 200,000 where a service allows no more than 20 a page."""

T = TypeVar("T")

Get = Callable[[Mapping[str, str]], bytes]
"""Requests one page of a list with these query parameters, and returns the body."""


class Page(NamedTuple, Generic[T]):
    """One page of a list."""

    entries: Sequence[T]
    marker: str | None
    """The id after which the next page begins; None: this was the last page."""


def pages(get: Get, params: Mapping[str, str], read: Callable[[bytes], Page[T]]) -> Iterator[Sequence[T]]:
    """Yield the entries of each page of the list that `params` describe.

    Raises ListingError if a page has the marker of an earlier page, for that list would never end, and
    after 10,000 pages.
    """
    markers: set[str] = set()
    params = {**params, "limit": str(_LIMIT)}
    for _ in range(_MAX_PAGES):
        entries, marker = read(get(params))
        yield entries
        if marker is None:
            return
        if marker in markers:
            raise ListingError(f"the list does not end: a second page ends with {marker!r:.100}")
        markers.add(marker)
        params["marker"] = marker
    raise ListingError(f"the list does not end: it has more than {_MAX_PAGES} pages")


def decode(body: bytes, kind: type[T]) -> T:
    """Decode the body of a response as `kind`; raise ListingError if it is something else."""
    try:
        return msgspec.json.decode(replace_lone_surrogates(body), type=kind)
    except (ValueError, RecursionError) as error:
        raise ListingError(f"an answer of the cloud cannot be read: {error!r:.200}") from error
