"""Vantages: sockets in namespaces, what one that fails costs, and many of them at once."""

import contextlib
import json
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

import pytest

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.errors import ProbeError
from fping_exporter.model import (
    LOCAL,
    NOT_ASKED,
    Instance,
    Network,
    Port,
    Reason,
    Snapshot,
    Sweep,
    Target,
    Topology,
)
from fping_exporter.probe import make_prober, neighbour_table
from fping_exporter.probe.vantage import find_namespaces, source_addresses, survey, visit
from fping_exporter.snapshot import take_snapshot
from fping_exporter.verdict.plan import plan
from tests.build import address, instance, inventory
from tests.netns import Namespace, many_namespaces, need_root

pytestmark = pytest.mark.netns


class Vantage(Namespace):
    """A namespace named as Neutron's are, to which `guests` answer behind a link of their own."""

    def __init__(self, kind: str, *guests: str) -> None:
        super().__init__("")
        self.name = f"{kind}-{uuid.uuid4()}"
        self._guests = guests
        self._far = Namespace("")
        self._far.name = f"guests-{self.name[-12:]}"

    def __enter__(self) -> Self:
        super().__enter__()
        self._far.__enter__()
        self.ip(
            f"link add tap0 type veth peer name eth0 netns {self._far.name}",
            "link set tap0 up",
            "addr add 10.0.0.2/16 dev tap0",
            "addr add fd00::2/64 dev tap0 nodad",
        )
        self._far.ip(
            "link set eth0 up",
            *(
                f"addr add {guest}/{64 if ':' in guest else 16} dev eth0{_dad(guest)}"
                for guest in self._guests
            ),
        )
        return self

    def __exit__(self, *args: object) -> None:
        self._far.__exit__(*args)
        with contextlib.suppress(RuntimeError):  # a test deletes it
            super().__exit__(*args)

    def target(self, ip: str) -> Target:
        return Target(self.name, ip)


def _dad(guest: str) -> str:
    return " nodad" if ":" in guest else ""


@pytest.fixture(autouse=True)
def _root() -> None:
    need_root()


def sweep(*targets: Target, timeout: float = 0.3, rate: int = 20_000) -> Sweep:
    probe = config.Probe(timeout=Duration(timeout), retries=0, rate=rate, vantages="auto")
    return make_prober(probe).probe(targets)


def descriptors() -> list[str]:
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


def test_one_address_in_two_networks_has_two_outcomes() -> None:
    with Vantage("qdhcp", "10.0.0.5") as one, Vantage("qdhcp", "10.0.0.6") as other:
        got = sweep(one.target("10.0.0.5"), other.target("10.0.0.5"), one.target("10.0.0.6"))
    assert [outcome.alive for outcome in got.outcomes.values()] == [True, False, False]
    assert (got.sent, got.received) == (3, 1)


def test_ipv6() -> None:
    with Vantage("ovnmeta", "fd00::5") as one, Vantage("qrouter", "10.0.0.6") as other:
        got = sweep(one.target("fd00::5"), other.target("fd00::5"), Target(LOCAL, "::1"))
    assert [outcome.alive for outcome in got.outcomes.values()] == [True, False, True]


def test_a_namespace_is_found_by_kind_and_only_if_it_is_neutrons() -> None:
    with Vantage("qdhcp") as one, Vantage("ovnmeta") as other, Vantage("vms") as foreign:
        found = find_namespaces({"local", "qdhcp", "ovnmeta", "qrouter"})
        assert {one.name, other.name} <= found
        assert foreign.name not in found
        assert other.name not in find_namespaces({"qdhcp"})


@pytest.mark.parametrize("name", ["qdhcp-../../proc/1/ns/net", "vms", "", "qdhcp-", "/proc/self/ns/net"])
def test_no_other_path_is_ever_opened(name: str) -> None:
    error = visit([name], pytest.fail)[name]
    assert isinstance(error, ProbeError)
    assert str(error).startswith("not a vantage")


def test_what_a_vantage_has() -> None:
    with Vantage("ovnmeta", "10.0.0.5") as one:
        one.ip(
            "addr add 203.0.113.9/32 dev tap0",
            "route add unreachable 10.0.0.0/17",
            "route add default via 10.0.0.3",
            "route add local 198.18.0.0/16 dev lo",
        )
        link = one.run("cat", "/sys/class/net/tap0/address").stdout.strip()
        there = survey({"ovnmeta"})
        table = there[one.name]
    assert LOCAL in there
    assert table
    own = {"127.0.0.1", "::1", "10.0.0.2", "10.0.255.255", "203.0.113.9", "fd00::2"}
    assert own <= table.own
    assert all(table.is_own(ip) for ip in (*own, "198.18.3.4"))
    assert not any(table.is_own(ip) for ip in ("10.0.0.5", "fd00::5"))
    assert {
        ip: table.has_route(ip) for ip in ("10.0.0.5", "10.0.200.5", "fd00::5", "192.0.2.1", "2001:db8::1")
    } == {
        "10.0.0.5": False,
        "10.0.200.5": True,
        "fd00::5": True,
        "192.0.2.1": False,
        "2001:db8::1": False,
    }
    assert table.macs == {link}


def test_local_has_this_hosts_addresses() -> None:
    table = survey({"local"})[LOCAL]
    assert table
    assert table.is_own("127.0.0.1")
    assert table.has_route("192.0.2.1"), "whatever local is said to reach"


@contextlib.contextmanager
def stale(kind: str, network: str) -> Iterator[None]:
    """A file as is left of a namespace when its mount is gone."""
    path = Path("/run/netns", f"{kind}-{network}")
    path.touch()
    try:
        yield
    finally:
        path.unlink()


@contextlib.contextmanager
def bare(kind: str, network: str) -> Iterator[None]:
    """A namespace without interfaces."""
    namespace = Namespace("")
    namespace.name = f"{kind}-{network}"
    with namespace:
        yield


@pytest.mark.parametrize("dead", [stale, bare])
@pytest.mark.parametrize("living", ["qrouter", "snat", "ovnmeta"])
def test_a_namespace_that_is_no_way_does_not_hide_one_that_is(
    dead: Callable[[str, str], contextlib.AbstractContextManager[None]], living: str
) -> None:
    """In the same sweep; what is called ovnmeta here has the name of an older agent."""
    network = str(uuid.uuid4())
    with Vantage(living, "10.0.0.5") as vantage, dead("qdhcp", network):
        mac = vantage.run("cat", "/sys/class/net/tap0/address").stdout.strip()
        port = Port(network, "", {"10.0.0.5": "subnet"}, (), "a")
        topology = Topology(
            ports={"a": (port,)},
            routers={"subnet": (vantage.name.partition("-")[2],)},
            metadata_ports={network: (Port(network, mac, {"10.0.0.2": "subnet"}, ()),)},
        )
        snapshot = snapshot_of(instance("a", "10.0.0.5", host=socket.gethostname()), topology=topology)
    (verdict,) = snapshot.verdicts
    assert verdict.alive
    assert [each.target for each in verdict.probed] == [vantage.target("10.0.0.5")]


@pytest.mark.parametrize("dead", [stale, bare])
def test_a_namespace_that_is_no_way_does_not_hide_local(
    dead: Callable[[str, str], contextlib.AbstractContextManager[None]],
) -> None:
    network = str(uuid.uuid4())
    port = Port(network, "", {"192.0.2.77": "subnet"}, (), "a")
    topology = Topology(
        ports={"a": (port,)}, networks={network: Network(network, "public", external=True, shared=False)}
    )
    planned = plan([instance("a", "192.0.2.77")], topology, AUTO, vantages=survey(AUTO.kinds))
    with dead("qdhcp", network):
        assert plan([instance("a", "192.0.2.77")], topology, AUTO, vantages=survey(AUTO.kinds)) == planned
    assert planned["a"][0].target == Target(LOCAL, "192.0.2.77")


def test_the_vantages_own_addresses_are_not_asked() -> None:
    with Vantage("qdhcp", "10.0.0.5") as vantage:
        network = vantage.name.partition("-")[2]
        port = Port(network, "", dict.fromkeys(("10.0.0.2", "10.0.255.255", "127.0.0.1"), "subnet"), (), "a")
        snapshot = snapshot_of(
            instance("a", "10.0.0.2", "10.0.255.255", "127.0.0.1"), topology=Topology(ports={"a": (port,)})
        )
    assert snapshot.sweep.sent == 0
    assert [(v.alive, v.reason) for v in snapshot.verdicts] == [(False, Reason.NO_ADDRESS)]


AUTO = config.Probe(timeout=Duration(0.3), retries=0, vantages="auto")


def snapshot_of(*instances: Instance, topology: Topology) -> Snapshot:
    return take_snapshot(inventory(*instances, topology=topology), prober=make_prober(AUTO), probe=AUTO)


def test_this_thread_stays_where_it_is_and_none_is_left() -> None:
    here = Path("/proc/thread-self/ns/net").readlink()
    threads = threading.active_count()
    with Vantage("qdhcp", "10.0.0.5") as one:
        sweep(one.target("10.0.0.5"))
        assert Path("/proc/thread-self/ns/net").readlink() == here
    assert threading.active_count() == threads


def test_a_namespace_that_is_gone_costs_its_own_targets(caplog: pytest.LogCaptureFixture) -> None:
    with Vantage("qdhcp", "10.0.0.5") as one, Vantage("qdhcp", "10.0.0.5") as other:
        subprocess.run(["ip", "netns", "del", other.name], check=True)
        got = sweep(one.target("10.0.0.5"), other.target("10.0.0.5"))
        assert got.outcomes[one.target("10.0.0.5")].alive
        assert got.outcomes[other.target("10.0.0.5")] == NOT_ASKED
        assert sweep(other.target("10.0.0.5")).outcomes == {other.target("10.0.0.5"): NOT_ASKED}
    assert f"the network namespace {other.name} is gone" in caplog.text


def test_what_is_no_namespace_costs_its_own_targets(caplog: pytest.LogCaptureFixture) -> None:
    path = Path("/run/netns", f"qdhcp-{uuid.uuid4()}")
    path.touch()
    try:
        target = Target(path.name, "10.0.0.5")
        assert sweep(target).outcomes == {target: NOT_ASKED}
    finally:
        path.unlink()
    assert "cannot be entered: Invalid argument" in caplog.text


def test_namespaces_that_cannot_be_entered_for_one_reason_are_logged_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = [f"qdhcp-{uuid.uuid4()}" for _ in range(5)]
    prober = make_prober(AUTO)
    for _ in range(2):
        prober.probe([Target(name, ip) for name in gone for ip in ("10.0.0.5", "fd00::5")])
    [record] = caplog.records
    first = f"the network namespace {gone[0]} is gone"
    assert record.message == f"part of the targets cannot be asked: {first} (and 4 others likewise)"


def test_a_file_that_cannot_be_opened_costs_its_own_targets(caplog: pytest.LogCaptureFixture) -> None:
    path = Path("/run/netns", f"qdhcp-{uuid.uuid4()}")
    path.symlink_to(path)
    try:
        assert survey({"qdhcp"})[path.name] is None
        target = Target(path.name, "10.0.0.5")
        assert sweep(target).outcomes == {target: NOT_ASKED}
    finally:
        path.unlink()
    assert f"{path.name} cannot be opened in /run/netns: Too many levels of symbolic links" in caplog.text


def test_a_namespace_deleted_in_the_middle_of_a_sweep_costs_its_own_targets() -> None:
    silent = [f"10.0.1.{number}" for number in range(1, 50)]
    with Vantage("qdhcp", "10.0.0.5") as one, Vantage("qdhcp", "10.0.0.5") as other:
        deletion = threading.Timer(
            0.2, lambda: subprocess.run(["ip", "netns", "del", other.name], check=True)
        )
        deletion.start()
        got = sweep(
            *map(other.target, silent), one.target("10.0.0.5"), *map(one.target, silent), timeout=1, rate=200
        )
        deletion.join()
        assert got.outcomes[one.target("10.0.0.5")].alive
        assert sum(outcome.alive for outcome in got.outcomes.values()) == 1


def test_a_namespace_without_a_way_there_is_no_vantage() -> None:
    """A DHCP namespace has no route to a subnet without DHCP; a router on standby has no addresses."""
    with Vantage("qdhcp", "10.0.0.5") as one:
        target = one.target("192.0.2.5")
        assert sweep(target).outcomes == {target: NOT_ASKED}


def test_the_address_that_is_sent_from() -> None:
    with Vantage("qdhcp") as one:
        targets = [one.target("10.0.0.5"), one.target("fd00::5"), Target(LOCAL, "127.9.9.9")]
        lost = [one.target("192.0.2.1"), one.target("odd"), Target("qdhcp-none", "10.0.0.5")]
        assert source_addresses([*targets, *lost]) == dict(
            zip(targets, ["10.0.0.2", "fd00::2", "127.0.0.1"], strict=True)
        )


def test_the_right_that_is_missing_is_named_once() -> None:
    program = """
import sys
from fping_exporter import config
from fping_exporter.model import Target
from fping_exporter.probe import make_prober
prober = make_prober(config.Probe(vantages="auto"))
for _ in range(2):
    print(prober.probe([Target(name, "10.0.0.5") for name in sys.argv[1:]]).sent)
"""
    with Vantage("qdhcp") as one, Vantage("qdhcp") as other:
        done = subprocess.run(
            ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", program, one.name, other.name],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "0\n0\n"
    assert done.stderr.count("CAP_SYS_ADMIN") == 1


@contextlib.contextmanager
def room_for_neighbours(number: int) -> Iterator[None]:
    """Set the limits, which are the machine's, in the kernel's own proportion, and set them back."""
    limits = {
        Path(f"/proc/sys/net/ipv{version}/neigh/default/gc_thresh{level}"): number // part
        for version in (4, 6)
        for level, part in ((3, 1), (2, 2), (1, 8))
    }
    paths, before = list(limits), [path.read_text() for path in limits]
    try:
        for path, limit in limits.items():
            path.write_text(str(limit))
        yield
    finally:
        for path, value in zip(paths, before, strict=True):
            path.write_text(value)


def test_two_hundred_namespaces_in_one_sweep() -> None:
    """They are asked at the same time: one after the other would take two hundred timeouts."""
    guests = [f"10.0.0.{10 + number}" for number in range(20)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(room_for_neighbours(16_384))
        # In every network, some of the addresses that live in all the others are silent.
        there = [
            stack.enter_context(
                Vantage("qdhcp", *(guest for number, guest in enumerate(guests) if (number + place) % 10))
            )
            for place in range(200)
        ]
        truth = {
            vantage.target(guest): bool((number + place) % 10)
            for place, vantage in enumerate(there)
            for number, guest in enumerate(guests)
        }
        sweep(*truth, timeout=1)  # the first one of a process opens a socket that stays
        before = descriptors()
        durations = []
        for _ in range(20):
            got = sweep(*truth, timeout=1)
            durations.append(got.duration)
            assert {target: outcome.alive for target, outcome in got.outcomes.items()} == truth
            assert descriptors() == before
    assert statistics.median(durations) < 3, durations


SHORT_OF_FILES = """
import json, resource, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from fping_exporter import config, open_files
from fping_exporter.config.duration import Duration
from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer, Limits
from fping_exporter.model import Target
from fping_exporter.probe import make_prober

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]

limits = Limits(connections=open_files.shares().connections)
server = HttpServer(app, listen=[TcpAddress("127.0.0.1", 0)], limits=limits)
server.start()
print(server.addresses[0].port, flush=True)
names = json.loads(sys.stdin.readline())
prober = make_prober(config.Probe(vantages=("qdhcp",), timeout=Duration(0.5), retries=0))
sweep = prober.probe([Target(name, ip) for name in names for ip in ("127.0.0.5", "127.255.255.255")])
print(json.dumps([[o.asked, o.alive] for o in sweep.outcomes.values()]), flush=True)
server.stop(1)
"""


def test_short_of_files_all_namespaces_are_asked_in_turns_and_http_is_answered_meanwhile() -> None:
    """400 namespaces, and 252 clients that keep an idle connection, have 256 files together."""
    with many_namespaces(400) as names, contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", SHORT_OF_FILES],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert process.stdin
        assert process.stdout
        port = int(process.stdout.readline())
        for _ in range(252):
            client = stack.enter_context(contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=10)))
            client.request("GET", "/-/healthy")
            assert client.getresponse().read() == b"ok"
        process.stdin.write(json.dumps(names) + "\n")
        process.stdin.flush()
        waits = []
        while not select.select([process.stdout], [], [], 0.1)[0]:
            started = time.monotonic()
            with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=10)) as newcomer:
                newcomer.request("GET", "/-/healthy")
                assert newcomer.getresponse().read() == b"ok"
            waits.append(time.monotonic() - started)
        outcomes = json.loads(process.stdout.readline())
    assert outcomes == [[True, True], [True, False]] * len(names)
    assert len(waits) > 5
    assert max(waits) < 5, waits  # on a quiet machine, 0.1 s


def test_a_full_neighbour_table_makes_nobody_silent() -> None:
    """The kernel keeps who has answered for half a minute: the others cannot be asked meanwhile."""
    guests = [f"10.0.{number // 250 + 1}.{number % 250 + 1}" for number in range(3000)]
    with room_for_neighbours(1024), Vantage("qdhcp", *guests) as vantage:
        overflows = neighbour_table.count_overflows()
        got = sweep(*map(vantage.target, guests), timeout=1)
        overflows = neighbour_table.count_overflows() - overflows
    asked = [outcome for outcome in got.outcomes.values() if outcome.asked]
    assert overflows > 0
    assert all(outcome.alive for outcome in asked)
    assert len(asked) > 500


def test_a_full_neighbour_table_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    guests = [f"10.0.{number // 250 + 1}.{number % 250 + 1}" for number in range(200)]
    probe = config.Probe(timeout=Duration(0.3), retries=0, vantages=("qdhcp",))
    with room_for_neighbours(64), Vantage("qdhcp", *guests) as vantage:
        network = vantage.name.partition("-")[2]
        port = Port(network, "", dict.fromkeys(guests, "subnet"), ())
        there = inventory(instance("a", *map(address, guests)), topology=Topology(ports={"a": (port,)}))
        snapshot = take_snapshot(there, prober=make_prober(probe), probe=probe)
    assert snapshot.sweep.overflows > 0
    assert "net.ipv4.neigh.default.gc_thresh3" in caplog.text
    assert snapshot.verdicts[0].alive
