"""Several exporters divide the instances of a cloud among themselves."""

import contextlib
import importlib
import logging
import math
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, urlsplit, urlunsplit

import msgspec

from fping_exporter import config
from fping_exporter.errors import ConfigError, ResourceError
from fping_exporter.fleet.secret_files import read_secret
from fping_exporter.model import Instance, Inventory
from fping_exporter.single_flight import start_daemon_thread
from fping_exporter.text import printable

if TYPE_CHECKING:
    from tooz.hashring import HashRing

    from fping_exporter.fleet.group import Group

__all__ = ["Observer", "Share"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
"""Between two looks at who the members are; each look is a heartbeat as well."""
_LEASE_SECONDS = 25
"""After which a member that is silent is none any more: the others know it, and have swept, within 30 s. It
outlives three requests in a row that the coordinator does not answer."""
_REQUEST_SECONDS = 5
"""How long the coordinator has to answer."""
_GRACE_LEASES = 5
"""How many leases a member goes on with what has become another's: until that one has been scraped."""


class Observer(Protocol):
    """Who is told how the sharing goes. The telemetry is."""

    def observe_share(self, *, members: int, answered_at: float) -> None:
        """Record how many members there are, this one included, and when the coordinator last said so.

        That is by the monotonic clock, in seconds; -inf: it never has.
        """
        ...

    def observe_own_share(self, instances: int) -> None:
        """Record how many instances are this member's."""
        ...


class Share:
    """This exporter's part of the instances.

    The hypervisor decides to whom an instance belongs, or its project where hypervisors are hidden: a member
    then asks few hosts, and a member that is gone leaves its hosts to all others. Who is a member is what the
    coordinator says. While that does not answer, the last members count.

    What has become another member's goes on being asked for two minutes, so that for a while two members ask,
    but never none: after a change of members, and after the move of an instance to another hypervisor, which
    the other member may not have listed yet. A member that has not heard of any other asks all.

    An exporter that has nothing to say is no member. It joins once it has swept the part that will be its
    own, and leaves that to the others while what it knows is too old to be exported.
    """

    def __init__(
        self,
        settings: config.Share,
        *,
        observer: Observer,
        exports: Callable[[], bool],
        poll: float = _POLL_SECONDS,
        grace: float | None = None,
    ) -> None:
        """Prepare; nothing is sent yet. Raises ConfigError without tooz, or for an unreadable password file.

        `exports` tells whether this exporter has verdicts that are young enough to be exported. `poll` is the
        time between two looks at the members, and `grace` that for which this one goes on with what has
        become another's (None: five leases), both in seconds.
        """
        self.settings = settings
        self._member = f"{socket.gethostname()}/{secrets.token_hex(4)}".encode()
        self._observer = observer
        self._exports = exports
        self._poll = poll
        self._grace = _GRACE_LEASES * _lease(settings.url) if grace is None else grace
        self._url = _url(settings)
        self._ring: HashRing | None = None
        """Of the newest members; None: they have never been known."""
        self._asked: dict[str, float] = {}
        """Until when each instance is asked, whoever's it is, by its id; by the monotonic clock."""
        self._members: frozenset[bytes] = frozenset()
        self._up: bool | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._tooz = _import_tooz(settings.url)

    def is_of(self, settings: config.Share) -> bool:
        """Return whether it was made of the same settings, and of the password that their file has now."""
        return self.settings == settings and self._url == _url(settings)

    def start(self) -> None:
        """Look for the others from now on, and join them in time; without a thread, share with nobody."""
        self._observer.observe_share(members=1, answered_at=-math.inf)
        try:
            self._thread = start_daemon_thread(self._run, name="share")
        except ResourceError as error:
            logger.warning("nothing is shared, and all instances are pinged: %s", error)

    def leave(self) -> None:
        """Leave the others, who take over at once; it is given up after five seconds."""
        self._stop.set()
        if self._thread:
            self._thread.join(_REQUEST_SECONDS)

    def part(self, inventory: Inventory) -> Inventory:
        """Return the inventory with this member's instances only, and with what was until lately."""
        if (ring := self._ring) is not None:
            now = time.monotonic()
            own: dict[str, bool] = {}
            mine = [each.id for each in inventory.instances if self._is_own(each, ring, own)]
            asked = {id_: until for id_, until in self._asked.items() if now < until}
            asked.update(dict.fromkeys(mine, now + self._grace))
            self._asked = asked
            instances = tuple(each for each in inventory.instances if each.id in asked)
            inventory = msgspec.structs.replace(inventory, instances=instances)
        self._observer.observe_own_share(len(inventory.instances))
        return inventory

    def _is_own(self, instance: Instance, ring: "HashRing", own: dict[str, bool]) -> bool:
        key = f"h/{instance.hypervisor}" if instance.hypervisor else f"p/{instance.project_id}"
        if key not in own:
            own[key] = self._member in ring.get_nodes(key.encode(), replicas=self.settings.replicas)
        return own[key]

    def _run(self) -> None:
        group: Group | None = None
        while True:
            try:
                group = group or self._tooz.Group(
                    self._url, name=self.settings.group, member=self._member, timeout=_REQUEST_SECONDS
                )
                self._observe(group.members(joined=self._exports()))
            except Exception as error:  # noqa: BLE001, each driver lets errors of its own client through
                self._report(error)
            else:
                self._report(None)
            if self._stop.wait(self._poll):
                break
        if group:
            with contextlib.suppress(Exception):  # the lease ends it otherwise
                group.close()

    def _observe(self, members: frozenset[bytes]) -> None:
        if members == self._members:
            return
        self._ring = self._tooz.make_ring(members)
        self._members = members
        names = ", ".join(sorted(printable(member.decode(errors="replace")) for member in members))
        logger.info("%d members share the instances: %s", len(members), names)

    def _report(self, error: Exception | None) -> None:
        """Record whether the coordinator has answered, and log it when that changes."""
        if error and self._up is not False:
            logger.warning(
                "the coordinator %s does not answer, %s: %s",
                self.settings.url,
                "the last members count" if self._members else "all instances are pinged",
                printable(str(error))[:200],
            )
        elif not error and self._up is False:
            logger.info("the coordinator %s answers", self.settings.url)
        self._up = error is None
        if self._up:
            self._observer.observe_share(members=len(self._members), answered_at=time.monotonic())


def _url(settings: config.Share) -> str:
    """Return the URL for tooz: with the password, and with a lease and a deadline unless it names its own."""
    url = urlsplit(settings.url)
    given = {item.partition("=")[0] for item in url.query.split("&")}
    defaults = {"timeout": _REQUEST_SECONDS, "membership_timeout": _LEASE_SECONDS}
    added = [f"{name}={value}" for name, value in defaults.items() if name not in given]
    query = "&".join([*([url.query] if url.query else []), *added])
    netloc = url.netloc
    if settings.password_file:
        netloc = f":{_read_password(settings.password_file)}@{netloc}"
    return urlunsplit(url._replace(netloc=netloc, query=query))


def _lease(url: str) -> int:
    """Return the seconds after which a member that is silent is none any more, as a URL has it.

    Raises ConfigError if it is no whole number: some drivers of tooz take no other, and none takes 0.
    """
    options = parse_qs(urlsplit(url).query, keep_blank_values=True)
    given = options.get("membership_timeout", [str(_LEASE_SECONDS)])[-1]
    if not re.fullmatch(r"0*[1-9][0-9]{0,5}", given, re.ASCII):
        raise ConfigError(f"share.url: membership_timeout: expected whole seconds above 0, got {given!r:.40}")
    return int(given)


def _read_password(path: str) -> str:
    password = read_secret("share.password_file", path)
    if set(password) & set("/?#@[] ") or not _fits_url(password):
        raise ConfigError(f"share.password_file: {path}: expected a password without spaces and / ? # @ [ ]")
    return password


def _fits_url(password: str) -> bool:
    """Return whether tooz finds the password in a URL: its error would name the password, and be logged."""
    try:
        return urlsplit(f"redis://:{password}@redis").password == password
    except ValueError:  # a character that stands for others, one of which ends the password
        return False


def _import_tooz(url: str) -> ModuleType:
    """Return the module that imports tooz; raises ConfigError if that or its client is not installed."""
    scheme = urlsplit(url).scheme
    client = {"redis": "redis", "zookeeper": "kazoo", "file": "tooz"}.get(scheme, "etcd3gw")
    try:
        importlib.import_module(client)
        return importlib.import_module("fping_exporter.fleet.group")
    except ImportError as error:
        raise ConfigError(f"share: {error.name} is not installed; install fping-exporter[share]") from None
