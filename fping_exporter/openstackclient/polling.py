"""Waiting for servers by asking os-fping again and again."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from fping_exporter.openstackclient.client import OsFpingError

__all__ = ["Ended", "poll"]

_PAUSES_SECONDS = (10.0, 20.0, 30.0)
"""Between requests; the last one repeats. In the default time of five minutes that makes twelve requests, as
many as os-fping's default limit allows in an hour."""
_TOO_MANY_REQUESTS = 429
_MAX_REASONS = 10
"""Servers that os-fping is asked about one by one, why it knows nothing of them."""
_REASONS_SECONDS = 30.0
"""After which no further one is asked about: the time of the wait is up."""


class Api(Protocol):
    """What is asked."""

    def list_servers(self, *, all_projects: bool, include: Sequence[str]) -> Mapping[str, bool]:
        """Return whether each server is alive, by id."""
        ...

    def show_server(self, server_id: str) -> bool:
        """Return whether a server is alive."""
        ...


class Ended(NamedTuple):
    """A server that is not waited for any more."""

    id: str
    is_done: bool
    """Whether it is as was waited for; else the time was up."""
    alive: bool | None
    """None if that is not known."""
    seconds: float
    """From the beginning of the wait."""
    why: str = ""
    """Why it is not known whether it is alive."""


def poll(
    api: Api,
    ids: Sequence[str],
    *,
    all_projects: bool,
    down: bool,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Ended]:
    """Yield each server as soon as it is alive, or not alive with `down`; after `timeout` seconds, the rest.

    A limit of requests is kept to, and what may pass is asked again. Raises OsFpingError for what does not.
    """
    began = clock()
    waiting = list(dict.fromkeys(ids))
    for pause in itertools.chain(_PAUSES_SECONDS, itertools.repeat(_PAUSES_SECONDS[-1])):
        alive, why, retry_after = _ask(api, waiting, all_projects=all_projects)
        for id_ in [id_ for id_ in waiting if id_ in alive and alive[id_] is not down]:
            waiting.remove(id_)
            yield Ended(id_, is_done=True, alive=alive[id_], seconds=clock() - began)
        left = began + timeout - clock()
        if not waiting or left <= retry_after:
            break
        sleep(max(min(pause, left), retry_after))
    unknown = [id_ for id_ in waiting if id_ not in alive]
    reasons: dict[str, str] = {}
    end = clock() + _REASONS_SECONDS
    for id_ in unknown[:_MAX_REASONS]:
        if why or clock() >= end:
            break
        reasons[id_] = _ask_why(api, id_)
    for id_ in waiting:
        seconds = clock() - began
        yield Ended(id_, is_done=False, alive=alive.get(id_), seconds=seconds, why=reasons.get(id_, why))


def _ask(api: Api, ids: Sequence[str], *, all_projects: bool) -> tuple[Mapping[str, bool], str, float]:
    """Return which servers are alive, or why that is not known and for how many seconds at least."""
    try:
        return api.list_servers(all_projects=all_projects, include=ids), "", 0
    except OsFpingError as error:
        if not error.may_pass:
            raise
        return {}, str(error), error.retry_after or 0


def _ask_why(api: Api, id_: str) -> str:
    """Return why os-fping does not know whether a server is alive; empty if it does not tell."""
    try:
        api.show_server(id_)
    except OsFpingError as error:
        if error.status != _TOO_MANY_REQUESTS:
            return str(error)
    return ""
