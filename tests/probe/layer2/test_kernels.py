"""Asking real kernels at layer 2: what a firewall, a sysctl or an interface changes, and what is left."""

import threading
import time
from collections.abc import Iterator

import pytest

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.model import Layer2Rejection, Layer2Target, Target
from fping_exporter.probe import make_prober
from tests.netns import Namespace, need_root
from tests.probe.layer2.world import GuestKernel, ask

pytestmark = pytest.mark.netns

IGNORE_PINGS = "net.ipv4.icmp_echo_ignore_all=1 net.ipv6.icmp.echo_ignore_all=1"
DROP_PINGS = """
table inet t {
    chain c {
        type filter hook input priority 0;
        icmp type echo-request drop
        icmpv6 type echo-request drop
    }
}
"""
DROP_IP = "table inet t { chain c { type filter hook input priority 0; policy drop; }; }"
DROP_ARP = "table arp t { chain c { type filter hook input priority 0; policy drop; }; }"


def drop_frames(match: str) -> str:
    """Rules that drop frames before any protocol gets them."""
    return (
        f"table netdev t {{ chain c {{ type filter hook ingress device eth0 priority 0; {match} drop; }}; }}"
    )


@pytest.fixture(autouse=True)
def _root() -> None:
    need_root()


def answering(guest: GuestKernel) -> set[str]:
    """The addresses at which the kernel answers; the others are known to be silent."""
    got = ask(guest.targets(), timeout=0.3, decoys=True)
    assert got.alive.keys() == set(guest.targets())
    assert got.trusted == {"qdhcp": True}
    return {target.ip for target, alive in got.alive.items() if alive}


def pingable(guest: GuestKernel) -> set[str]:
    probe = config.Probe(timeout=Duration(0.3), retries=0, vantages="auto")
    outcomes = make_prober(probe).probe([Target(guest.name, ip) for ip in guest.IPS]).outcomes
    return {target.ip for target, outcome in outcomes.items() if outcome.alive}


BOTH = set(GuestKernel.IPS)
FOUR, SIX = ({ip} for ip in GuestKernel.IPS)


@pytest.mark.parametrize(
    ("sysctls", "rules", "pings", "answers"),
    [
        pytest.param("", "", BOTH, BOTH, id="as it is"),
        pytest.param(IGNORE_PINGS, "", set(), BOTH, id="ICMP ignored"),
        pytest.param("", DROP_PINGS, set(), BOTH, id="ICMP dropped"),
        pytest.param("", DROP_IP, set(), FOUR, id="all IP dropped, and so neighbour discovery"),
        pytest.param("", DROP_ARP, SIX, SIX, id="ARP dropped"),
        pytest.param(
            "net.ipv4.conf.all.arp_ignore=2 net.ipv4.conf.all.rp_filter=1", "", BOTH, BOTH, id="strict"
        ),
    ],
)
def test_a_kernel(sysctls: str, rules: str, pings: set[str], answers: set[str]) -> None:
    with GuestKernel() as guest:
        if sysctls:
            guest.far.run("sysctl", "-qw", *sysctls.split())
        guest.far.nft(rules)
        assert answering(guest) == answers
        assert pingable(guest) == pings
        assert answering(guest) == answers, "nor do pings, and the kernel's own questions, change that"


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param((), id="none at all"),
        pytest.param(("192.0.2.1/24", "2001:db8::1/64"), id="those of another subnet"),
    ],
)
def test_without_an_address_in_the_subnet(addresses: tuple[str, ...]) -> None:
    with GuestKernel(addresses=addresses) as guest:
        guest.far.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1")
        guest.ip("route add 10.0.0.0/8 dev tap0", "route add fd00::/64 dev tap0")
        assert answering(guest) == BOTH
        assert "192.0.2.1" not in guest.far.run("ip", "neigh").stdout


def test_without_ipv6_in_the_vantage_only_arp_is_asked() -> None:
    with GuestKernel(addresses=("10.0.0.1/8",)) as guest:
        guest.sysctl(ipv6__conf__tap0__disable_ipv6="1")
        got = ask(guest.targets(), timeout=0.3)
        assert got.alive == {guest.targets()[0]: True}


def test_a_guest_whose_link_hangs() -> None:
    """Its interface is there, and takes nothing."""
    with GuestKernel() as guest:
        targets = guest.targets()
        guest.far.nft(drop_frames("ether type { ip, ip6, arp }"))
        assert ask(targets, timeout=0.3).alive == dict.fromkeys(targets, False)


def test_an_address_that_the_guest_has_not_set_up() -> None:
    with GuestKernel() as guest:
        target = guest.targets()[0]._replace(ip="10.0.0.77")
        assert ask([target], timeout=0.3).alive == {target: False}


@pytest.fixture
def bridged() -> Iterator[tuple[GuestKernel, Namespace]]:
    """A bridge on the link, and behind it a guest with two interfaces in one subnet."""
    with GuestKernel() as world, Namespace("twofold") as guest:
        world.far.ip(
            "addr flush dev eth0",
            "link add bridge0 type bridge",
            "link set eth0 master bridge0",
            "link set bridge0 up",
            *(f"link add port{n} type veth peer name nic{n} netns {guest.name}" for n in (0, 1)),
            *(f"link set port{n} master bridge0 up" for n in (0, 1)),
        )
        guest.ip(
            *(f"link set nic{n} up" for n in (0, 1)),
            *(f"addr add 10.0.0.2{n}/8 dev nic{n}" for n in (0, 1)),
        )
        yield world, guest


def target(world: GuestKernel, guest: Namespace, ip: str, nic: str) -> Layer2Target:
    mac = guest.run("cat", f"/sys/class/net/{nic}/address").stdout.strip()
    return Layer2Target(world.name, ip, mac)


def test_two_interfaces_in_one_subnet(bridged: tuple[GuestKernel, Namespace]) -> None:
    """The kernel behind the MAC lives and has the address; which interface has it, nobody knows."""
    world, guest = bridged
    pairs = [target(world, guest, f"10.0.0.2{n}", f"nic{n}") for n in (0, 1)]
    crossed = [target(world, guest, f"10.0.0.2{n}", f"nic{1 - n}") for n in (0, 1)]
    for some in (pairs, crossed):
        assert ask(some, timeout=0.3, decoys=True).alive == dict.fromkeys(some, True)
    guest.ip("link set nic0 down")
    assert ask([pairs[0]], timeout=0.3).alive == {pairs[0]: False}
    assert ask([crossed[0]], timeout=0.3).alive == {crossed[0]: True}


def test_living_guests_leave_no_entry_in_the_neighbour_table() -> None:
    """Not five seconds later either, when their kernels verify whom they have answered."""
    with GuestKernel(addresses=("10.0.0.1/8", "fd00::1/64")) as guest:
        assert answering(guest) == BOTH
        time.sleep(7)
        assert guest.run("ip", "neigh").stdout == ""
        assert "fe80::" in guest.far.run("ip", "-6", "neigh").stdout


def test_a_router_asks_from_its_own_address() -> None:
    with GuestKernel("qrouter") as guest:
        guest.sysctl(ipv6__conf__all__forwarding="1")
        got = ask(guest.targets(), timeout=0.3)
        assert got.alive == dict.fromkeys(guest.targets(), True)
        assert "fd00::1 " in guest.far.run("ip", "-6", "neigh").stdout


def test_an_answer_to_the_kernels_own_broadcast_proves_nothing() -> None:
    """A switch may have given it; the guest gives its own only where a broadcast asks."""
    with GuestKernel() as guest:
        four, _ = guest.targets()
        # It drops our questions, which go to its MAC, and answers those to all.
        guest.far.nft(drop_frames(f"ether daddr {four.mac}"))

        def ping_later() -> None:
            time.sleep(0.2)
            guest.ip("neigh flush all")
            guest.run("ping", "-c1", "-W1", four.ip, check=False)

        thread = threading.Thread(target=ping_later)
        thread.start()
        got = ask([four], timeout=1)
        thread.join()
        assert got.rejected == {Layer2Rejection.KERNEL: 1}
        assert got.alive == {}
