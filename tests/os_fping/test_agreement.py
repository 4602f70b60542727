"""os-fping and ``instance_alive`` never contradict each other, and nobody is called dead unasked."""

import itertools
import random
from collections.abc import Collection, Mapping
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.errors import NotFoundError
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import NOT_ASKED, Address, Instance, Network, Port, Sweep, Target, Topology
from fping_exporter.os_fping.api import OsFpingApi
from fping_exporter.os_fping.nova_http import Fault
from fping_exporter.os_fping.on_demand import OnDemand
from fping_exporter.os_fping.rate_limit import RateLimits
from fping_exporter.snapshot import take_snapshot
from tests.build import ALIVE, SILENT, UNREACHABLE, address, instance, inventory, sweep
from tests.exposition import metrics as metrics_of
from tests.os_fping.explaining import make_explainer

NETWORKS = {
    "public": Network(id="public", name="public", external=True, shared=True),
    "inside": Network(id="inside", name="inside", external=False, shared=False),
    "twin": Network(id="twin", name="inside", external=False, shared=False),
}
IPS = ("10.0.0.1", "10.0.0.2", "2001:db8::1")
"""Few, so that instances share them."""

ADDRESSES: st.SearchStrategy[Address] = st.builds(
    lambda ip, kind: address(ip, kind=kind),
    st.sampled_from((*IPS, "127.0.0.1", "224.0.0.1")),
    st.sampled_from(("fixed", "fixed", "floating")),
)
INSTANCES = st.builds(
    lambda id_, addresses, status: instance(id_, *addresses, status=status),
    st.sampled_from("abcdef"),
    st.lists(ADDRESSES, max_size=3),
    st.sampled_from(("ACTIVE", "ACTIVE", "SHUTOFF", "BUILD")),
)
LISTS = st.lists(INSTANCES, max_size=6, unique_by=lambda each: each.id)
PORTS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(
        lambda network, ips: (Port(network, "", dict.fromkeys(ips, f"subnet-{network}"), ()),),
        st.sampled_from(sorted(NETWORKS)),
        st.sets(st.sampled_from(IPS), max_size=2),
    ),
)
PROBES = st.builds(
    config.Probe,
    vantages=st.sampled_from([("local",), ("qdhcp", "local"), ("ovnmeta",), "auto"]),
    local_networks=st.sampled_from([None, ("inside",), ("public", "twin")]),
    addresses=st.sampled_from(("all", "fixed", "floating")),
    families=st.sampled_from([(4, 6), (4,), (6,)]),
)


class Erratic:
    """A prober whose outcomes differ from one call to the next."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311, of no secret
        self.asked: set[str] = set()
        """Addresses to which a request really went, and about which something was learned."""

    def probe(self, targets: Collection[Target]) -> Sweep:
        outcomes = {
            target: self.chance.choice((ALIVE, SILENT, UNREACHABLE, NOT_ASKED)) for target in sorted(targets)
        }
        self.asked |= {target.ip for target, outcome in outcomes.items() if outcome.asked}
        return sweep(outcomes)


class Everybody(NamedTuple):
    """A caller, and who lets callers in."""

    servers: Mapping[str, Instance]
    keystone_url: str = ""
    user_id: str = "user"
    project_id: str | None = None

    def authenticate(self, _token: str, *, client: str) -> "Everybody":  # noqa: ARG002, as the protocol has it
        return self

    def max_microversion(self) -> None:
        return None

    def list(self, *, all_tenants: bool) -> Collection[Instance]:  # noqa: ARG002, likewise
        return self.servers.values()

    def find(self, server_id: str) -> Instance:
        if server_id not in self.servers:
            raise NotFoundError
        return self.servers[server_id]


def has_newer_twin(id_: str, servers: Mapping[str, Instance], listed: Collection[Instance]) -> bool:
    """Whether two servers newer than the inventory have one address, which only the list of both can show."""
    newer = servers.keys() - {each.id for each in listed}
    ips = {address.ip for address in servers[id_].addresses}
    twins = newer - {id_}
    return id_ in newer and any(address.ip in ips for twin in twins for address in servers[twin].addresses)


@given(listed=LISTS, seen=LISTS, ports=PORTS, probe=PROBES, seed=st.integers())
def test_os_fping_agrees_with_the_metrics(
    listed: list[Instance],
    seen: list[Instance],
    ports: Mapping[str, tuple[Port, ...]],
    probe: config.Probe,
    seed: int,
) -> None:
    prober = Erratic(seed)
    topology = Topology(ports=ports, networks=NETWORKS)
    snapshot = take_snapshot(inventory(*listed, topology=topology), prober=prober, probe=probe)
    metrics = {
        sample.labels["id"]: bool(sample.value)
        for family in metrics_of(snapshot)
        if family.name == "instance_alive"
        for sample in family.samples
    }
    # The caller sees some of the listed ones, some newer ones, and some whose addresses have changed.
    servers = {each.id: each for each in itertools.chain(seen, listed[::2])}
    caller = Everybody(servers)
    telemetry = Telemetry()
    api = OsFpingApi(
        config.OsFping(auth="none"),
        callers=caller,
        on_demand=OnDemand(config.Config(probe=probe), prober=prober, snapshot=lambda: snapshot),
        explainer=make_explainer(config.Config(probe=probe), prober, lambda: snapshot),
        rate_limits=RateLimits(),
        telemetry=telemetry,
    )
    answer = api.list_servers(caller, {})["servers"]
    assert isinstance(answer, list)
    answered = {entry["id"]: entry["alive"] for entry in answer}

    for id_, alive in answered.items():
        assert metrics.get(id_, alive) == alive
        if not alive:
            known = [each for each in (*listed, servers[id_]) if each.id == id_]
            ips = {each.ip for instance in known for each in instance.addresses}
            assert ips & prober.asked or not servers[id_].addresses
    unasked = servers.keys() - answered.keys()
    value = telemetry.registry.get_sample_value("fping_exporter_os_fping_unasked_total")
    assert value == len(unasked)
    for id_ in sorted(servers):
        try:
            shown = api.show_server(caller, id_)["server"]
        except Fault as fault:
            assert fault.status == 503
            assert fault.headers["Retry-After"] == "15"
            assert id_ in unasked
        else:
            assert shown in answer or has_newer_twin(id_, servers, listed)
