"""Asking at layer 2: scripted guests that answer, lie or keep silent, and links that break."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fping_exporter.model import Layer2Doubt, Layer2Rejection, Layer2Sweep, Layer2Target
from fping_exporter.probe.layer2 import exchange
from fping_exporter.probe.layer2.sweep import Layer2Prober
from fping_exporter.probe.neighbour_table import count_overflows
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget, Turn
from tests.netns import need_root
from tests.probe.layer2.guests import BEHAVIOURS, Script
from tests.probe.layer2.world import ScriptedGuests, ask
from tests.probe.test_vantage import room_for_neighbours

pytestmark = pytest.mark.netns

PER_BEHAVIOUR = 10
SCRIPT = Script(
    1 + PER_BEHAVIOUR * len(BEHAVIOURS),
    exceptions={
        1 + PER_BEHAVIOUR * place + number: name
        for place, name in enumerate(BEHAVIOURS)
        for number in range(PER_BEHAVIOUR)
    },
)
"""Guests of every kind, and guest 0, which answers."""
FAMILIES = [pytest.param(False, id="IPv4"), pytest.param(True, id="IPv6")]


@pytest.fixture(autouse=True)
def _root() -> None:
    need_root()


@pytest.fixture(scope="module")
def crowd() -> Iterator[ScriptedGuests]:
    need_root()
    with ScriptedGuests(SCRIPT) as crowd:
        yield crowd


@pytest.fixture
def guests() -> Iterator[ScriptedGuests]:
    with ScriptedGuests(Script(3000)) as guests:
        yield guests


def wrong(got: Layer2Sweep, targets: list[Layer2Target], script: Script) -> list[Layer2Target]:
    """The targets of which something else is said than the truth."""
    return [
        target
        for number, target in enumerate(targets)
        if got.alive.get(target) is not BEHAVIOURS[script.exceptions.get(number, script.behaviour)].alive
    ]


@pytest.mark.parametrize("six", FAMILIES)
def test_every_kind_of_guest_in_one_sweep(crowd: ScriptedGuests, six: bool) -> None:  # noqa: FBT001
    targets = crowd.targets(six=six)
    got = ask(targets)
    assert wrong(got, targets, SCRIPT) == []
    assert got.received == sum(got.alive.values())


@pytest.mark.parametrize("six", FAMILIES)
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_kind_of_guest(crowd: ScriptedGuests, name: str, six: bool) -> None:  # noqa: FBT001
    """Each is asked beside one that answers, and what does not count is counted by kind."""
    first = 1 + PER_BEHAVIOUR * list(BEHAVIOURS).index(name)
    there = [0, *range(first, first + PER_BEHAVIOUR)]
    targets = crowd.targets(*there, six=six)
    got = ask(targets, timeout=0.25)
    behaviour = BEHAVIOURS[name]
    alive = behaviour.alive
    expected = {target: alive or number == 0 for number, target in zip(there, targets, strict=True)}
    assert got.alive == {target: word for target, word in expected.items() if word or alive is not None}
    counted = behaviour.rejection and (6 if six else 4) in behaviour.families
    rounds = 1 if alive else 2
    assert got.rejected == ({behaviour.rejection: rounds * PER_BEHAVIOUR} if counted else {})


@pytest.mark.parametrize("six", FAMILIES)
def test_an_answer_that_comes_too_late(six: bool) -> None:  # noqa: FBT001
    """While the sweep goes on with others, and before the guest is asked again."""
    with ScriptedGuests(Script(40, "answers after 0.7 s", once=True)) as slow:
        targets = slow.targets(six=six)
        got = ask(targets, timeout=0.4, rate=20)
    assert got.alive == {}, "nobody knows: they live, or did a moment ago"
    assert got.rejected == {Layer2Rejection.LATE: 40}


@pytest.mark.parametrize("six", FAMILIES)
def test_twenty_sweeps_of_five_thousand_without_a_wrong_verdict(six: bool) -> None:  # noqa: FBT001
    script = Script(5000, exceptions=dict.fromkeys(range(0, 5000, 10), "dead"))
    with ScriptedGuests(script) as guests:
        targets = guests.targets(six=six)
        for _ in range(20):
            got = ask(targets, timeout=0.4)
            assert wrong(got, targets, script) == []
            assert (got.sent, got.received) == (5500, 4500)
            assert got.duration < 5500 / 20_000 + 2 * 0.4 + 2  # the benchmark judges the mark of 0.3


def test_both_families_and_several_vantages_at_once() -> None:
    script = Script(200, exceptions={3: "dead"})
    with ScriptedGuests(script) as one, ScriptedGuests(script, "qrouter") as other:
        targets = [*one.targets(), *other.targets(six=True), *one.targets(3, six=True), *other.targets(3)]
        got = ask(targets, timeout=0.3)
    assert got.alive == {target: not target.mac.endswith(":03") for target in targets}
    assert got.trusted == {"qdhcp": True, "qrouter": True}


def test_links_have_their_turn_where_few_sockets_may_be_open() -> None:
    """A vantage with two links counts as two, and one without any as none."""
    script = Script(20, exceptions={3: "dead"})
    with (
        ScriptedGuests(script) as one,
        ScriptedGuests(script) as two,
        ScriptedGuests(script, addresses=()) as none,
    ):
        two.ip(
            "link add more0 type veth peer name more1",
            "link set more0 up",
            "link set more1 up",
            "addr add 192.0.2.1/24 dev more0",
        )
        beyond = Layer2Target(two.name, "192.0.2.7", "fa:16:3e:00:00:01")
        targets = [*one.targets(), *two.targets(), *one.targets(six=True)]
        prober = Layer2Prober(timeout=0.3, pacer=Pacer(rate=20_000), sockets=SocketBudget(1), decoys=False)
        got = prober.probe([*targets, beyond, *none.targets()])
    assert got.alive == {target: not target.mac.endswith(":03") for target in targets} | {beyond: False}
    assert 3 * 0.6 < got.duration < 6


class CountedTurns(SocketBudget):
    """Counts the turns of the sweeps."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.turns = 0

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        self.turns += 1
        with super().turn() as turn:
            yield turn


def test_all_links_of_a_vantage_have_the_same_turn() -> None:
    """A router has an interface for each of its networks, and two for one with both families."""
    budget = CountedTurns(2)
    with ScriptedGuests(Script(1)) as world:
        world.ip(
            "link add more0 type veth peer name more1",
            "link set more0 up",
            "link set more1 up",
            "addr add 192.0.2.1/24 dev more0",
        )
        beyond = Layer2Target(world.name, "192.0.2.7", "fa:16:3e:00:00:01")
        prober = Layer2Prober(timeout=0.3, pacer=Pacer(rate=1000), sockets=budget, decoys=False)
        got = prober.probe([*world.targets(), beyond])
    assert got.alive == dict.fromkeys(world.targets(), True) | {beyond: False}
    assert budget.turns == 1


def test_three_thousand_silent_guests_leave_the_neighbour_table_alone() -> None:
    """At the default limit of 1024, pings to as many would find no room."""
    with room_for_neighbours(1024), ScriptedGuests(Script(3000, "dead")) as guests:
        before = count_overflows(), guests.run("ip", "neigh").stdout
        for six in (False, True):
            targets = guests.targets(six=six)
            assert ask(targets, timeout=0.3).alive == dict.fromkeys(targets, False)
        assert (count_overflows(), guests.run("ip", "neigh").stdout) == before
    assert guests.seen["arp"] == guests.seen["nd"] == 6000
    assert guests.seen["to all"] == 0


def test_the_rate_limit_holds(guests: ScriptedGuests) -> None:
    targets = guests.targets(*range(1, 501))
    got = ask(targets, rate=1000)
    assert sum(got.alive.values()) == 500
    assert 0.45 < got.duration < 3


def later(seconds: float, action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


BREAKS: dict[str, Callable[[ScriptedGuests], object]] = {
    "the interface is down": lambda world: world.ip("link set tap0 down"),
    "the interface has no carrier": lambda world: world.far.ip("link set eth0 down"),
    "No such device": lambda world: world.ip("link del tap0"),
    "the interface's MAC address changed": lambda world: world.ip("link set tap0 address fa:16:3e:ee:ee:ee"),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_link_that_breaks_in_the_middle(
    guests: ScriptedGuests, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """Who has answered is alive; nobody is dead."""
    timer = later(0.3, lambda: BREAKS[fault](guests))
    got = ask(guests.targets(), rate=2000)
    timer.join()
    assert 0 < len(got.alive) < 2000
    assert all(got.alive.values())
    silent = set(guests.targets()) - got.alive.keys()
    assert got.doubtful == dict.fromkeys(silent, Layer2Doubt.LINK)
    assert "not everybody could be asked at layer 2" in caplog.text
    assert got.duration < 5
    again = ask(guests.targets(), rate=5000) if "MAC" not in fault else None
    assert again is None or again.alive == {}
    assert again is None or again.duration < 3


def test_an_interface_that_is_there_again_is_asked_again(guests: ScriptedGuests) -> None:
    targets = guests.targets(1, 2)
    guests.far.ip("link set eth0 down")
    assert ask(targets).alive == {}
    guests.far.ip("link set eth0 up")
    assert ask(targets).alive == dict.fromkeys(targets, True)


def test_a_carrier_that_is_away_for_a_while_makes_nobody_dead() -> None:
    """It is back before the round ends, and who was asked meanwhile was not."""
    script = Script(1000, exceptions={999: "dead"})
    with ScriptedGuests(script) as guests:

        def flap() -> None:
            guests.far.ip("link set eth0 down", "link set eth0 up")

        timer = later(0.2, flap)
        got = ask(guests.targets(), rate=2000, timeout=0.4)
        timer.join()
        assert got.alive
        assert all(got.alive.values())


def slow(rate: str, limit: str) -> list[str]:
    return ["rate", rate, "burst", "1600", "limit", limit]


def test_a_queue_that_is_full_for_a_while(guests: ScriptedGuests) -> None:
    guests.run(
        "tc",
        "qdisc",
        "add",
        "dev",
        "tap0",
        "root",
        "tbf",
        *["rate", "1mbit", "burst", "1600", "limit", "3000"],
    )
    targets = guests.targets(*range(1, 1001))
    got = ask(targets, rate=50_000)
    assert got.alive == dict.fromkeys(targets, True)


def test_a_queue_that_stays_full_makes_nobody_dead(guests: ScriptedGuests) -> None:
    guests.run("tc", "qdisc", "add", "dev", "tap0", "root", "tbf", *slow("8bit", "1"))
    got = ask(guests.targets(), rate=50_000)
    assert got.alive == {}
    assert got.duration < exchange._PATIENCE  # noqa: SLF001, the promise that every wait ends


def test_a_namespace_that_is_gone_costs_its_own_targets(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedGuests(Script(3)) as one, ScriptedGuests(Script(3)) as gone:
        subprocess.run(["ip", "netns", "del", gone.name], check=True)
        got = ask([*one.targets(), *gone.targets()])
        assert got.alive == dict.fromkeys(one.targets(), True)
        assert f"the network namespace {gone.name} is gone" in caplog.text


@pytest.mark.parametrize(
    ("ip", "mac"),
    [
        ("192.0.2.7", "fa:16:3e:00:00:01"),
        ("10.0.1.1", ""),
        ("10.0.1.1", "ff:ff:ff:ff:ff:ff"),
        ("10.0.1.1", "01:00:5e:00:00:01"),
        ("10.0.1.1", "00:00:00:00:00:00"),
        ("10.0.1.1", "fa:16:3e:00:00"),
        ("10.0.1.1", "fa:16:3e:00:00:0g"),
        ("odd", "fa:16:3e:00:00:01"),
        ("::odd", "fa:16:3e:00:00:01"),
    ],
)
def test_what_cannot_be_asked_is_unknown(guests: ScriptedGuests, ip: str, mac: str) -> None:
    got = ask([Layer2Target(guests.name, ip, mac)])
    assert got.alive == {}
    assert got.doubtful == {}
    assert got.sent == 0


def test_without_the_right_it_says_so_once_and_nothing_is_known() -> None:
    program = """
import sys
from fping_exporter.model import Layer2Target
from fping_exporter.probe.layer2.sweep import Layer2Prober
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget
prober = Layer2Prober(timeout=0.1, pacer=Pacer(rate=1000), sockets=SocketBudget(9))
for _ in range(2):
    print(prober.probe([Layer2Target(name, "10.0.1.1", "fa:16:3e:00:00:01") for name in sys.argv[1:]]))
"""
    with ScriptedGuests(Script(3)) as one, ScriptedGuests(Script(3)) as other:
        done = subprocess.run(
            ["setpriv", "--bounding-set=-net_raw", sys.executable, "-c", program, one.name, other.name],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.count("alive={}") == 2
    assert done.stderr.count("CAP_NET_RAW") == 1


def test_no_socket_is_left(guests: ScriptedGuests) -> None:
    ask(guests.targets(1))
    before = sorted(entry.name for entry in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        ask([*guests.targets(1), Layer2Target("qdhcp-none", "10.0.0.1", "fa:16:3e:00:00:01")])
    assert sorted(entry.name for entry in Path("/proc/self/fd").iterdir()) == before


def test_where_files_are_short_links_wait_for_each_other(guests: ScriptedGuests) -> None:
    """And where not even one can be opened, nothing waits for ever."""
    program = """
import resource, sys
from fping_exporter.model import Layer2Target
from fping_exporter.probe.layer2.sweep import Layer2Prober
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget
targets = [Layer2Target(name, "10.0.1.1", "fa:16:3e:00:00:01") for name in sys.argv[1:]]
prober = Layer2Prober(timeout=0.2, pacer=Pacer(rate=1000), sockets=SocketBudget(9), decoys=False)
print(sum(prober.probe(targets).alive.values()))
for files in range(4, 14):
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, 64))
    print(files, sum(prober.probe(targets).alive.values()), file=sys.stderr)
"""
    with ScriptedGuests(Script(3)) as one, ScriptedGuests(Script(3)) as other:
        done = subprocess.run(
            [sys.executable, "-c", program, guests.name, one.name, other.name],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert done.stdout == "3\n"
    counts = [int(line.split()[1]) for line in done.stderr.splitlines() if line[0].isdigit()]
    assert counts[0] == 0
    assert counts[-1] == 3
    assert "may open no more files" in done.stderr
