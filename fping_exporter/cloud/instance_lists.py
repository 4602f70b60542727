"""The instances of Nova: all of them, or those that are known, with what changed since the last list."""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fping_exporter.cloud.changes import MAX_GAP_SECONDS, OVERLAP_SECONDS, Mark, join, merge_changes
from fping_exporter.cloud.memory import Memory
from fping_exporter.cloud.pages import Get
from fping_exporter.cloud.servers import Servers, keep_unreadable_servers, read_servers
from fping_exporter.cloud.session import Client
from fping_exporter.errors import BadRequestError, CloudError, ForbiddenError, ListingError, NotFoundError
from fping_exporter.model import Instance

__all__ = ["InstanceLists", "ListedInstances"]

logger = logging.getLogger(__name__)


class ListedInstances(NamedTuple):
    """The instances by id, and how they came to be known."""

    by_id: Mapping[str, Instance]
    servers: Servers
    """What Nova answered."""
    changed: frozenset[str] | None
    """The ids of those that may be other ones than before, or gone; None: all may be, as all were listed."""
    told: frozenset[str] | None = None
    """The ids of those that changed between the last list and this one; None: nobody asked."""


class _Answer(NamedTuple):
    """What Nova answers to one question."""

    servers: Servers
    mark: Mark | None


class InstanceLists:
    """Asks Nova for all instances that some filters leave, or for what changed of these."""

    def __init__(
        self,
        compute: Client,
        filters: Iterable[Mapping[str, str]],
        *,
        microversion: str | None,
        memory: Memory,
    ) -> None:
        """Prepare to read a list for each of `filters`; nothing is sent yet."""
        self._compute = compute
        self._filters = [dict(each) for each in filters]
        self._microversion = microversion
        self._memory = memory
        self._question = tuple(tuple(sorted(each.items())) for each in self._filters), microversion

    def read(self, *, full: bool) -> ListedInstances:
        """Return all instances if `full`, or if Nova's changes do not continue the last list.

        Raises CloudError if neither can be had.
        """
        mark = self._memory.mark
        if not full and mark and self._continues(mark):
            try:
                answer = self._ask(mark)
                if answer.mark and answer.mark.date >= mark.since:
                    return self._merge(answer)
                reason = f"its clock went back more than {OVERLAP_SECONDS} s, or it does not tell the time"
            except (BadRequestError, ListingError, NotFoundError) as error:
                reason = str(error)
            logger.warning("Nova does not tell what changed, and is asked for all instances: %s", reason)
        return self._read_all()

    def _continues(self, mark: Mark) -> bool:
        return mark.question == self._question and time.monotonic() - mark.asked_at < MAX_GAP_SECONDS

    def _merge(self, answer: _Answer) -> ListedInstances:
        memory, servers = self._memory, answer.servers
        instances = merge_changes(memory.instances, servers)
        memory.mark, memory.merged = answer.mark, True
        memory.unreadable_servers = memory.unreadable_servers.after(servers, full=False)
        unreadable = (each.known_id or "" for each in servers.unreadable)
        return ListedInstances(
            instances, servers, changed=frozenset({*servers.instances, *servers.gone, *unreadable})
        )

    def _read_all(self) -> ListedInstances:
        memory, before = self._memory, self._memory.mark
        began = time.monotonic()
        servers, mark = self._ask()
        told = None
        if memory.merged and before and self._continues(before):
            told = self._changed_since(before)
        instances = keep_unreadable_servers(
            servers.instances, known=memory.instances, unreadable=servers.unreadable
        )
        memory.full_list_at, memory.mark, memory.merged = began, mark, False
        memory.unreadable_servers = memory.unreadable_servers.after(servers, full=True)
        return ListedInstances(instances, servers, changed=None, told=told)

    def _changed_since(self, mark: Mark) -> frozenset[str] | None:
        """Return the ids of what changed by now; None if Nova does not tell."""
        try:
            servers = self._ask(mark).servers
        except CloudError as error:
            logger.debug("what changed before the full list is not known: %s", error)
            return None
        return servers.gone | servers.instances.keys()

    def _ask(self, since: Mark | None = None) -> _Answer:
        """Ask for all instances, or for what changed `since` then."""
        asked_at = time.monotonic()
        dates: list[float | None] = []

        def get(params: Mapping[str, str]) -> bytes:
            answer = self._compute.get_answer(
                "/servers/detail", params=params, microversion=self._microversion
            )
            dates.append(answer.date)
            return answer.body

        servers = join([self._read(get, filters, since) for filters in self._filters])
        if dates[0] is None:
            return _Answer(servers, None)
        page_size = since.page_size if since else servers.page_size
        return _Answer(servers, Mark(asked_at, dates[0], self._question, page_size))

    def _read(self, get: Get, filters: Mapping[str, str], since: Mark | None) -> Servers:
        try:
            if since is None:
                return read_servers(get, filters, known=self._memory.instances)
            return read_servers(get, filters, changes_since=since.since, page_size=since.page_size)
        except ForbiddenError as error:
            if "all_tenants" not in filters:
                raise
            raise ForbiddenError(
                "all_projects: true needs the right os_compute_api:servers:detail:get_all_tenants, which "
                f"Nova grants to admins; without it, set all_projects: false ({error})"
            ) from error
