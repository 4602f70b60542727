"""Counters, the histogram and chosen labels, as Prometheus's own library reads them."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fping_exporter import config
from fping_exporter.config.labels import check_labels
from fping_exporter.metrics.exposition import EMPTY, Exposition, Shard, render
from fping_exporter.metrics.ping_counts import BOUNDS, PingCounts, Pings
from fping_exporter.model import NOT_ASKED, Outcome, Snapshot
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.plan import plan
from tests.build import SILENT, instance, inventory, sweep

COUNTERS = config.Metrics(counters=True)
CLOUD = inventory(
    instance("a", "10.0.0.1", "10.0.0.2", hypervisor="h1"),
    instance("b", "10.0.0.3", hypervisor="h1"),
    instance("c", hypervisor="h2"),
)


def swept(**outcomes: Outcome) -> Snapshot:
    """One sweep; the keywords are a1, a2 and b for the three addresses."""
    names = {"a1": "10.0.0.1", "a2": "10.0.0.2", "b": "10.0.0.3"}
    told = {ip: outcomes.get(name, NOT_ASKED) for name, ip in names.items()}
    return judge(CLOUD, targets=plan(CLOUD.instances, CLOUD.topology, config.Probe()), sweep=sweep(told))


def after(*snapshots: Snapshot) -> Exposition:
    exposition = EMPTY
    for snapshot in snapshots:
        exposition = render(snapshot, before=exposition, metrics=COUNTERS)
    return exposition


def samples(exposition: Exposition, *names: str) -> dict[tuple[str, ...], float]:
    """Return the values, by the name of the sample and the values of its labels."""
    text = b"".join(exposition.plain(names=names)).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def test_packets_to_the_best_address_are_counted() -> None:
    first = swept(a1=SILENT, a2=Outcome(sent=3, received=2, rtt=0.01), b=SILENT)
    second = swept(a1=Outcome(sent=1, received=1, rtt=0.0002), b=SILENT)
    sent, lost = "instance_pings_sent_total", "instance_pings_lost_total"
    found = samples(after(first, second), sent, lost)
    assert found == {
        (sent, "a", "p"): 4,
        (lost, "a", "p"): 1,
        (sent, "b", "p"): 2,
        (lost, "b", "p"): 2,
    }


def test_what_was_not_asked_counts_nothing_and_loses_nothing() -> None:
    found = samples(after(swept(b=SILENT), swept()), "instance_pings_lost_total")
    assert found == {("instance_pings_lost_total", "b", "p"): 1}


def test_round_trips_fall_into_the_buckets_of_their_hypervisor() -> None:
    first = swept(a1=Outcome(sent=1, received=1, rtt=0.001), b=Outcome(sent=1, received=1, rtt=0.0011))
    second = swept(a1=Outcome(sent=1, received=1, rtt=5.0))
    found = samples(after(first, second), "hypervisor_rtt_seconds")
    name = "hypervisor_rtt_seconds"
    assert {key[2]: value for key, value in found.items() if key[0] == f"{name}_bucket"} == {
        str(bound): 0 if bound < 0.001 else 1 if bound < 0.002 else 2 for bound in BOUNDS
    } | {"+Inf": 3}
    assert found[f"{name}_count", "h1"] == 3
    assert found[f"{name}_sum", "h1"] == pytest.approx(5.0021)
    assert not any("h2" in key for key in found)


def test_counting_goes_on_over_a_reload_and_ends_when_it_is_switched_off() -> None:
    silent = swept(b=SILENT)
    name = "instance_pings_sent_total"
    on = after(silent)
    assert samples(render(silent, before=on, metrics=COUNTERS), name) == {(name, "b", "p"): 2}
    off = render(silent, before=on)
    assert samples(off, name) == {}
    assert samples(render(silent, before=off, metrics=COUNTERS), name) == {(name, "b", "p"): 1}


class Read:
    """What prometheus_client reads in our text."""

    def __init__(self, exposition: Exposition, *, openmetrics: bool) -> None:
        self.text = b"".join(exposition.plain(openmetrics=openmetrics)).decode()
        self.parse = parse_openmetrics if openmetrics else parse_text

    def collect(self) -> list[object]:
        return list(self.parse(self.text + "# EOF\n"))


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_text_is_that_of_prometheus_client(openmetrics: bool) -> None:  # noqa: FBT001, a parameter of the test
    exposition = after(swept(a1=Outcome(sent=2, received=1, rtt=0.003), b=SILENT))
    registry = CollectorRegistry()
    registry.register(read := Read(exposition, openmetrics=openmetrics))  # type: ignore[arg-type]
    if openmetrics:
        assert read.text + "# EOF\n" == generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    else:
        assert read.text == generate_latest(registry).decode()
    assert f"# TYPE instance_pings_sent{'' if openmetrics else '_total'} counter\n" in read.text
    parts = [b"".join(exposition.plain(shard=Shard(n, 2), openmetrics=openmetrics)) for n in range(2)]
    assert all(f"instance_pings_sent{'' if openmetrics else '_total'} counter\n".encode() in p for p in parts)


OUTCOMES = st.sampled_from((NOT_ASKED, SILENT, Outcome(sent=3, received=1, rtt=0.01)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.builds(swept, a1=OUTCOMES, a2=OUTCOMES, b=OUTCOMES), min_size=2, max_size=6))
def test_counters_never_fall(snapshots: Sequence[Snapshot]) -> None:
    counts = [PingCounts()]
    for snapshot in snapshots:
        counts.append(counts[-1].after(snapshot))
    for before, now in pairwise(counts):
        for id_, pings in before.instances.items():
            assert all(new >= old for new, old in zip(now.instances[id_], pings, strict=True))
        assert all(pings.lost <= pings.sent for pings in now.instances.values())
    sent = [
        probed.outcome.sent
        for snapshot in snapshots
        for probed in snapshot.verdicts[1].probed
        if probed.outcome
    ]
    assert counts[-1].instances.get("b", Pings()).sent == sum(sent)


def test_no_label_can_be_chosen_that_the_metric_has() -> None:
    text = b"".join(render(swept()).plain(names=["instance_info"])).decode()
    [labels] = {tuple(sample.labels) for family in parse_text(text) for sample in family.samples}
    for label in labels:
        with pytest.raises(ValueError, match=f"{label}: is taken"):
            check_labels({label: "flavor.name"})


LABELS = {"team": "metadata.team", "a_first": "flavor.name"}


def test_chosen_labels_come_in_order_with_the_others_and_change_with_a_reload() -> None:
    shop = instance("a", metadata={"team": 'the "shop"'}, flavor="m1", hypervisor="h")
    there = inventory(shop, instance("b"))
    snapshot = judge(there, targets={}, sweep=sweep({}))
    plainly = render(snapshot)
    chosen = render(snapshot, before=plainly, labels=LABELS)
    lines = b"".join(chosen.plain(names=["instance_info"])).decode().splitlines()[2:]
    assert [line[: len('instance_info{a_first="m1",')] for line in lines] == [
        'instance_info{a_first="m1",',
        'instance_info{a_first="",ad',
    ]
    assert 'task_state="",team="the \\"shop\\""} 1.0' in lines[0]
    without = {
        name for name, text in chosen.families.items() if text.samples is plainly.families[name].samples
    }
    assert plainly.families.keys() - without == {"instance_info"}
    moved = msgspec.structs.replace(snapshot)
    assert b"".join(render(moved, before=chosen, labels={}).plain()) == b"".join(plainly.plain())
