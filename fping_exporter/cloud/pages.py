"""Lists that an OpenStack API gives in pages: one page after the other, and never for ever."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from fping_exporter.cloud.surrogates import replace_lone_surrogates
from fping_exporter.errors import ListingError

__all__ = ["Get", "Page", "decode", "pages"]

_LIMIT = 1000
"""Entries to ask for at once: what Nova and Neutron allow by default; where less is allowed, less comes."""

T = TypeVar("T")

Get = Callable[[Mapping[str, str]], bytes]
"""Asks for one page of a list with these query parameters and returns the body."""


class Page(NamedTuple, Generic[T]):
    """One page, read."""

    entries: Sequence[T]
    marker: str | None
    """The id after which the next page begins; None: this was the last page."""


def pages(get: Get, params: Mapping[str, str], read: Callable[[bytes], Page[T]]) -> Iterator[Sequence[T]]:
    """Yield the entries of each page of the list that `params` describe.

    Raises ListingError where a page's marker was that of an earlier page, for that list
    would never end.
    """
    markers: set[str] = set()
    params = {**params, "limit": str(_LIMIT)}
    while True:
        entries, marker = read(get(params))
        yield entries
        if marker is None:
            return
        if marker in markers:
            raise ListingError(f"the list does not end: a second page ends with {marker!r:.100}")
        markers.add(marker)
        params["marker"] = marker


def decode(body: bytes, kind: type[T]) -> T:
    """Read the body of an answer as `kind`; raise ListingError if it is something else."""
    try:
        return msgspec.json.decode(replace_lone_surrogates(body), type=kind)
    except (ValueError, RecursionError) as error:
        raise ListingError(f"an answer of the cloud cannot be read: {error!r:.200}") from error
