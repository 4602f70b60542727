"""Paged lists of the OpenStack APIs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from fping_exporter.cloud.surrogates import replace_lone_surrogates
from fping_exporter.cloud.unreadable import Unreadable
from fping_exporter.errors import BadRequestError, CloudError, ListingError, NotFoundError

__all__ = ["PAGE_LIMIT", "Get", "List", "Page", "decode", "read_list"]

PAGE_LIMIT: Mapping[str, str] = {"limit": "1000"}
"""Entries per page: what Nova and Neutron allow by default. A service that allows fewer returns fewer."""

_MAX_PAGES = 10_000
"""Ten million entries, or 200,000 where a service allows no more than 20 a page."""

T = TypeVar("T")

Get = Callable[[Mapping[str, str]], bytes]
"""Requests one page of a list with these query parameters, and returns the body."""


class Page(NamedTuple, Generic[T]):
    """One page of a list."""

    entries: Sequence[T]
    next: Mapping[str, str] | None
    """The query parameters that the request for the next page has besides; None: this was the last page."""
    unreadable: Sequence[Unreadable] = ()
    truncated: bool = False
    """Whether the service says that it cuts the list here."""


class List(NamedTuple, Generic[T]):
    """All pages of a list."""

    entries: list[T]
    unreadable: list[Unreadable]
    truncated: bool
    """Whether the service said that it cut the list."""


def read_list(get: Get, params: Mapping[str, str], read: Callable[[bytes], Page[T]]) -> List[T]:
    """Return the entries of all pages of the list that `params` describe.

    A list is begun once more if the service refuses a page: the entry that the page was to begin after
    was deleted meanwhile.

    Raises ListingError if two pages have the same successor, for that list would never end, and after
    10,000 pages; raises what `get` and `read` raise.
    """
    try:
        return _read_pages(get, params, read)
    except _PageRefusedError:
        pass
    try:
        return _read_pages(get, params, read)
    except _PageRefusedError as error:
        raise error.refusal from None


def _read_pages(get: Get, params: Mapping[str, str], read: Callable[[bytes], Page[T]]) -> List[T]:
    whole: List[T] = List([], [], truncated=False)
    seen: set[tuple[tuple[str, str], ...]] = set()
    following: Mapping[str, str] = {}
    for _ in range(_MAX_PAGES):
        try:
            body = get({**params, **following})
        except (BadRequestError, NotFoundError) as error:
            if not following:
                raise
            raise _PageRefusedError(error) from error
        page = read(body)
        whole.entries.extend(page.entries)
        whole.unreadable.extend(page.unreadable)
        if page.next is None:
            return whole._replace(truncated=page.truncated)
        following = page.next
        successor = tuple(sorted(following.items()))
        if successor in seen:
            end = following.get("marker", following)
            raise ListingError(f"the list does not end: a second page ends with {end!r:.100}")
        seen.add(successor)
    raise ListingError(f"the list does not end: it has more than {_MAX_PAGES} pages")


class _PageRefusedError(Exception):
    """The service refused a page other than the first."""

    def __init__(self, refusal: CloudError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def decode(body: bytes, kind: type[T]) -> T:
    """Decode the body of a response as `kind`; raise ListingError if it is something else."""
    try:
        return msgspec.json.decode(replace_lone_surrogates(body), type=kind)
    except (ValueError, RecursionError) as error:
        raise ListingError(f"an answer of the cloud cannot be read: {error!r:.200}") from error
