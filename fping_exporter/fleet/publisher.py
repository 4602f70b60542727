"""A central's answers to its agents, from memory: encoded and compressed once for each choice and change."""

import gzip
import hashlib
import threading
from collections.abc import Iterable
from functools import cached_property
from itertools import chain
from sys import getsizeof
from typing import NamedTuple

from cachetools import LRUCache

from fping_exporter.fleet.inventory_part import cut
from fping_exporter.fleet.wire import encode
from fping_exporter.hosts import Hosts
from fping_exporter.model import Instance, Inventory

__all__ = ["Choice", "Published", "Publisher", "UnknownChoiceError"]

_MAX_BYTES = 128 << 20
"""Of all compressed answers, and of the choices that they answer. 20,000 instances on 1,000 hosts take some
10 MB."""
_ENTRY_BYTES = 1000
"""Of the objects around an answer, roughly."""


class UnknownChoiceError(LookupError):
    """The cloud has no such host or network, or does not tell who is there. The message is one line."""


class Choice(NamedTuple):
    """The instances that an agent asks for: those on these hosts, or those with a port in these networks."""

    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class Published(NamedTuple):
    """An answer."""

    digest: str
    """Of the document. The same list has the same one at every central."""
    compressed: bytes
    """By gzip."""


class _Made(NamedTuple):
    """An answer that is held."""

    number: int
    """Of the list that it was last made of."""
    published: Published
    size: int
    """In bytes. The names of a choice may take more than its answer, and are the agent's to choose."""


class Publisher:
    """Holds the answers for the newest list.

    An answer is made when an agent asks for it, and again when there is a newer list; it is compressed only
    if it differs then.
    """

    def __init__(self, *, max_bytes: int = _MAX_BYTES) -> None:
        """Begin without any; `max_bytes` bounds the memory of all."""
        self._lock = threading.Lock()
        self._index: _Index | None = None
        self._lists = 0
        """How many lists there have been: an answer knows its list by this number, and does not keep it
        alive."""
        self._made: LRUCache[Choice, _Made] = LRUCache(max_bytes, getsizeof=lambda made: made.size)

    def publish(
        self, choice: Choice, *, complete: Inventory, selected: Inventory, cloud: str, region: str
    ) -> Published:
        """Return the answer to `choice`, of the list `selected`; `complete` is the list before the selection.

        Hosts are in Nova's notation, as :meth:`nova_host` returns them. `cloud` and `region` are for the
        agent's pages. Raises UnknownChoiceError if there is no such network.
        """
        with self._lock:  # one after the other: they would share one processor anyway
            index = self._index_of(complete, selected)
            made = self._made.get(choice)
            if made and made.number == self._lists:
                return made.published
            part = cut(selected, index.find(choice), hosts=choice.hosts)
            document = encode(part, cloud=cloud, region=region)
            digest = hashlib.blake2b(document, digest_size=16).hexdigest()
            published = (
                made.published
                if made and made.published.digest == digest
                else Published(digest, gzip.compress(document, compresslevel=5, mtime=0))
            )
            self._made.pop(choice, None)
            size = len(published.compressed) + sum(map(getsizeof, chain(*choice))) + _ENTRY_BYTES
            if size <= self._made.maxsize:
                self._made[choice] = _Made(self._lists, published, size)
            return published

    def nova_host(self, name: str, *, complete: Inventory, selected: Inventory) -> str:
        """Return Nova's name for the host `name`; either may lack the domain.

        Raises UnknownChoiceError if Nova has no such host, or does not tell the hosts of instances. If its
        hosts are not known, `name` is taken for one.
        """
        with self._lock:
            return self._index_of(complete, selected).nova_host(name)

    def _index_of(self, complete: Inventory, selected: Inventory) -> "_Index":
        if self._index is None or self._index.selected is not selected:
            self._index = _Index(complete, selected)
            self._lists += 1
        return self._index


class _Index:
    """The instances of one list, by host and by network."""

    def __init__(self, complete: Inventory, selected: Inventory) -> None:
        self.selected = selected
        self._hosts_are_known = bool(complete.hypervisors)
        self._hosts_are_hidden = any(instance.active for instance in complete.instances) and not any(
            instance.host for instance in complete.instances
        )
        names = {instance.host for instance in complete.instances}
        names |= {hypervisor.host or hypervisor.name for hypervisor in complete.hypervisors}
        names.discard("")
        self._names = Hosts({name: name for name in names})
        self._by_host: dict[str, list[Instance]] = {}
        for instance in selected.instances:
            self._by_host.setdefault(instance.host, []).append(instance)

    def nova_host(self, name: str) -> str:
        if self._hosts_are_hidden:  # an empty list would tell the agent that nobody is there
            raise UnknownChoiceError(
                "Nova does not tell this central on which hosts the instances are: its role lacks "
                "os_compute_api:os-extended-server-attributes"
            )
        found = self._names.find(name, default="")
        if found or not self._hosts_are_known:
            return found or name
        raise UnknownChoiceError(f'Nova has no host "{name}", or several of that short name')

    def find(self, choice: Choice) -> list[Instance]:
        if choice.networks:
            return self._in_networks(choice.networks)
        return [instance for host in choice.hosts for instance in self._by_host.get(host, ())]

    def _in_networks(self, names: Iterable[str]) -> list[Instance]:
        """Return the instances with a port, or an address of Nova's, in any of these networks."""
        chosen: dict[str, Instance] = {}
        for name in names:
            found = self._by_network.get(name)
            if found is None and name not in self._networks:
                doubt = "" if self._knows_all_networks else ", as far as Neutron tells: its list has gaps"
                raise UnknownChoiceError(f'the cloud has no network "{name}"{doubt}')
            chosen.update((instance.id, instance) for instance in found or ())
        return list(chosen.values())

    @property
    def _knows_all_networks(self) -> bool:
        topology = self.selected.topology
        return bool(topology.networks) and "networks" not in topology.incomplete

    @cached_property
    def _networks(self) -> set[str]:
        """Names and ids of all networks."""
        networks = self.selected.topology.networks.values()
        return {network.id for network in networks} | {network.name for network in networks}

    @cached_property
    def _by_network(self) -> dict[str, list[Instance]]:
        """By name and id; Nova's names of networks count where Neutron knows no port."""
        topology = self.selected.topology
        found: dict[str, list[Instance]] = {}
        for instance in self.selected.instances:
            ports = topology.ports.get(instance.id)
            names = {port.network_id for port in ports or ()}
            names |= {topology.networks[id_].name for id_ in names if id_ in topology.networks}
            if ports is None:
                names = {address.network for address in instance.addresses}
            for name in names:
                found.setdefault(name, []).append(instance)
        return found
