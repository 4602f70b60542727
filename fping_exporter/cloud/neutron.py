"""What is asked of Neutron: all of its lists, or what changed since the last answer."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from fping_exporter.cloud.changes import OVERLAP_SECONDS
from fping_exporter.cloud.floating_ips import (
    FloatingAddresses,
    find_addresses,
    know_floating_ips,
    merge_floating_ips,
)
from fping_exporter.cloud.last_known import LastKnown
from fping_exporter.cloud.neutron_lists import (
    ADDRESS_GROUPS,
    FLOATING_IPS,
    NETWORKS,
    SECURITY_GROUPS,
    ListedEntries,
    NetworkEntry,
    batches,
    joined,
)
from fping_exporter.cloud.pages import decode
from fping_exporter.cloud.ports import (
    METADATA_PORTS,
    PORTS,
    ROUTER_INTERFACES,
    KnownPorts,
    ListedPort,
    MergedPorts,
    disown_foreign,
    know_ports,
    merge_ports,
)
from fping_exporter.cloud.security_groups import (
    SecurityGroups,
    know_security_groups,
    merge_security_groups,
)
from fping_exporter.cloud.session import Client
from fping_exporter.cloud.unreadable import Skip
from fping_exporter.cloud.unreadable_ports import read_fragments
from fping_exporter.errors import (
    BadRequestError,
    CloudError,
    ForbiddenError,
    ListingError,
    NotFoundError,
)
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Instance, Network

__all__ = ["Neutron", "NeutronParts", "Wanted"]

logger = logging.getLogger(__name__)

_TIMESTAMPS = "standard-attr-timestamp"
"""The extension that knows ``changed_since``."""
_REVISIONS = "standard-attr-revisions"
"""The extension with which a change of a rule is one of its group."""

_LOOKED_UP_AT_ONCE = 100
"""Instances of which the ports are looked up in one refresh, in two requests."""


class NeutronParts(NamedTuple):
    """What Neutron last said. Each part may fail without costing the others."""

    ports: LastKnown[KnownPorts]
    floating_ips: LastKnown[FloatingAddresses]
    security_groups: LastKnown[SecurityGroups]


class Wanted(NamedTuple):
    """What of Neutron's lists is needed, as the configuration decides."""

    host: str | None
    """The host of which the ports are listed; None: all."""
    kinds: Collection[str]
    """The kinds of vantages."""
    networks: bool
    """Whether networks are listed too."""


class Neutron:
    """Refreshes the parts of a listing that Neutron answers."""

    def __init__(
        self,
        network: Client,
        parts: NeutronParts,
        wanted: Wanted,
        *,
        skip: Callable[[str], Skip],
        log_limit: LogLimit,
    ) -> None:
        """Prepare; nothing is sent yet. `skip` returns what gets the unreadable entries of a part."""
        self._network = network
        self._parts = parts
        self._wanted = wanted
        self._skip = skip
        self._log_limit = log_limit
        self._merged: MergedPorts | None = None
        """The ports with what changed; None where all were listed."""
        self._looked_up: frozenset[str] = frozenset()
        """Ids of the instances of which the ports were looked up."""

    def refresh(self, instances: Mapping[str, Instance], *, full: bool, silent: Collection[str] = ()) -> None:
        """Ask for what changed since the last answers, or for all lists.

        All are asked for with `full`, after a list that failed, for one host, and where Neutron cannot tell
        what changed. It never tells which ports were deleted. So those of the `instances` that fell `silent`
        are looked up once, and those whose address another port has by now.
        """
        ports, floating_ips, security_groups = self._parts
        if not ports.refresh(lambda: self._refresh_ports(instances, full=full, silent=frozenset(silent))):
            floating_ips.fail()
            security_groups.fail()
            return
        merged, extensions = self._merged, ports.value.extensions or ()
        floating_ips.refresh(
            self._list_floating_ips
            if merged is None or not floating_ips.succeeded or floating_ips.value.date is None
            else self._merge_floating_ips
        )
        security_groups.refresh(
            self._list_security_groups
            if merged is None
            or _REVISIONS not in extensions
            or not security_groups.succeeded
            or security_groups.value.date is None
            else lambda: self._merge_security_groups(merged)
        )

    def _refresh_ports(
        self, instances: Mapping[str, Instance], *, full: bool, silent: frozenset[str]
    ) -> KnownPorts:
        ports = self._parts.ports
        known, extensions = ports.value, ports.value.extensions
        if self._wanted.host is not None:
            extensions = frozenset()
        elif full or extensions is None:
            extensions = self._list_extensions()
        elif ports.succeeded and known.date is not None and _TIMESTAMPS in extensions:
            try:
                if merged := self._merge_ports(known, instances, silent):
                    return merged
            except BadRequestError as error:
                extensions = frozenset()
                if self._log_limit.allows("changed_since"):
                    logger.info(
                        "Neutron's lists are read whole each time, as it does not tell what changed: "
                        "it refuses changed_since, as its filter_validation does by default (%s)",
                        error,
                    )
        return msgspec.structs.replace(self._list_ports(instances), extensions=extensions, confirmed=silent)

    def _list_extensions(self) -> frozenset[str] | None:
        """Return the aliases of Neutron's extensions; None if it does not answer."""
        try:
            body = self._network.get("/extensions?fields=alias")
            return frozenset(each.alias for each in decode(body, _Extensions).extensions)
        except (BadRequestError, ForbiddenError, ListingError, NotFoundError):
            return frozenset()
        except CloudError:  # the lists are asked for all the same, and their errors are logged
            return None

    def _list_ports(self, instances: Mapping[str, Instance]) -> KnownPorts:
        """Return the ports of all instances, or of those on one host, and what else vantages need.

        For one host, whatever port has an address of its `instances` is looked up for ``local``, from where
        other hosts' guests may be reached at the same ones.
        """
        network, (host, kinds, networks) = self._network, self._wanted
        listed = PORTS.read(network, {} if host is None else {"binding:host_id": host})
        others: ListedEntries[ListedPort] = ListedEntries([], [])
        if host is not None:
            others = joined(self._list_other_ports(listed.entries, kinds, instances.values()))
        listed_networks = NETWORKS.read(network) if networks else ListedEntries([], [])
        for each in (listed, others, listed_networks):
            self._skip("ports")(each.unreadable)
        return know_ports(
            disown_foreign(listed.entries, instances),
            others=disown_foreign(others.entries, instances),
            unreadable=[read_fragments(each.entry) for each in (*listed.unreadable, *others.unreadable)],
            networks=_networks(listed_networks.entries),
            incomplete=["networks"] if listed_networks.unreadable else [],
            complete=host is None,
            date=listed.date,
        )

    def _list_other_ports(
        self, ports: Iterable[ListedPort], kinds: Collection[str], instances: Iterable[Instance]
    ) -> Iterator[ListedEntries[ListedPort]]:
        """Yield lists of ports that are not the host's, but tell what vantages of these kinds reach."""
        if not {"qrouter", "snat"}.isdisjoint(kinds):
            for owner in ROUTER_INTERFACES:
                yield PORTS.read(self._network, {"device_owner": owner})
        if "ovnmeta" in kinds:
            there = sorted({port.value.network_id for port in ports})
            for batch in batches(there):
                yield PORTS.read(self._network, {"device_owner": METADATA_PORTS, "network_id": batch})
        if "local" in kinds:
            addresses = {each.ip for instance in instances for each in instance.addresses}
            yield PORTS.read_by(self._network, "fixed_ips", [f"ip_address={ip}" for ip in sorted(addresses)])

    def _merge_ports(
        self,
        known: KnownPorts,
        instances: Mapping[str, Instance],
        silent: frozenset[str],
    ) -> KnownPorts | None:
        """Return the ports with those that changed, and those of instances that are looked up.

        None where Neutron's clock went back: then nobody knows what was asked for.
        """
        changed = PORTS.read(self._network, changed_since=_since(known.date))
        if not _continues(changed, known.date):
            return None
        self._skip("ports")(changed.unreadable)
        merged = merge_ports(
            known,
            disown_foreign(changed.entries, instances),
            unreadable=[read_fragments(each.entry) for each in changed.unreadable],
            date=changed.date,
        )
        doubtful = [*sorted(merged.known.lost & instances.keys()), *sorted(silent - known.confirmed)]
        self._looked_up = frozenset(doubtful[:_LOOKED_UP_AT_ONCE])
        if self._looked_up:
            found = PORTS.read_by(self._network, "device_id", sorted(self._looked_up))
            self._skip("ports")(found.unreadable)
            after = merge_ports(
                merged.known,
                disown_foreign(found.entries, instances),
                unreadable=[read_fragments(each.entry) for each in found.unreadable],
                looked_up=self._looked_up,
                date=changed.date,
            )
            merged = MergedPorts(
                after.known, [*merged.changed, *after.changed], [*merged.unreadable, *after.unreadable]
            )
        self._merged = merged
        return self._with_new_networks(
            msgspec.structs.replace(merged.known, confirmed=(known.confirmed | self._looked_up) & silent),
            merged.changed,
        )

    def _with_new_networks(self, known: KnownPorts, changed: Iterable[ListedPort]) -> KnownPorts:
        """Return the ports with the networks of those that `changed`, as far as networks are needed.

        All are listed if none is known: the configuration before needed none.
        """
        if not self._wanted.networks:
            return known
        topology = known.topology
        if topology.networks:
            new = sorted({port.value.network_id for port in changed} - topology.networks.keys())
            found = NETWORKS.read_by(self._network, "id", new)
        else:
            found = NETWORKS.read(self._network)
        self._skip("ports")(found.unreadable)
        return msgspec.structs.replace(
            known,
            topology=msgspec.structs.replace(
                topology,
                networks={**topology.networks, **_networks(found.entries)},
                incomplete=topology.incomplete | (frozenset(["networks"] if found.unreadable else [])),
            ),
        )

    def _list_floating_ips(self) -> FloatingAddresses:
        listed = FLOATING_IPS.read(self._network)
        self._skip("floating_ips")(listed.unreadable)
        return know_floating_ips(self._parts.ports.value, listed.entries, listed.unreadable, date=listed.date)

    def _merge_floating_ips(self) -> FloatingAddresses:
        known = self._parts.floating_ips.value
        changed = FLOATING_IPS.read(self._network, changed_since=_since(known.date))
        if not _continues(changed, known.date):
            return self._list_floating_ips()
        doubtful = find_addresses(known, self._parts.ports.value, self._looked_up)
        looked_up = FLOATING_IPS.read_by(self._network, "floating_ip_address", sorted(doubtful))
        both = joined([changed, looked_up])
        self._skip("floating_ips")(both.unreadable)
        return merge_floating_ips(
            known,
            self._parts.ports.value,
            both.entries,
            both.unreadable,
            looked_up=doubtful,
            date=changed.date,
        )

    def _list_security_groups(self) -> SecurityGroups:
        """Return what the security groups let in, as far as they can be read."""
        ports = self._parts.ports.value
        if ports.complete:
            groups = SECURITY_GROUPS.read(self._network)
        else:
            wanted = {group for port in ports.by_id.values() for group in port.security_groups or ()}
            groups = SECURITY_GROUPS.read_by(self._network, "id", sorted(wanted))
        self._skip("security_groups")(groups.unreadable)
        return self._with_address_groups(know_security_groups(ports, groups.entries, date=groups.date))

    def _merge_security_groups(self, ports: MergedPorts) -> SecurityGroups:
        known = self._parts.security_groups.value
        changed = SECURITY_GROUPS.read(self._network, changed_since=_since(known.date))
        if not _continues(changed, known.date):
            return self._list_security_groups()
        self._skip("security_groups")(changed.unreadable)
        return self._with_address_groups(
            merge_security_groups(known, ports, changed.entries, changed.unreadable, date=changed.date)
        )

    def _with_address_groups(self, groups: SecurityGroups) -> SecurityGroups:
        """Return the groups with the address groups that rules name, if any does.

        They are listed whole each time: Neutron refuses ``changed_since`` for them.
        """
        if not groups.names_address_groups:
            return groups
        listed = ADDRESS_GROUPS.read(self._network)
        self._skip("security_groups")(listed.unreadable)
        return msgspec.structs.replace(
            groups, address_groups={group.id: tuple(group.addresses) for group in listed.entries}
        )


def _since(date: float | None) -> float | None:
    return None if date is None else date - OVERLAP_SECONDS


def _continues(changed: ListedEntries[Any], date: float | None) -> bool:
    """Whether what `changed` follows on the answer of that `date`: the clock has not gone back meanwhile."""
    return changed.date is None or date is None or changed.date >= date - OVERLAP_SECONDS


def _networks(entries: Iterable[NetworkEntry]) -> dict[str, Network]:
    return {each.id: Network(each.id, each.name, each.external, each.shared) for each in entries}


class _Extension(msgspec.Struct):
    alias: str


class _Extensions(msgspec.Struct):
    extensions: list[_Extension]
