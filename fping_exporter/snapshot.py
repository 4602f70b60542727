"""One sweep of an inventory: plan, ping, ask the silent at layer 2, judge, from where this host stands."""

import logging
from collections.abc import Collection, Mapping

import msgspec

from fping_exporter import config
from fping_exporter.errors import ProbeError
from fping_exporter.hosts import own_host
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Instance, Inventory, Layer2Sweep, Snapshot, Topology
from fping_exporter.probe import Layer2Witness, Prober
from fping_exporter.probe.loopback import LoopbackLayer2, LoopbackProber
from fping_exporter.probe.neighbour_table import count_overflows, size_limit
from fping_exporter.probe.vantage import source_addresses, survey
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.layer2 import Layer2Plan, deaf_places, plan_layer2, without_silence
from fping_exporter.verdict.plan import Plan, plan

__all__ = ["plan_from_here", "take_snapshot"]

logger = logging.getLogger(__name__)

_log_limit = LogLimit(interval=24 * 3600)


def take_snapshot(
    inventory: Inventory,
    *,
    prober: Prober,
    layer2: Layer2Witness | None = None,
    probe: config.Probe,
    host: str | None = None,
    last_replies: Mapping[str, float] = {},
) -> Snapshot:
    """Ping all instances of the inventory once; raises ProbeError where nothing can be asked.

    Those that are silent are asked by `layer2` then. `host` is the one whose instances alone are in the
    inventory, ``self`` for this one; None: those of all hosts are. `last_replies` are the Unix times at which
    instances last answered before, by id.
    """
    if inventory.topology.loopback:
        prober, layer2 = LoopbackProber(prober), LoopbackLayer2(layer2) if layer2 else None
    errors = InstanceErrors()
    targets = plan_from_here(inventory.instances, inventory.topology, probe=probe, host=host, errors=errors)
    before = count_overflows()
    distinct = {each.target for asked in targets.values() for each in asked if each.target}
    try:
        sweep = prober.probe(distinct)
    except ProbeError as error:
        error.vantages = frozenset(target.vantage for target in distinct)
        raise
    if overflows := count_overflows() - before:
        logger.warning(
            "the kernel's neighbour table was full %d times during the sweep: raise "
            "net.ipv4.neigh.default.gc_thresh3 (now %s), and net.ipv6's, to more than the addresses pinged",
            overflows,
            size_limit(),
        )
        sweep = msgspec.structs.replace(sweep, overflows=overflows)
    sweep = msgspec.structs.replace(sweep, ambiguous=_count_ambiguous(targets))
    second = None
    if layer2:
        second = plan_layer2(inventory, targets, sweep.outcomes, errors)
        heard = _ask(layer2, second)
        sweep = msgspec.structs.replace(sweep, layer2=heard, duration=sweep.duration + heard.duration)
    snapshot = judge(
        inventory,
        targets=targets,
        sweep=sweep,
        layer2=second,
        last_replies=last_replies,
        sources=source_addresses,
        errors=errors,
    )
    return msgspec.structs.replace(
        snapshot,
        sweep=msgspec.structs.replace(sweep, failed=len(errors.ids)),
        alone=host is not None or probe.only_local,
        per_address=probe.per_address,
    )


def _ask(layer2: Layer2Witness, chosen: Layer2Plan) -> Layer2Sweep:
    """Ask at layer 2; a bug there costs what it would have told, and not the pings."""
    try:
        heard = layer2.probe(chosen.distinct(), suspects=chosen.suspects)
    except Exception:
        if _log_limit.allows("layer2"):
            logger.exception("asking at layer 2 failed, which is a bug")
        return Layer2Sweep()
    deaf = deaf_places(chosen, heard)
    for vantage, family in sorted(deaf):
        if _log_limit.allows(("deaf", vantage, family)):
            logger.warning(
                "silence at layer 2 says nothing in %s (IPv%d): guests that answer pings do not answer there "
                "either. Port security of this host's own port may drop the questions",
                vantage,
                family,
            )
    return without_silence(heard, deaf) if deaf else heard


def _count_ambiguous(targets: Plan) -> int:
    """Return how many addresses are not asked since an answer could be somebody else's; log an example."""
    ambiguous = {each.address.ip: id_ for id_, probed in targets.items() for each in probed if each.ambiguous}
    ip, id_ = next(iter(ambiguous.items()), ("", ""))
    if ambiguous and _log_limit.allows(ip):
        logger.warning(
            "addresses that may be somebody else's as well are not pinged (%d), such as %s of instance %s: "
            "name the networks that are reached from here in probe.local_networks, ping from Neutron's "
            "namespaces (probe.vantages), or only floating addresses (probe.addresses: floating)",
            len(ambiguous),
            ip,
            id_,
        )
    return len(ambiguous)


def plan_from_here(
    instances: Collection[Instance],
    topology: Topology,
    *,
    probe: config.Probe,
    host: str | None,
    errors: InstanceErrors | None = None,
) -> Plan:
    """Plan from the vantages that this host has now; `host` is as in :func:`take_snapshot`.

    `errors` gets the instances that cannot be planned because of a bug.
    """
    return plan(instances, topology, probe, vantages=survey(probe.kinds), host=own_host(host), errors=errors)
