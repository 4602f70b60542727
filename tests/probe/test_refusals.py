"""What the kernel refuses to send, in a network namespace of our own: unknown, not dead."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.model import LOCAL, NOT_ASKED, Sweep, Target
from fping_exporter.probe import make_prober
from fping_exporter.probe.batches import Batches
from fping_exporter.probe.sockets import Kind
from tests.netns import Network
from tests.probe.engines import SWEEPS, Engine, targets

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parents[2]
ALIVE = [f"10.64.0.{number}" for number in range(1, 201)]
ALIVE6 = [f"fd64::{number:x}" for number in range(1, 21)]
CHAIN = "add table inet refuse\nadd chain inet refuse out { type filter hook output priority 0; }\n"


# Batches fall back on single messages, so that these are tested on either kind of socket all the same.
ENGINES = [each for each in SWEEPS if each.transport is Batches or each.kind is Kind.RAW]


@pytest.fixture(params=ENGINES, ids=str)
def engine(request: pytest.FixtureRequest, network: Network) -> Iterator[Engine]:
    engine: Engine = request.param
    engine.prepare(network.near)
    with network.near.entered():
        yield engine


@pytest.fixture
def firewall(network: Network) -> Iterator[Network]:
    network.near.nft(CHAIN)
    yield network
    network.near.nft("delete table inet refuse")


def unasked(sweep: Sweep) -> set[str]:
    return {target.ip for target, outcome in sweep.outcomes.items() if not outcome.asked}


# Why each route or link refuses, with the errno: as Linux 6.18 does.
ROUTES = {
    "198.51.100.1": (None, "ENETUNREACH"),
    "198.51.101.1": ("unreachable", "EHOSTUNREACH"),
    "198.51.102.1": ("prohibit", "EACCES"),
    "198.51.103.1": ("blackhole", "EINVAL"),
    "198.51.104.1": ("throw", "ENETUNREACH"),
    "2001:db8::1": (None, "ENETUNREACH"),
    "2001:db8:1::1": ("unreachable", "EHOSTUNREACH"),
    "2001:db8:2::1": ("prohibit", "EACCES"),
    "2001:db8:3::1": ("blackhole", "EINVAL"),
    "10.63.0.255": (None, "EACCES"),
}


@pytest.mark.parametrize("ip", ROUTES)
def test_what_a_route_refuses_was_not_asked(engine: Engine, network: Network, ip: str) -> None:
    kind, name = ROUTES[ip]
    if kind:
        network.near.ip(f"route add {kind} {ip}")
    try:
        sweep = engine.probe([ip, ALIVE[0]])
    finally:
        if kind:
            network.near.ip(f"route del {kind} {ip}")
    assert sweep.outcomes[Target(LOCAL, ip)] == NOT_ASKED
    assert sweep.outcomes[Target(LOCAL, ALIVE[0])].alive
    assert sweep.refused == {name: 1}
    if engine.name == "sweep":
        assert name in sweep.unsent[Target(LOCAL, ip)]
    assert Target(LOCAL, ALIVE[0]) not in sweep.unsent


def test_a_link_that_is_down_makes_nobody_dead(engine: Engine, network: Network) -> None:
    network.near.ip("link set veth0 down")
    try:
        sweep = engine.probe([*ALIVE, *ALIVE6])
    finally:
        restore(network)
    assert set(sweep.outcomes.values()) == {NOT_ASKED}
    assert sweep.refused == {"ENETUNREACH": len(ALIVE) + len(ALIVE6)}
    assert sweep.duration < 1


def restore(network: Network) -> None:
    """Bring back what Linux drops with the link: the routes, and the addresses of IPv6."""
    network.near.ip(
        "link set veth0 up",
        "addr replace fd63::1/64 dev veth0 nodad",
        "route replace 10.64.0.0/16 via 10.63.0.2",
        "route replace fd64::/64 via fd63::2",
    )


def test_a_link_without_carrier_makes_nobody_dead(engine: Engine, network: Network) -> None:
    """The kernel takes the packets, and drops them: a cable that is pulled out says nothing of a guest."""
    everybody = [*ALIVE, *ALIVE6]
    assert engine.probe(everybody).received == len(everybody)
    network.far.ip("link set veth0 down")
    try:
        wait_for_loss_of_carrier(network)
        sweep = engine.probe(everybody, retries=1)
    finally:
        bring_back(network)
    assert set(sweep.outcomes.values()) == {NOT_ASKED}
    assert (sweep.sent, sweep.refused) == (0, {"ENETDOWN": 2 * len(everybody)})


def test_a_link_that_was_without_carrier_for_a_while_makes_nobody_dead(
    engine: Engine, network: Network
) -> None:
    """Nobody answers while it is away, and when the sweep ends it is there again."""
    everybody = [*ALIVE, *ALIVE6]
    assert engine.probe(everybody).received == len(everybody)
    network.far.ip("link set veth0 down")
    wait_for_loss_of_carrier(network)
    back = threading.Timer(0.3, bring_back, [network])
    back.start()
    try:
        sweep = engine.probe(everybody, timeout=1.5, retries=0)
    finally:
        back.join()
    assert set(sweep.outcomes.values()) == {NOT_ASKED}
    assert (sweep.sent, sweep.refused) == (0, {"ENETDOWN": len(everybody)})
    assert engine.probe(everybody).received == len(everybody)


def wait_for_loss_of_carrier(network: Network) -> None:
    """Wait until Linux has seen it, which it does within a second; until then it answers ENOBUFS."""
    end = time.monotonic() + 5
    while " state UP " in network.near.run("ip", "link", "show", "veth0").stdout:
        assert time.monotonic() < end
        time.sleep(0.01)


def bring_back(network: Network) -> None:
    """Bring the far end back, with the addresses and routes that Linux dropped."""
    network.far.ip(
        "link set veth0 up",
        "addr replace fd63::2/64 dev veth0 nodad",
        "addr replace 10.63.0.2/24 dev veth0",
    )
    network.near.run("ip", "neigh", "flush", "dev", "veth0")


@pytest.mark.parametrize(
    ("gateway", "behind"), [("10.63.0.2/24", ALIVE), ("fd63::2/64", ALIVE6)], ids=["IPv4", "IPv6"]
)
def test_a_gateway_that_does_not_answer_makes_nobody_behind_it_dead(
    engine: Engine, network: Network, gateway: str, behind: list[str]
) -> None:
    on_link = "fd63::77" if ":" in gateway else "10.63.0.77"
    network.near.run("ip", "neigh", "flush", "dev", "veth0")
    network.far.ip(f"addr del {gateway} dev veth0")
    try:
        sweep = engine.probe([*behind, on_link])
    finally:
        bring_back(network)
    assert unasked(sweep) == set(behind)
    assert sweep.refused == {"EHOSTUNREACH": len(behind)}
    # Whom nobody answers for on the link itself was asked: it is absent.
    assert sweep.outcomes[Target(LOCAL, on_link)].asked


def test_silence_behind_a_gateway_that_answers_is_silence(engine: Engine, network: Network) -> None:
    silent = ["10.64.77.1", "fd64::7701"]
    network.silence(silent)
    sweep = engine.probe([*silent, ALIVE[0]])
    assert unasked(sweep) == set()
    assert [sweep.outcomes[Target(LOCAL, ip)].alive for ip in silent] == [False, False]
    assert sweep.refused == {}


def test_a_route_that_is_lost_while_a_reply_is_awaited_makes_nobody_dead(
    engine: Engine, network: Network
) -> None:
    silent = "10.64.77.1"
    network.silence([silent])
    timer = threading.Timer(0.2, network.near.ip, ["route del 10.64.0.0/16"])
    timer.start()
    try:
        sweep = engine.probe([silent], timeout=1.5)
    finally:
        timer.join()
        network.near.ip("route replace 10.64.0.0/16 via 10.63.0.2")
    assert sweep.outcomes == {Target(LOCAL, silent): NOT_ASKED}
    assert sweep.refused == {"ENETUNREACH": 1}


def test_a_route_that_comes_back_in_time_costs_nobody(engine: Engine, network: Network) -> None:
    network.near.ip("route del 10.64.0.0/16")
    timer = threading.Timer(0.2, network.near.ip, ["route replace 10.64.0.0/16 via 10.63.0.2"])
    timer.start()
    try:
        sweep = engine.probe(ALIVE, timeout=4)
    finally:
        timer.join()
    assert sweep.received == len(ALIVE)
    assert sweep.refused == {}


@pytest.mark.parametrize("verdict", ["drop", "reject", "reject with icmp host-unreachable"])
def test_what_a_firewall_of_this_machine_drops_was_not_asked(
    engine: Engine, firewall: Network, verdict: str
) -> None:
    firewall.near.nft(f"add rule inet refuse out ip daddr 10.64.0.1-10.64.0.180 {verdict}\n")
    sweep = engine.probe(ALIVE, retries=1)
    assert unasked(sweep) == set(ALIVE[:180])
    assert sum(outcome.alive for outcome in sweep.outcomes.values()) == 20
    assert not any(outcome.unreachable for outcome in sweep.outcomes.values())
    assert sweep.refused == {"EPERM": 360}
    assert sweep.duration < 2


def test_a_firewall_that_is_lifted_in_time_costs_nobody(engine: Engine, firewall: Network) -> None:
    firewall.near.nft("add rule inet refuse out ip daddr 10.64.0.0/24 drop\n")
    timer = threading.Timer(0.2, firewall.near.nft, ["flush table inet refuse"])
    timer.start()
    sweep = engine.probe(ALIVE, timeout=4)
    timer.join()
    assert sweep.received == len(ALIVE)


def test_a_refusal_is_logged_with_its_cause_and_remedy_once(
    firewall: Network, caplog: pytest.LogCaptureFixture
) -> None:
    firewall.near.nft("add rule inet refuse out ip daddr 10.64.0.1-10.64.0.180 drop\n")
    prober = make_prober(config.Probe(timeout=Duration(0.2), retries=0))
    with firewall.near.entered(), caplog.at_level(logging.WARNING):
        for _ in range(3):
            prober.probe(targets(ALIVE))
    [record] = caplog.records
    assert record.message.startswith(
        "180 of 200 targets were not asked, such as 10.64.0.1 from local: Operation not permitted (EPERM): "
        "a packet filter of this machine drops echo requests, or its connection tracking table is full; see "
    )


def test_a_full_connection_tracking_table_makes_nobody_dead(firewall: Network) -> None:
    """The limit is the machine's: other namespaces that track connections feel it too, for a moment."""
    firewall.near.nft("add rule inet refuse out ct state new counter\n")
    prober = make_prober(config.Probe(timeout=Duration(0.3), retries=0))
    limit = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    before = limit.read_text()
    try:
        limit.write_text("1")
        with firewall.near.entered():
            sweep = prober.probe(targets(ALIVE))
    finally:
        limit.write_text(before)
    refused = unasked(sweep)
    assert refused
    assert all(outcome.alive or outcome == NOT_ASKED for outcome in sweep.outcomes.values())
    assert sweep.refused == {"EPERM": len(refused)}


def slow_down(network: Network, *, rate: str, burst: str, limit: str) -> None:
    """Let the link take this rate only, and queue up to `limit` bytes."""
    bucket = ("rate", rate, "burst", burst, "limit", limit)
    network.near.run("tc", "qdisc", "add", "dev", "veth0", "root", "tbf", *bucket)


def test_a_full_transmit_queue_delays_and_loses_nobody(engine: Engine, network: Network) -> None:
    slow_down(network, rate="1mbit", burst="2kb", limit="4kb")
    try:
        sweep = engine.probe(ALIVE, timeout=1)
    finally:
        network.near.run("tc", "qdisc", "del", "dev", "veth0", "root")
    assert sweep.received == len(ALIVE)


def test_a_queue_that_takes_one_packet_at_a_time_holds_nobody_for_long(network: Network) -> None:
    """A refusal that goes on in spite of some progress ends after five seconds a sweep."""
    slow_down(network, rate="4kbit", burst="100", limit="100")
    prober = make_prober(config.Probe(timeout=Duration(0.5), retries=2))
    start = time.monotonic()
    try:
        with network.near.entered():
            sweep = prober.probe(targets(ALIVE))
    finally:
        network.near.run("tc", "qdisc", "del", "dev", "veth0", "root")
    assert 0 < len(unasked(sweep)) < len(ALIVE)
    assert time.monotonic() - start < 5 + 4 * 0.5 + 3


@pytest.mark.parametrize("ping_group_range", ["0 2147483647", "1 0"])
def test_multiping_without_file_descriptors_asks_all_in_turns(
    network: Network, ping_group_range: str
) -> None:
    network.near.sysctl(ipv4__ping_group_range=ping_group_range)
    program = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
from fping_exporter.config import Probe
from fping_exporter.model import LOCAL, Target
from fping_exporter.probe import make_prober
prober = make_prober(Probe(engine="multiping", retries=0))
held = [open("/dev/null") for _ in range(int(sys.argv[2]))]
sweep = prober.probe([Target(LOCAL, f"10.64.{n // 250}.{n % 250 + 1}") for n in range(300)])
print(sum(o.alive for o in sweep.outcomes.values()), sum(not o.asked for o in sweep.outcomes.values()))
print(any(o.unreachable for o in sweep.outcomes.values()))
"""
    for limit, held in (("256", "0"), ("64", "48")):
        done = network.near.run(
            "env", f"PYTHONPATH={ROOT}", sys.executable, "-c", program, limit, held, check=False
        )
        assert done.stdout == "300 0\nFalse\n", done.stderr


def test_multiping_says_nothing_of_whom_it_could_not_ask(firewall: Network) -> None:
    firewall.near.nft("add rule inet refuse out ip daddr 10.64.0.1-10.64.0.30 drop\n")
    prober = make_prober(config.Probe(engine="multiping", timeout=Duration(0.3), retries=0))
    with firewall.near.entered():
        sweep = prober.probe(targets(ALIVE[:40]))
    assert [outcome.asked for outcome in sweep.outcomes.values()] == [False] * 30 + [True] * 10
    assert sweep.refused == {"unknown": 30}


def test_the_namespace_is_where_it_was(network: Network) -> None:
    """The tests above leave the network as they found it."""
    with network.near.entered():
        done = subprocess.run(["fping", "-q", "-r1", ALIVE[0], ALIVE6[0]], check=False)
    assert done.returncode == 0
