"""Decodes pages of lists: at once, or entry by entry if anything on the page is not as expected."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import NoneType
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_type_hints

import msgspec

from fping_exporter.cloud.pages import decode
from fping_exporter.cloud.surrogates import replace_lone_surrogates
from fping_exporter.cloud.unreadable import Unreadable
from fping_exporter.errors import ListingError

__all__ = ["Entries", "EntryDecoder", "Mended"]

T = TypeVar("T", bound=msgspec.Struct)

_NULL = b"null"


class Mended(NamedTuple):
    """An entry without those of its parts that cannot be read."""

    entry: Any
    unreadable: Sequence[Unreadable] = ()
    """The parts that were left out."""


class Entries(NamedTuple, Generic[T]):
    """The content of one page."""

    readable: Sequence[T]
    unreadable: Sequence[Unreadable]
    last_id: str | None
    """The id of the last entry that has a readable one; None if this kind of entry has none."""
    links: bytes
    """JSON: what the page says of other pages."""
    truncated: bool
    """Whether the page says that the list is cut, as Keystone does at its `list_limit`."""

    @property
    def has_next(self) -> bool:
        """Whether the links of Nova's and Neutron's pages say that there is a next page."""
        return self.links != _NULL and any(link.rel == "next" for link in decode(self.links, list[_Link]))

    @property
    def following(self) -> Mapping[str, str] | None:
        """The query parameters for the next page, which begins after the last entry of this one."""
        return None if self.last_id is None else {"marker": self.last_id}


class _Link(msgspec.Struct):
    rel: str


class EntryDecoder(Generic[T]):
    """Decodes the pages of one list.

    A page is decoded whole. If that fails, it is decoded entry by entry. Null fields of entries then count as
    absent, so that they have their defaults.
    """

    def __init__(
        self,
        service: str,
        key: str,
        kind: type[T],
        *,
        links: str = "",
        mend: Callable[[Any], Mended] = Mended,
    ) -> None:
        """Decode the list at `key` of the answers of `service` into instances of the struct `kind`.

        `links` is the key of the links to other pages, `<key>_links` by default. `mend` gets each entry
        that cannot be read, as JSON has it, and returns it without its unreadable parts.
        """
        self._what = f"{service}'s answer is no list of {key.replace('_', ' ')}"
        self._kind = kind
        self._mend = mend
        hints = get_type_hints(kind)
        self._id_type = hints.get("id")
        self._nullable = {
            field.encode_name
            for field in msgspec.structs.fields(kind)
            if NoneType in get_args(hints[field.name])
        }
        others = [
            ("links", msgspec.Raw, msgspec.field(name=links or f"{key}_links", default=msgspec.Raw(_NULL))),
            ("truncated", Any, False),
        ]
        self._page = msgspec.json.Decoder(_page_type(key, kind, others))
        self._raw_page = msgspec.json.Decoder(_page_type(key, msgspec.Raw, others))
        self._entry = msgspec.json.Decoder(kind)

    def decode(self, body: bytes) -> Entries[T]:
        """Decode one page.

        Raises ListingError if the body is no such list: it has another shape, or not one of its entries is
        recognised, by an id or, if this kind has none, by being an object at all.
        """
        body = replace_lone_surrogates(body)
        try:
            page = self._page.decode(body)
        except (ValueError, RecursionError):
            return self._decode_one_by_one(body)
        entries: list[T] = page.entries
        return Entries(
            entries, (), self._last_id(entries), bytes(page.links), truncated=page.truncated is True
        )

    def decode_one(self, entry: bytes) -> Entries[T]:
        """Decode one entry, as JSON has it, as if it were a page; raise ListingError if it is none at all."""
        return self._decode_all([replace_lone_surrogates(entry)], links=_NULL, truncated=False)

    def _last_id(self, entries: Sequence[T]) -> str | None:
        return str(getattr(entries[-1], "id")) if entries and self._id_type else None  # noqa: B009, T may lack it

    def _decode_one_by_one(self, body: bytes) -> Entries[T]:
        try:
            page = self._raw_page.decode(body)
        except (ValueError, RecursionError) as error:
            raise ListingError(f"{self._what}: {error!r:.200}") from error
        return self._decode_all(page.entries, links=bytes(page.links), truncated=page.truncated is True)

    def _decode_all(self, raw: Sequence[Any], *, links: bytes, truncated: bool) -> Entries[T]:
        readable: list[T] = []
        unreadable: list[Unreadable] = []
        last_id = None
        recognised = not raw
        for each in raw:
            value, entry, faults = self._decode_entry(each)
            unreadable += faults
            if entry is not None:
                readable.append(entry)
            id_ = self._id_of(value) if entry is None else self._last_id([entry])
            last_id = id_ or last_id
            recognised = (
                recognised
                or entry is not None
                or id_ is not None
                or (self._id_type is None and isinstance(value, dict))
            )
        if not recognised:
            raise ListingError(f"{self._what}: none of its entries can be read: {unreadable[0].why}")
        return Entries(readable, unreadable, last_id, links, truncated=truncated)

    def _decode_entry(self, raw: Any) -> tuple[Any, T | None, Sequence[Unreadable]]:  # noqa: ANN401, Raw or bytes
        """Return an entry as JSON has it (None unless it was needed), what it is read as, and its faults."""
        try:
            return None, self._entry.decode(raw), ()
        except (ValueError, RecursionError):
            pass
        value = None
        try:
            value = msgspec.json.decode(raw)
            mended = self._mend(_without_nulls(value, keep=self._nullable))
            return value, msgspec.convert(mended.entry, self._kind), mended.unreadable
        except (ValueError, RecursionError) as error:
            return value, None, [Unreadable(value, str(error))]

    def _id_of(self, value: Any) -> str | None:  # noqa: ANN401, any JSON
        if self._id_type is None or not isinstance(value, dict):
            return None
        try:
            return str(msgspec.convert(value.get("id"), self._id_type))
        except ValueError:
            return None


def _page_type(key: str, entry: Any, others: Sequence[Any]) -> type[Any]:  # noqa: ANN401, any type
    return msgspec.defstruct("Page", [("entries", list[entry], msgspec.field(name=key)), *others])


def _without_nulls(value: Any, *, keep: Collection[str] = ()) -> Any:  # noqa: ANN401, any JSON
    """Return the value without the null fields of objects, but for the fields `keep` of the outermost one.

    Elements of arrays have no defaults: they stay.
    """
    match value:
        case dict():
            return {
                key: _without_nulls(each) for key, each in value.items() if each is not None or key in keep
            }
        case list():
            return [_without_nulls(each) for each in value]
    return value
