"""What both engines owe their callers, across a network namespace and against a scripted network.

Where multiping cannot hold a point, the test says so and why, and must fail: ``multiping_fails``.
"""

import subprocess
import threading
import time
from collections.abc import Iterator

import icmplib  # type: ignore[import-untyped]
import pytest

from fping_exporter.model import LOCAL, NOT_ASKED, IcmpError, Outcome, Sweep, Target
from fping_exporter.probe.batches import Batches
from fping_exporter.probe.sockets import Kind
from tests.netns import Network, Tun
from tests.probe.engines import ENGINES, Engine
from tests.probe.script import (
    DELAY,
    NETWORKS,
    REORDERED,
    Part,
    Script,
    addresses,
    error_about_other_then_reply,
    error_then_reply,
    error_with_other_cookie_then_reply,
    errors_that_quote_nothing,
    late,
    no_cookie,
    other_cookie,
    other_ident,
    other_sequence,
    reply_from_other,
    second_time_only,
    short_error,
    three_times,
    very_late_and_once,
    wrong_checksum,
    wrong_checksum_of_error,
)

pytestmark = pytest.mark.netns

SILENT = ("10.64.255.1", "fd64::ff01")
SLACK = 1.0
"""Seconds by which a busy machine may be late, above all while coverage is measured."""
REJECTED = ("10.64.255.2", "fd64::ff02")
REPORTERS = ("10.64.255.2", "fd63::2")
"""Who says so: of IPv4, the kernel speaks for the address itself."""
ALIVE = ("10.64.200.1", "fd64::1")
NO_ROUTE = ("198.51.100.1", "2001:db8::1")
MANY = [f"10.64.{number // 250}.{number % 250 + 1}" for number in range(5000)]
MANY_SILENT = frozenset(MANY[::10])
MANY_REJECTED = frozenset(MANY[5::50])


@pytest.fixture(scope="module", autouse=True)
def _roles(network: Network) -> None:
    network.silence([*SILENT, *MANY_SILENT])
    network.reject([*REJECTED, *MANY_REJECTED])


@pytest.fixture
def script(network: Network) -> Iterator[Script]:
    script = Script()
    with Tun(network.near, script, networks=NETWORKS):
        yield script


@pytest.fixture(params=ENGINES, ids=str)
def engine(request: pytest.FixtureRequest, network: Network) -> Iterator[Engine]:
    engine: Engine = request.param
    engine.prepare(network.near)
    with network.near.entered():
        yield engine


def verdicts(sweep: Sweep) -> dict[str, bool]:
    return {target.ip: outcome.alive for target, outcome in sweep.outcomes.items()}


def test_who_answers_is_alive_and_who_does_not_is_not(engine: Engine) -> None:
    start = time.time()
    sweep = engine.probe([*ALIVE, *SILENT])
    assert verdicts(sweep) == {**dict.fromkeys(ALIVE, True), **dict.fromkeys(SILENT, False)}
    assert (sweep.sent, sweep.received) == (4, 2)
    assert start <= sweep.started_at < time.time() - 0.3
    assert 0.39 < sweep.duration < 0.4 + SLACK
    for target, outcome in sweep.outcomes.items():
        assert outcome.sent == 1
        assert not outcome.unreachable
        if target.ip in ALIVE:
            assert outcome.rtt is not None
            assert 0 < outcome.rtt < 0.3
        else:
            assert outcome.rtt is None


def test_nobody_waits_once_all_have_answered(engine: Engine) -> None:
    assert engine.probe(ALIVE, timeout=5).duration < SLACK


def test_no_targets_is_an_empty_sweep(engine: Engine) -> None:
    sweep = engine.probe([])
    assert sweep.outcomes == {}
    assert sweep.sent == 0


def test_a_routers_word_makes_a_target_unreachable_at_once(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    engine.multiping_fails(request, "drops what an ICMP error says")
    sweep = engine.probe(REJECTED, timeout=5)
    assert sweep.outcomes == {
        Target(LOCAL, ip): Outcome(
            sent=1, received=0, rtt=None, unreachable=True, error=IcmpError(reporter, *type_and_code)
        )
        for ip, reporter, type_and_code in zip(REJECTED, REPORTERS, ((3, 1), (1, 3)), strict=True)
    }
    assert sweep.duration < SLACK


def test_a_neighbour_that_does_not_answer_is_unreachable(
    engine: Engine, network: Network, request: pytest.FixtureRequest
) -> None:
    engine.multiping_fails(request, "drops what an ICMP error says")
    network.near.sysctl(ipv4__neigh__veth0__retrans_time_ms="50", ipv6__neigh__veth0__retrans_time_ms="50")
    absent = ("10.63.0.77", "fd63::77")
    sweep = engine.probe([*absent, *ALIVE], timeout=2)
    assert verdicts(sweep) == {**dict.fromkeys(absent, False), **dict.fromkeys(ALIVE, True)}
    assert all(sweep.outcomes[Target(LOCAL, ip)].unreachable for ip in absent)
    assert sweep.duration < 1.5


def test_a_target_without_a_route_costs_nobody_else(engine: Engine) -> None:
    sweep = engine.probe([*NO_ROUTE, *ALIVE])
    assert verdicts(sweep) == {**dict.fromkeys(NO_ROUTE, False), **dict.fromkeys(ALIVE, True)}
    for ip in NO_ROUTE:
        assert sweep.outcomes[Target(LOCAL, ip)] == NOT_ASKED


def test_a_firewall_that_forbids_one_target_costs_nobody_else(engine: Engine, network: Network) -> None:
    network.near.nft(
        "add table inet out\n"
        "add chain inet out output { type filter hook output priority 0; }\n"
        "add rule inet out output ip daddr 10.64.201.9 drop\n"
    )
    try:
        sweep = engine.probe(["10.64.201.9", *ALIVE])
    finally:
        network.near.nft("delete table inet out")
    assert verdicts(sweep) == {"10.64.201.9": False, **dict.fromkeys(ALIVE, True)}
    assert sweep.outcomes[Target(LOCAL, "10.64.201.9")] == NOT_ASKED


def test_without_ipv6_only_its_targets_are_lost(engine: Engine, network: Network) -> None:
    network.near.sysctl(ipv6__conf__all__disable_ipv6="1")
    try:
        sweep = engine.probe(ALIVE)
    finally:
        network.near.sysctl(ipv6__conf__all__disable_ipv6="0")
        network.near.ip("addr add fd63::1/64 dev veth0 nodad", "route add fd64::/64 via fd63::2")
    assert verdicts(sweep) == {ALIVE[0]: True, ALIVE[1]: False}


@pytest.mark.parametrize("ip", ["garbage", "localhost", "", "1.2.3", "10.64.200.1\0", "fe80::1%veth0", "::g"])
def test_what_is_no_address_is_not_asked(engine: Engine, ip: str) -> None:
    sweep = engine.probe([ip, ALIVE[0]])
    assert verdicts(sweep) == {ip: False, ALIVE[0]: True}
    assert sweep.outcomes[Target(LOCAL, ip)] == NOT_ASKED


def test_an_address_is_asked_once_however_it_is_written(engine: Engine, script: Script) -> None:
    ips = ["fd65::1", "fd65:0::1", "FD65::1", "10.65.0.1", "10.65.0.1"]
    sweep = engine.probe(ips)
    assert verdicts(sweep) == dict.fromkeys(ips, True)
    assert script.asked == {"fd65::1": 1, "10.65.0.1": 1}
    assert (sweep.sent, sweep.received) == (2, 2)


@pytest.mark.parametrize("part", [other_ident, other_sequence, errors_that_quote_nothing])
def test_a_reply_with_another_identifier_or_sequence_does_not_count(
    engine: Engine, script: Script, part: Part
) -> None:
    ips = addresses(part)
    assert verdicts(engine.probe(ips)) == dict.fromkeys(ips, False)
    assert script.asked == dict.fromkeys(ips, 1)


@pytest.mark.usefixtures("script")
def test_a_reply_from_another_address_does_not_count(engine: Engine, request: pytest.FixtureRequest) -> None:
    engine.multiping_fails(request, "takes another host's reply for a dead one's")
    ips = addresses(reply_from_other)
    assert verdicts(engine.probe(ips)) == dict.fromkeys(ips, False)


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize("part", [other_cookie, no_cookie])
def test_a_reply_without_the_cookie_does_not_count(
    engine: Engine, request: pytest.FixtureRequest, part: Part
) -> None:
    engine.multiping_fails(request, "does not compare the payload")
    ips = addresses(part)
    assert verdicts(engine.probe(ips)) == dict.fromkeys(ips, False)


@pytest.mark.usefixtures("script")
def test_a_message_with_a_wrong_checksum_does_not_count(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    engine.multiping_fails(request, "does not look at the checksum", only=Kind.RAW)
    ips = addresses(wrong_checksum, wrong_checksum_of_error)
    sweep = engine.probe(ips)
    assert verdicts(sweep) == dict.fromkeys(ips, False)
    assert not any(outcome.unreachable for outcome in sweep.outcomes.values())
    # The kernel drops the others itself: those of IPv6, and all for datagram sockets.
    counted = engine.name == "sweep" and engine.kind is Kind.RAW
    assert sweep.rejected == ({"checksum": 2} if counted else {})


@pytest.mark.usefixtures("script")
def test_what_is_rejected_is_counted_by_reason(engine: Engine, request: pytest.FixtureRequest) -> None:
    engine.multiping_fails(request, "does not tell what it rejects")
    parts = (reply_from_other, other_cookie, other_sequence, three_times, error_with_other_cookie_then_reply)
    sweep = engine.probe(addresses(*parts))
    # The source of the forged reply was not asked; one with another identifier is never seen.
    assert sweep.rejected == {"source": 2, "cookie": 2, "sequence": 2, "duplicate": 4, "error": 2}


@pytest.mark.usefixtures("script")
def test_duplicates_count_once(engine: Engine) -> None:
    ips = addresses(three_times)
    sweep = engine.probe(ips, count=2)
    for ip in ips:
        outcome = sweep.outcomes[Target(LOCAL, ip)]
        assert (outcome.sent, outcome.received) == (2, 2)


@pytest.mark.usefixtures("script")
def test_delay_shows_in_the_round_trip(engine: Engine) -> None:
    for outcome in engine.probe(addresses(late)).outcomes.values():
        assert outcome.rtt is not None
        assert 0.99 * DELAY < outcome.rtt < DELAY + SLACK


@pytest.mark.usefixtures("script")
def test_replies_may_come_in_any_order(engine: Engine) -> None:
    ips = addresses(*REORDERED)
    assert verdicts(engine.probe(ips, timeout=1)) == dict.fromkeys(ips, True)


def test_a_lost_packet_is_made_up_for_by_a_retry_and_shows_as_loss(engine: Engine, script: Script) -> None:
    ips = addresses(second_time_only)
    sweep = engine.probe([*ips, *SILENT, *ALIVE], retries=2)
    for ip in ips:
        outcome = sweep.outcomes[Target(LOCAL, ip)]
        assert (outcome.alive, outcome.sent, outcome.received) == (True, 2, 1)
    for ip in SILENT:
        assert sweep.outcomes[Target(LOCAL, ip)].sent == 3
    for ip in ALIVE:
        assert sweep.outcomes[Target(LOCAL, ip)].sent == 1
    assert script.asked == dict.fromkeys(ips, 2)


@pytest.mark.usefixtures("script")
def test_a_reply_after_its_time_counts_while_the_sweep_goes_on(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    engine.multiping_fails(request, "closes the socket when a packet's time is up")
    ips = addresses(very_late_and_once)
    sweep = engine.probe(ips, timeout=2 * DELAY, retries=1)
    for ip in ips:
        outcome = sweep.outcomes[Target(LOCAL, ip)]
        assert (outcome.sent, outcome.received) == (2, 1)
        assert outcome.rtt is not None
        assert 2.99 * DELAY < outcome.rtt < 3 * DELAY + SLACK


@pytest.mark.usefixtures("script")
def test_a_reply_after_an_error_is_a_proof_of_life(engine: Engine, request: pytest.FixtureRequest) -> None:
    engine.multiping_fails(request, "gives a packet up at the first error", only=Kind.RAW)
    ips = addresses(error_then_reply)
    # The silent ones keep the sweep waiting for longer than the reply takes.
    sweep = engine.probe([*ips, *SILENT])
    assert verdicts(sweep) == {**dict.fromkeys(ips, True), **dict.fromkeys(SILENT, False)}
    assert not any(sweep.outcomes[Target(LOCAL, ip)].unreachable for ip in ips)


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize("part", [error_about_other_then_reply, error_with_other_cookie_then_reply])
def test_an_error_that_does_not_quote_our_packet_is_not_believed(
    engine: Engine, request: pytest.FixtureRequest, part: Part
) -> None:
    engine.multiping_fails(request, "compares nothing but identifier and sequence", only=Kind.RAW)
    ips = addresses(part)
    assert verdicts(engine.probe(ips)) == dict.fromkeys(ips, True)


@pytest.mark.usefixtures("script")
def test_an_error_may_quote_the_bare_minimum(engine: Engine, request: pytest.FixtureRequest) -> None:
    engine.multiping_fails(request, "drops what an ICMP error says")
    assert all(o.unreachable for o in engine.probe(addresses(short_error)).outcomes.values())


def test_5000_targets_without_one_wrong_verdict(engine: Engine) -> None:
    dead = MANY_SILENT | MANY_REJECTED
    truth = {ip: ip not in dead for ip in MANY}
    # multiping takes ten times as long, and up to a second for a reply when the processor is busy.
    sweeps, timeout = (
        (1, 1.5) if engine.name == "multiping" else (20 if engine.transport is Batches else 2, 0.4)
    )
    prober = engine.make(timeout=timeout)
    asked = [Target(LOCAL, ip) for ip in MANY]
    for _ in range(sweeps):
        sweep = prober.probe(asked)
        assert verdicts(sweep) == truth
        assert (sweep.sent, sweep.received) == (len(MANY), len(MANY) - len(dead))


def test_sweeps_at_the_same_time_do_not_mix(engine: Engine) -> None:
    prober = engine.make(timeout=0.4 if engine.name == "sweep" else 1.5)  # as above
    ips = [*MANY[:60], *ALIVE]
    results: list[dict[str, bool]] = []

    def sweep() -> None:
        results.append(verdicts(prober.probe([Target(LOCAL, ip) for ip in ips])))

    threads = [threading.Thread(target=sweep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dead = MANY_SILENT | MANY_REJECTED
    assert results == [{ip: ip not in dead for ip in ips}] * 8


def test_the_rate_holds(engine: Engine, script: Script) -> None:
    ips = addresses(*REORDERED)
    sweep = engine.make(rate=400, timeout=1).probe([Target(LOCAL, ip) for ip in ips])
    assert 0.35 < sweep.duration < 0.6 + SLACK
    assert sum(script.asked.values()) == len(ips)


def test_an_unknown_vantage_costs_only_its_own_targets(engine: Engine) -> None:
    elsewhere, here = Target("tenant", ALIVE[0]), Target(LOCAL, ALIVE[0])
    sweep = engine.make().probe([elsewhere, here])
    assert sweep.outcomes[elsewhere] == NOT_ASKED
    assert sweep.outcomes[here].alive


def test_fping_icmplib_and_the_engine_agree(engine: Engine) -> None:
    ips = [*MANY[:200], *ALIVE, *SILENT]
    fping = subprocess.run(
        ["fping", "-a", "-q", "-r0", "-t500", "-i0", *ips], capture_output=True, text=True, check=False
    )
    privileged = engine.kind is Kind.RAW
    hosts = icmplib.multiping(ips, count=1, timeout=0.5, privileged=privileged)
    ours = {ip for ip, alive in verdicts(engine.probe(ips)).items() if alive}
    assert ours == set(fping.stdout.split()) == {host.address for host in hosts if host.is_alive}
