"""Keystone's lists: followed from page to page, and completed one by one where Keystone cuts them."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Generic, NamedTuple, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from fping_exporter.cloud.entries import EntryDecoder
from fping_exporter.cloud.pages import List, Page, decode, read_list
from fping_exporter.cloud.session import Client
from fping_exporter.cloud.time_limit import time_limit
from fping_exporter.errors import CloudError, ForbiddenError, ListingError, NotFoundError

__all__ = ["KeystoneList", "LookedUp", "Lookups"]

T = TypeVar("T")
E = TypeVar("E", bound=msgspec.Struct)

_LOOKUPS_PER_LISTING = 100
_LOOKUP_SECONDS = 20.0
"""For all lookups of one kind in one listing: a slow Keystone shall not cost the listing of instances."""
_FAILURES_PER_LISTING = 3
"""Then Keystone is away, or too slow: the rest waits for the next listing."""
_REMEMBERED_SECONDS = 3600.0
_FAILURE_REMEMBERED_SECONDS = 300.0
_MAX_REMEMBERED = 20_000


class _Links(msgspec.Struct):
    next: str | None = None


class KeystoneList(Generic[E]):
    """One list of Keystone's."""

    def __init__(self, path: str, kind: type[E]) -> None:
        """Read the list at `path` into instances of `kind`."""
        self._path = path
        self._decoder = EntryDecoder("Keystone", path, kind, links="links")

    def read(self, identity: Client, params: Mapping[str, str] = {}) -> List[E]:
        """Return all entries that `params` leave.

        Of the link to the next page only the query is used: the token goes to the configured Keystone alone.
        """
        return read_list(
            lambda params: identity.get(f"/{self._path}", params=params), params, self._read_page
        )

    def find(self, identity: Client, id_: str) -> E:
        """Return the entry that has this id.

        Raises NotFoundError if there is none, ForbiddenError if the credentials may not see it, and
        ListingError if it cannot be read.
        """
        body = identity.get(f"/{self._path}/{quote(id_, safe='')}")
        entries = [bytes(entry) for entry in decode(body, dict[str, msgspec.Raw]).values()]
        page = self._decoder.decode_one(entries[0] if entries else b"null")
        if not page.readable:
            raise ListingError(f"Keystone's answer cannot be read: {page.unreadable[0].why}")
        return page.readable[0]

    def _read_page(self, body: bytes) -> Page[E]:
        page = self._decoder.decode(body)
        links = decode(page.links, _Links) if page.links != b"null" else _Links()
        following = dict(parse_qsl(urlsplit(links.next or "").query, keep_blank_values=True))
        return Page(
            page.readable,
            following or None,
            page.unreadable,
            truncated=page.truncated or (links.next is not None and not following),
        )


class LookedUp(NamedTuple, Generic[T]):
    """What is known of entries that a list lacks."""

    found: Mapping[str, T]
    absent: Collection[str]
    """Ids of those that do not exist."""
    refused: Collection[str]
    """Ids of those that the credentials may not see, that cannot be read, or of which the request failed."""
    pending: Collection[str]
    """Ids of those that are still to be asked for."""

    @property
    def complete(self) -> bool:
        """Whether everything is known that there is."""
        return not self.refused and not self.pending


class _Answer(NamedTuple, Generic[T]):
    until: float
    """By the monotonic clock, in seconds."""
    entry: T | None
    exists: bool
    """Whether it exists as far as is known; without an entry, it may not be seen or cannot be read."""


class Lookups(Generic[T]):
    """Asks for entries that a list lacks, one by one, and remembers the answers for an hour.

    It asks for a hundred in one listing at most, and stops after 20 seconds or three failures. What failed is
    asked for again after five minutes.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing; `clock` is in seconds and never goes back."""
        self._clock = clock
        self._answers: dict[str, _Answer[T]] = {}

    def copy(self) -> Self:
        """Return another one that begins with the same answers."""
        other = type(self)(clock=self._clock)
        other._answers = dict(self._answers)  # noqa: SLF001, of the same class
        return other

    def knows(self, id_: str) -> bool:
        """Whether it has been asked for the entry that has this id, whatever the answer was."""
        return id_ in self._answers

    def look_up(self, missing: Collection[str], ask: Callable[[str], T]) -> LookedUp[T]:
        """Return what is known of the entries that have the ids `missing`.

        `ask` is called for those that have not been asked for within the hour; it raises CloudError. What was
        known an hour ago stays in use until it is asked for again.
        """
        wanted = sorted(missing)[:_MAX_REMEMBERED]
        self._answers = {id_: self._answers[id_] for id_ in wanted if id_ in self._answers}
        now = self._clock()
        due = [id_ for id_ in wanted if id_ not in self._answers]
        due += sorted(
            (id_ for id_, answer in self._answers.items() if answer.until <= now),
            key=lambda id_: self._answers[id_].until,
        )
        failures = 0
        with time_limit(_LOOKUP_SECONDS):
            for id_ in due[:_LOOKUPS_PER_LISTING]:
                if failures == _FAILURES_PER_LISTING:
                    break
                try:
                    self._answers[id_] = self._ask(id_, ask)
                except CloudError:
                    failures += 1
                    before = self._answers.get(id_)
                    self._answers[id_] = _Answer(
                        self._clock() + _FAILURE_REMEMBERED_SECONDS,
                        before.entry if before else None,
                        exists=before.exists if before else True,
                    )
        known = self._answers
        return LookedUp(
            found={id_: each.entry for id_, each in known.items() if each.entry is not None},
            absent=[id_ for id_, each in known.items() if not each.exists],
            refused=[id_ for id_, each in known.items() if each.exists and each.entry is None],
            pending=sorted(set(missing) - known.keys()),
        )

    def _ask(self, id_: str, ask: Callable[[str], T]) -> _Answer[T]:
        until = self._clock() + _REMEMBERED_SECONDS
        try:
            return _Answer(until, ask(id_), exists=True)
        except NotFoundError:
            return _Answer(until, None, exists=False)
        except (ForbiddenError, ListingError):
            return _Answer(until, None, exists=True)
