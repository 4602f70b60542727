"""What only the sweep promises: its sockets, what it does without room, and without rights."""

import contextlib
import errno
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.errors import OpenFilesError, ProbeError
from fping_exporter.model import LOCAL, NOT_ASKED, Family, IcmpError, Sweep, Target
from fping_exporter.probe import addresses, make_prober, mmsg
from fping_exporter.probe.batches import Batches
from fping_exporter.probe.multiping import MultipingProber
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.packet import EchoError
from fping_exporter.probe.socket_budget import SocketBudget
from fping_exporter.probe.sockets import IcmpSocket, Kind, open_socket
from fping_exporter.probe.sweep import Opener, SweepProber, choose_transport
from fping_exporter.probe.transport import OneByOne, Received, Transport
from tests.netns import Network
from tests.permission import need_ping
from tests.probe.engines import targets

ROOT = Path(__file__).parents[2]
LOOPBACK = [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(600)]


@pytest.fixture
def _icmp() -> None:
    need_ping()


def probe(
    ips: list[str],
    *,
    opener: Opener = open_socket,
    transport: Callable[[], Transport] = choose_transport,
    timeout: float = 0.3,
    count: int = 1,
) -> Sweep:
    prober = SweepProber(
        timeout=timeout,
        count=count,
        retries=0,
        pacer=Pacer(rate=1_000_000),
        sockets=SocketBudget(10),
        opener=opener,
        transport=transport,
    )
    return prober.probe(targets(ips))


def open_descriptors() -> list[str]:
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


class Kernel:
    """The calls to send, as a kernel makes them that runs out of room, or has a full neighbour table."""

    def __init__(self, *, refusals: float, number: int) -> None:
        self.refusals = refusals
        self.number = number

    def refuse(self) -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise OSError(self.number, os.strerror(self.number))

    def sendmmsg(self, descriptor: int, headers: int, count: int) -> int:
        self.refuse()
        return mmsg.sendmmsg(descriptor, headers, count)

    def batches(self) -> Transport:
        return Batches(send=self.sendmmsg)

    def opener(self, _family: Family) -> IcmpSocket:
        kernel = self

        class Socket(socket.socket):
            def sendto(self, *args: Any) -> int:
                kernel.refuse()
                return super().sendto(*args)

        sock = Socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        return IcmpSocket(sock, family=4, kind=Kind.RAW)


def probe_with(kernel: Kernel, transport: Callable[[], Transport]) -> Sweep:
    return probe(
        LOOPBACK, opener=kernel.opener, transport=kernel.batches if transport is Batches else transport
    )


both_ways = pytest.mark.parametrize("transport", [Batches, OneByOne])


@both_ways
@pytest.mark.usefixtures("_icmp")
@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EAGAIN, errno.ENOMEM])
def test_want_of_room_delays_and_loses_nobody(number: int, transport: Callable[[], Transport]) -> None:
    sweep = probe_with(Kernel(refusals=20, number=number), transport)
    assert (sweep.sent, sweep.received) == (len(LOOPBACK), len(LOOPBACK))


@pytest.mark.usefixtures("_icmp")
@pytest.mark.parametrize(("rate", "most"), [(1000, 2), (1_000_000, 64)])
def test_no_more_messages_go_in_a_row_than_the_rate_allows(rate: int, most: int) -> None:
    counts: list[int] = []

    def call(descriptor: int, headers: int, count: int) -> int:
        counts.append(count)
        return mmsg.sendmmsg(descriptor, headers, count)

    prober = SweepProber(
        timeout=0.3,
        count=1,
        retries=0,
        pacer=Pacer(rate=rate),
        sockets=SocketBudget(1),
        transport=lambda: Batches(send=call),
    )
    assert prober.probe(targets(LOOPBACK[:100])).received == 100
    assert max(counts) == most


@both_ways
@pytest.mark.usefixtures("_icmp")
def test_an_address_that_is_no_destination_is_not_tried_again(transport: Callable[[], Transport]) -> None:
    sweep = probe_with(Kernel(refusals=3, number=errno.EINVAL), transport)
    unasked = [target.ip for target, outcome in sweep.outcomes.items() if not outcome.alive]
    assert unasked == LOOPBACK[:3]
    assert all(sweep.outcomes[Target(LOCAL, ip)] == NOT_ASKED for ip in unasked)
    assert sweep.refused == {"EINVAL": 3}
    assert [target.ip for target in sweep.unsent] == unasked
    [text] = {id(text): text for text in sweep.unsent.values()}.values()
    assert "(EINVAL): " in text, "one text for as many as are refused"


@pytest.mark.usefixtures("_icmp")
def test_many_who_are_rejected_alike_share_the_error() -> None:
    class Rejected(OneByOne):
        def receive(self, sock: IcmpSocket) -> Iterator[Received]:
            for received in super().receive(sock):
                senders = [addresses.unpack(sender) for sender, *_ in received.replies]
                received.errors = [EchoError(ip, sock.ident, 0, b"", 3, 1, "192.0.2.1") for ip in senders]
                received.replies = []
                yield received

    sweep = probe(LOOPBACK, transport=Rejected)
    assert all(outcome.unreachable for outcome in sweep.outcomes.values())
    [error] = {id(outcome.error): outcome.error for outcome in sweep.outcomes.values()}.values()
    assert error == IcmpError("192.0.2.1", 3, 1)


@both_ways
@pytest.mark.usefixtures("_icmp")
@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EPERM, errno.ENETUNREACH])
def test_a_lasting_refusal_takes_no_longer_than_silence(
    number: int, transport: Callable[[], Transport]
) -> None:
    sweep = probe_with(Kernel(refusals=float("inf"), number=number), transport)
    assert 0.3 < sweep.duration < 2
    assert set(sweep.outcomes.values()) == {NOT_ASKED}
    assert sweep.sent == 0
    assert sweep.refused == {errno.errorcode[number]: len(LOOPBACK)}
    assert len(sweep.unsent) == len(LOOPBACK)
    assert len({id(why) for why in sweep.unsent.values()}) == 1


@both_ways
@pytest.mark.usefixtures("_icmp")
@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_wall_clock_that_is_set_in_mid_sweep_gives_no_round_trip(
    step: int, transport: Callable[[], Transport]
) -> None:
    ahead = 0

    def opener(_family: Family) -> IcmpSocket:
        nonlocal ahead
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        opened = IcmpSocket(sock, family=4, kind=Kind.RAW, wall_clock=lambda: time.time_ns() + ahead)
        ahead = step * 10**9
        return opened

    sweep = probe(LOOPBACK, opener=opener, transport=transport)
    assert sweep.received == len(LOOPBACK)
    # What was read after the first reading has its true time again.
    assert all(outcome.rtt is None or outcome.rtt < 0.3 for outcome in sweep.outcomes.values())
    assert sweep.outcomes[Target(LOCAL, LOOPBACK[0])].rtt is None


@both_ways
@pytest.mark.usefixtures("_icmp")
@pytest.mark.parametrize("ahead", [3600, -3600])
def test_an_arrival_before_the_request_or_in_the_future_gives_no_round_trip(
    ahead: int, transport: Callable[[], Transport]
) -> None:
    def opener(_family: Family) -> IcmpSocket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        return IcmpSocket(
            sock, family=4, kind=Kind.RAW, wall_clock=lambda: time.time_ns() + ahead * 1_000_000_000
        )

    [outcome] = probe(["127.0.0.1"], opener=opener, transport=transport).outcomes.values()
    assert (outcome.alive, outcome.rtt) == (True, None)


@pytest.mark.usefixtures("_icmp")
def test_both_families_on_loopback() -> None:
    sweep = probe([*LOOPBACK, "::1"])
    assert (sweep.sent, sweep.received, sweep.rejected) == (601, 601, {})


@pytest.mark.usefixtures("_icmp")
@pytest.mark.parametrize("fault", [None, ProbeError("none"), RuntimeError("a defect")])
def test_sockets_are_closed_whatever_happens(fault: Exception | None) -> None:
    def opener(family: Family) -> IcmpSocket:
        if family == 6 and fault:
            raise fault
        return open_socket(family)

    probe(["127.0.0.1"])  # the first sweep of a process opens a socket that stays
    before = open_descriptors()
    with contextlib.suppress(RuntimeError):
        probe(["127.0.0.1", "::1"], opener=opener)
    assert not set(open_descriptors()) - set(before)  # other tests' may be closed meanwhile


@pytest.mark.usefixtures("_icmp")
def test_a_family_that_cannot_be_opened_costs_its_targets_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def opener(family: Family) -> IcmpSocket:
        if family == 6:
            raise ProbeError("no ICMPv6 socket can be opened: Address family not supported")
        return open_socket(family)

    prober = SweepProber(
        timeout=0.3, count=1, retries=0, pacer=Pacer(rate=1000), sockets=SocketBudget(10), opener=opener
    )
    for _ in range(2):
        sweep = prober.probe(targets(["127.0.0.1", "::1"]))
        assert [outcome.alive for outcome in sweep.outcomes.values()] == [True, False]
        assert sweep.outcomes[Target(LOCAL, "::1")] == NOT_ASKED
        assert sweep.unsent == {
            Target(LOCAL, "::1"): "no ICMPv6 socket can be opened: Address family not supported"
        }
    assert [record.message for record in caplog.records] == [
        "part of the targets cannot be asked: no ICMPv6 socket can be opened: Address family not supported"
    ]
    with pytest.raises(ProbeError, match="no ICMPv6 socket"):
        prober.probe(targets(["::1"]))


@pytest.mark.usefixtures("_icmp")
def test_with_fewer_sockets_than_it_takes_all_are_asked_in_turns() -> None:
    opened: list[int] = []

    def opener(family: Family) -> IcmpSocket:
        opened.append(len(open_descriptors()))
        return open_socket(family)

    ips = [*LOOPBACK[:5], "::1"]
    prober = SweepProber(
        timeout=0.2, count=1, retries=0, pacer=Pacer(rate=1000), sockets=SocketBudget(1), opener=opener
    )
    sweep = prober.probe(targets(ips))
    assert [target.ip for target, outcome in sweep.outcomes.items() if outcome.alive] == ips
    assert (sweep.sent, sweep.received) == (6, 6)
    assert opened[0] == opened[1]


@pytest.mark.usefixtures("_icmp")
@pytest.mark.parametrize("left", [0, 1])
def test_without_files_what_cannot_be_opened_waits_for_the_next_turn(left: int) -> None:
    """Of the files that were left, others have taken some."""
    held: list[IcmpSocket] = []

    def opener(family: Family) -> IcmpSocket:
        if sum(sock.fileno() >= 0 for sock in held) >= left:
            raise OpenFilesError
        held.append(open_socket(family))
        return held[-1]

    if left:
        sweep = probe(["127.0.0.1", "::1"], opener=opener)
        assert [outcome.alive for outcome in sweep.outcomes.values()] == [True, True]
    else:
        with pytest.raises(OpenFilesError, match="raise the limit"):
            probe(["127.0.0.1", "::1"], opener=opener)


@pytest.mark.usefixtures("_icmp")
def test_where_no_thread_can_be_started_only_namespaces_are_not_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    local, elsewhere = Target(LOCAL, "127.0.0.1"), Target(f"qdhcp-{uuid.uuid4()}", "10.0.0.5")
    prober = SweepProber(timeout=0.3, count=1, retries=0, pacer=Pacer(rate=1000), sockets=SocketBudget(10))
    before = threading.stack_size(1 << 46)
    try:
        sweep = prober.probe([local, elsewhere])
    finally:
        threading.stack_size(before)
    assert sweep.outcomes[local].alive
    assert sweep.outcomes[elsewhere] == NOT_ASKED
    assert "part of the targets cannot be asked: no thread could be started" in caplog.text


def test_another_vantage_may_be_gone_with_nothing_else_to_ask() -> None:
    target = Target("tenant", "127.0.0.1")
    prober = SweepProber(timeout=0.3, count=1, retries=0, pacer=Pacer(rate=1000), sockets=SocketBudget(10))
    outcomes = prober.probe([target]).outcomes
    assert outcomes == {target: NOT_ASKED}


def test_the_configuration_chooses_the_engine() -> None:
    assert isinstance(make_prober(config.Probe(timeout=Duration(1))), SweepProber)
    assert isinstance(make_prober(config.Probe(engine="multiping")), MultipingProber)


@pytest.mark.parametrize(
    ("ip", "text"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("192.0.2.01", None),
        ("fe80::1%eth0", None),
        ("", None),
        ("\0", None),
    ],
)
def test_an_address_is_read_in_any_notation_that_means_one_only(ip: str, text: str | None) -> None:
    address = addresses.pack(ip)
    assert (address and addresses.unpack(address)) == text


@pytest.mark.netns
def test_other_programs_pings_never_reach_a_raw_socket(network: Network) -> None:
    with network.near.entered(), open_socket(4) as ipv4, open_socket(6) as ipv6:
        assert ipv4.kind is ipv6.kind is Kind.RAW
        for ip in ("10.64.0.1", "fd64::1", "198.51.100.1"):
            subprocess.run(["fping", "-r0", ip], check=False, capture_output=True)
        assert select.select([ipv4, ipv6], [], [], 0.1) == ([], [], [])


@pytest.mark.netns
def test_other_pingers_at_work_do_not_disturb_a_sweep(network: Network) -> None:
    ips = [f"10.64.{number // 250}.{number % 250 + 1}" for number in range(3000)]
    done = threading.Event()

    def noise() -> None:
        while not done.is_set():
            subprocess.run(["fping", "-q", "-i0", "-r0", *ips[:1500]], check=False, capture_output=True)

    with network.near.entered():
        thread = threading.Thread(target=noise)
        thread.start()
        try:
            for _ in range(3):
                sweep = probe(ips, timeout=1)
                assert (sweep.sent, sweep.received, sweep.rejected) == (3000, 3000, {})
        finally:
            done.set()
            thread.join()


def as_nobody(network: Network, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in the near namespace as a user without any right but those in `options`."""
    return network.near.run(
        "env",
        f"PYTHONPATH={ROOT}",
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        *(options or ("--bounding-set=-all", "--inh-caps=-all")),
        sys.executable,
        "-c",
        code,
        check=False,
    )


@pytest.mark.netns
@pytest.mark.parametrize(
    ("found", "wanted"), [("1 0", "65534 65534"), ("100 200", "100 65534"), ("70000 70001", "65534 70001")]
)
def test_without_rights_one_line_names_both_remedies(network: Network, found: str, wanted: str) -> None:
    network.near.sysctl(ipv4__ping_group_range=found)
    code = "from fping_exporter.probe import check_permission; check_permission()"
    # How much of the interpreter's path nobody can resolve depends on where it lives.
    assert re.fullmatch(
        r"fping_exporter\.errors\.SocketPermissionError: this user may not open ICMP sockets: as root, "
        r"permit it with `setcap cap_net_raw\+ep /\S+/python[\d.]*` or with "
        rf"`sysctl -w net\.ipv4\.ping_group_range='{wanted}'`",
        as_nobody(network, code).stderr.splitlines()[-1],
    )


@pytest.mark.netns
@pytest.mark.parametrize("kind", Kind)
def test_a_plain_user_with_the_right_sweeps_as_well(network: Network, kind: Kind) -> None:
    allowed, options = "1 0", ["--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw"]
    if kind is Kind.DATAGRAM:
        allowed, options = "65534 65534", []
    network.near.sysctl(ipv4__ping_group_range=allowed)
    code = """
import json
from fping_exporter.config import Probe
from fping_exporter.model import LOCAL, Target
from fping_exporter.probe import check_permission, make_prober
ips = [f"10.64.{number // 250}.{number % 250 + 1}" for number in range(5000)]
sweep = make_prober(Probe(rate=1_000_000, retries=0)).probe([Target(LOCAL, ip) for ip in ips])
print(json.dumps([check_permission(), sweep.sent, sweep.received, sweep.duration]))
"""
    done = as_nobody(network, code, *options)
    assert done.stdout, done.stderr
    used, sent, received, duration = json.loads(done.stdout)
    assert (used, sent, received) == (kind, 5000, 5000)
    assert duration < 3


@pytest.mark.netns
def test_replies_that_do_not_fit_the_receive_buffer_are_not_lost(network: Network) -> None:
    """Without CAP_NET_ADMIN the buffer has net.core.rmem_max, 208 KiB in most systems."""

    def opener(family: Family) -> IcmpSocket:
        sock = open_socket(family)
        with socket.socket(fileno=os.dup(sock.fileno())) as handle:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 212_992)
        sock.room = 2 * 212_992 // 2048
        return sock

    ips = [f"10.64.{number // 250}.{number % 250 + 1}" for number in range(5000)]
    with network.near.entered():
        sweep = probe(ips, opener=opener, count=3, timeout=0.05)
    assert (sweep.sent, sweep.received) == (15_000, 15_000)


@pytest.mark.netns
def test_replies_that_came_in_time_count_however_late_they_are_read(network: Network) -> None:
    ips = [f"10.64.{number // 250}.{number % 250 + 1}" for number in range(5000)]
    with network.near.entered():
        sweep = probe(ips, timeout=0.005)
    assert (sweep.sent, sweep.received) == (5000, 5000)


@pytest.mark.netns
def test_hosts_that_are_not_there_hold_nobody_up(network: Network) -> None:
    """Packets for them wait in the send buffer until ARP gives up."""
    network.near.sysctl(ipv4__neigh__veth0__retrans_time_ms="100")
    absent = [f"10.63.0.{number}" for number in range(10, 250)]
    start = time.monotonic()
    with network.near.entered():
        sweep = probe([*absent, "10.63.0.2", "10.64.0.1"], timeout=8)
    alive = [target.ip for target, outcome in sweep.outcomes.items() if outcome.alive]
    assert alive == ["10.63.0.2", "10.64.0.1"]
    assert sum(outcome.unreachable for outcome in sweep.outcomes.values()) == len(absent)
    assert time.monotonic() - start < 7
