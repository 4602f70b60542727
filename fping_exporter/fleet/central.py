"""The list of an agent: asked of a central, over HTTP, as often as there is a newer one."""

import logging
import random
import re
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from fping_exporter import __version__
from fping_exporter.config import Config, Scope
from fping_exporter.errors import CentralError, ConfigError
from fping_exporter.fleet.credentials import read_credentials
from fping_exporter.fleet.http_get import Answer, get
from fping_exporter.fleet.wire import decode
from fping_exporter.hosts import own_host
from fping_exporter.model import Inventory

__all__ = ["Centrals"]

logger = logging.getLogger(__name__)

_PATH = "/v1/inventory"
_ANSWER_SECONDS = 20.0
"""How long a central has for its answer."""
_MAX_COMPRESSED_BYTES = 64 << 20
_MAX_BYTES = 512 << 20
"""Of a list, uncompressed: some two times what 100,000 instances take."""
_AVOIDED_SECONDS = 300.0
"""How long the others are asked before a central that failed."""
_SPREAD_SECONDS = (0.5, 2.5)
"""When agents ask for a list that is due: it must be complete by then, and they must not come all at once."""
_MAX_PAUSE_SECONDS = 30.0
_CLOCK_SECONDS = 1.0
"""By how much the age of a list, in whole seconds, is rounded up."""
_OK, _NOT_MODIFIED = 200, 304


class _Held(NamedTuple):
    """The newest list that came."""

    inventory: Inventory
    etag: str
    began: float
    """When its listing was begun, by the monotonic clock of this process."""
    cloud: str
    region: str


class _Answer(NamedTuple):
    """A list that came just now, and when the next one can be expected."""

    held: _Held
    due: float
    """When the next list can be expected, by the monotonic clock of this process."""
    late: bool
    """Whether the central has failed to list for a whole interval."""


class Centrals:
    """The centrals of an agent. Any of them has the same list.

    Each agent prefers one of them by the name of its host, so that they share the work. One that does not
    answer, or whose list is late, is asked after the others for five minutes.
    """

    session = None
    """An agent has no session with a cloud."""

    def __init__(
        self, config: Config, *, observe: Callable[[str, int], object] = lambda _service, _code: None
    ) -> None:
        """Prepare to ask the centrals that `config.inventory` names; nothing is sent yet.

        `observe` is called with ``central`` and the status code of every answer. Raises ConfigError if a file
        that the configuration names cannot be read.
        """
        if config.inventory is None:
            raise ConfigError("inventory: expected the centrals of this agent")
        self._settings = config.inventory
        self._seconds = min(_ANSWER_SECONDS, config.cache.max_stale / 2)
        self._observe = observe
        read_credentials(self._settings)
        host = self._settings.host and own_host(self._settings.host)
        self._query = urlencode(
            [("host", host)] if host else [("network", each) for each in self._settings.network]
        )
        paths = {urlsplit(url).path.rstrip("/") for url in self._settings.central}
        self.scope: Scope = {
            "inventory.central": tuple(sorted(paths)),  # a path names a cloud of several; a host does not
            "inventory.host": host,
            "inventory.network": self._settings.network,
        }
        self._avoided: dict[str, float] = {}
        """Until when each central is asked after the others, by the monotonic clock."""
        self._held: _Held | None = None
        self._due = 0.0
        self._misses = 0
        """How often in a row there was no list that is young enough."""

    @property
    def name(self) -> str:
        """The cloud's name, as the centrals have it; empty until one has answered."""
        return self._held.cloud if self._held else ""

    @property
    def region(self) -> str:
        """The region's name, likewise."""
        return self._held.region if self._held else ""

    def is_same(self, other: "Centrals") -> bool:  # noqa: ARG002, the settings are compared elsewhere
        """Return True: but for the settings there are only files, which are read for each request."""
        return True

    def take_over(self, before: "Centrals") -> None:
        """Begin with the list that `before` has of the same instances."""
        self._held = before._held  # noqa: SLF001, of this class

    def close(self) -> None:
        """Do nothing: each request has a connection of its own."""

    def recall(self, inventory: Inventory, *, listed_at: float) -> None:
        """Do nothing: a list of an earlier process is asked for anew, and whole."""

    def look_up(self, id_: str) -> None:
        """Return None: an agent has no credentials to ask Nova with."""

    def next_poll(self) -> float:
        """Return the seconds until the next list should be asked for, with some jitter.

        While it does not come, the pauses grow from a second to half a minute.
        """
        if not self._misses:
            return max(self._due - time.monotonic(), 1) + random.uniform(*_SPREAD_SECONDS)  # noqa: S311, no secret
        pause: float = min(2 ** min(self._misses - 1, 10), _MAX_PAUSE_SECONDS)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311, likewise

    def inventory(
        self,
        *,
        full: bool = False,  # noqa: ARG002, a central's list is always whole
        silent: Collection[str] = (),  # noqa: ARG002, the central has its own lists
    ) -> Inventory:
        """Return the newest list that a central has; raise CentralError if none gives any.

        Its `relay_age` says how old it was when this began. No list is older than one returned before.
        """
        asked_at = time.monotonic()
        try:
            found = self._ask_all()
        except CentralError:
            self._misses += 1
            raise
        now = time.monotonic()
        self._due = found.due
        self._misses = 0 if found.due > now else self._misses + 1
        if self._held is None or found.held.began > self._held.began - _CLOCK_SECONDS:
            self._held = found.held
        return msgspec.structs.replace(
            self._held.inventory,
            relay_age=max(asked_at - self._held.began, 0),
            listed_at=time.time() - (now - self._held.began),
            duration=now - asked_at,
        )

    def _ask_all(self) -> _Answer:
        """Return the answer of the first central whose list is not late, else that with the youngest one."""
        faults: dict[str, str] = {}
        best: _Answer | None = None
        for url in self._in_order():
            try:
                found = self._ask(url)
            except CentralError as error:
                faults[url] = str(error)
                continue
            if best is None or found.held.began > best.held.began:
                best = found
            if not found.late:
                break
            faults[url] = "its list is late"
        if best is None:
            raise CentralError("; ".join(f"{url}: {fault}" for url, fault in faults.items()))
        self._avoid(faults)
        return best

    def _in_order(self) -> list[str]:
        urls = self._settings.central
        first = zlib.crc32(self._query.encode()) % len(urls)
        now = time.monotonic()
        return sorted((*urls[first:], *urls[:first]), key=lambda url: self._avoided.get(url, 0) > now)

    def _avoid(self, faults: Mapping[str, str]) -> None:
        """Ask some centrals after the others for a while."""
        now = time.monotonic()
        for url, fault in faults.items():
            if self._avoided.get(url, 0) <= now and len(self._settings.central) > 1:
                logger.warning("%s is asked after the other centrals for a while: %s", url, fault)
            self._avoided[url] = now + _AVOIDED_SECONDS

    def _ask(self, url: str) -> _Answer:
        try:
            credentials = read_credentials(self._settings)
        except ConfigError as error:
            raise CentralError(str(error)) from error
        headers = {
            "Accept-Encoding": "gzip",
            "Connection": "close",  # until the next list, the central has better use for a thread
            "User-Agent": f"fping-exporter/{__version__}",
            **credentials.headers,
        }
        if self._held:
            headers["If-None-Match"] = self._held.etag
        asked_at = time.monotonic()
        answer = get(
            f"{url.rstrip('/')}{_PATH}?{self._query}",
            headers=headers,
            context=credentials.context,
            seconds=self._seconds,
            max_bytes=_MAX_COMPRESSED_BYTES,
        )
        self._observe("central", answer.status)
        if answer.status not in {_OK, _NOT_MODIFIED}:
            raise CentralError(f"HTTP {answer.status}: {_one_line(answer.body)}")
        age, interval = _number(_AGE, answer, "Age"), _number(_MAX_AGE, answer, "Cache-Control")
        if age is None or interval is None:
            raise CentralError("its answer does not say how old the list is, or when the next one comes")
        began = asked_at - age
        return _Answer(self._read(answer, began), began + interval, late=age > 2 * interval)

    def _read(self, answer: Answer, began: float) -> _Held:
        """Return the list that an answer has, or says to be unchanged."""
        if answer.status == _NOT_MODIFIED:
            if self._held is None:
                raise CentralError("HTTP 304, but no list is here")
            return self._held._replace(began=max(began, self._held.began))
        document = decode(_unpack(answer))
        inventory = Inventory(
            instances=document.instances,
            projects=document.projects,
            hypervisors=document.hypervisors,
            topology=document.topology,
            parts=document.parts,
            listed_at=0,
            duration=0,
        )
        return _Held(inventory, answer.headers.get("ETag", ""), began, document.cloud, document.region)


_AGE = re.compile(r"([0-9]{1,9})", re.ASCII)
_MAX_AGE = re.compile(r"(?:.*,)? *max-age=([0-9]{1,9})(?: *,.*)?", re.ASCII)


def _number(pattern: re.Pattern[str], answer: Answer, name: str) -> int | None:
    found = pattern.fullmatch(answer.headers.get(name, ""))
    return int(found[1]) if found else None


def _unpack(answer: Answer) -> bytes:
    """Return the body of an answer, uncompressed; raise CentralError if it is damaged or too large."""
    if answer.headers.get("Content-Encoding", "") != "gzip":
        return answer.body
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = unpacker.decompress(answer.body, _MAX_BYTES)
    except zlib.error as error:
        raise CentralError(f"its answer is damaged ({error})") from error
    if unpacker.unconsumed_tail:
        raise CentralError(f"its list is larger than {_MAX_BYTES >> 20} MiB")
    if not unpacker.eof:
        raise CentralError("its answer is damaged (it ends early)")
    return body


def _one_line(body: bytes) -> str:
    """Return the text of an error's body, on one line of sensible length."""
    text = " ".join(body[:1000].decode("utf-8", "replace").split())
    return "".join(char for char in text if char.isprintable())[:300] or "no reason given"
