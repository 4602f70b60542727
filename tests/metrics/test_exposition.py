"""The exposition: the contract, byte for byte what prometheus_client would print."""

import random
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from fping_exporter import config
from fping_exporter.history import History
from fping_exporter.metrics import families
from fping_exporter.metrics.exposition import BUCKETS, EMPTY, WHOLE, Shard, render
from fping_exporter.model import (
    NOT_ASKED,
    Hypervisor,
    Layer2Sweep,
    Outcome,
    Port,
    Probed,
    Project,
    Snapshot,
    Target,
    Topology,
    Verdict,
)
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.layer2 import plan_layer2
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, SILENT, UNREACHABLE, address, instance, inventory, sweep
from tests.exposition import metrics, text

INFO = families.info_family({})
GOLDEN = Path(__file__).parents[1] / "golden" / "instances.prom"


def example() -> Snapshot:
    """One instance of every kind that there is."""
    there = inventory(
        instance(
            "6ce1-alive",
            "10.0.0.5",
            address("192.0.2.5", kind="floating"),
            name="web",
            hypervisor="c1.example.com",
            host="c1",
            power_state="RUNNING",
            availability_zone="az1",
            project_id="5fa0",
            launched_at=1_795_300_000.0,
        ),
        instance(
            "6ce2-silent",
            address("10.0.0.6", mac="fa:16:3e:00:00:06"),
            hypervisor="c1.example.com",
            project_id="5fa0",
        ),
        instance("6ce3-unreachable", "fd00::7", name='a "b" \\ c\nd', project_id="5fa0"),
        instance("6ce4-no-address", project_id="77aa"),
        instance("6ce5-off", "10.0.0.8", status="SHUTOFF", task_state="powering-on", project_id="77aa"),
        instance("6ce6-off-and-alive", "10.0.0.9", status="SHUTOFF", project_id="77aa"),
        instance("6ce7-blocked", address("10.0.0.10", mac="fa:16:3e:00:00:0a"), project_id="77aa"),
        instance("6ce8-no-vantage", "10.0.0.11", project_id="77aa"),
        instance("6ce9-ignoring", address("10.0.0.12", mac="fa:16:3e:00:00:0c"), project_id="77aa"),
        projects=(Project("5fa0", "shop", "default"), Project("00", "without instances", "default")),
        hypervisors=(Hypervisor("c1.example.com", up=True), Hypervisor("c2", up=False)),
        contacts={"5fa0": "shop@example.org,ops@example.org", "00": "nobody@example.org"},
        topology=Topology(
            ports={"6ce7-blocked": (Port("n", "fa:16:3e:00:00:0a", {"10.0.0.10": "s"}, ("none",)),)},
            rules={"none": ()},
        ),
    )
    outcomes = {
        "10.0.0.5": SILENT,
        "192.0.2.5": Outcome(sent=3, received=2, rtt=0.000_073),
        "10.0.0.6": SILENT,
        "fd00::7": UNREACHABLE,
        "10.0.0.8": SILENT,
        "10.0.0.9": Outcome(sent=1, received=1, rtt=12.5),
        "10.0.0.10": SILENT,
        "10.0.0.11": NOT_ASKED,
        "10.0.0.12": SILENT,
    }
    targets = plan(there.instances, there.topology, config.Probe())
    pings = sweep(outcomes)
    layer2 = plan_layer2(there, targets, pings.outcomes, InstanceErrors())
    answers = {target: target.ip != "10.0.0.6" for target in layer2.distinct()}
    snapshot = judge(
        there,
        targets=targets,
        sweep=msgspec.structs.replace(pings, layer2=Layer2Sweep(alive=answers)),
        layer2=layer2,
        sources=lambda targets: dict.fromkeys(targets, "10.0.0.2"),
    )
    snapshot = msgspec.structs.replace(
        snapshot,
        per_address=True,
        missed=frozenset({"6ce2-silent"}),
        never_answered=frozenset({"6ce3-unreachable"}),
    )
    return History().after(snapshot).told(snapshot)


class Collector:
    """What prometheus_client reads in our text."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return metrics(self.snapshot)


def by_prometheus_client(snapshot: Snapshot) -> str:
    registry = CollectorRegistry()
    registry.register(Collector(snapshot))
    return generate_latest(registry).decode()


def test_the_golden_file() -> None:
    assert text(example()) == GOLDEN.read_text()


def test_the_bytes_are_those_of_prometheus_client() -> None:
    assert text(example()) == by_prometheus_client(example())


def test_openmetrics_has_the_same_bytes() -> None:
    registry = CollectorRegistry()
    registry.register(Collector(example()))
    assert text(example()) + "# EOF\n" == generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]


def unpack(packed: Sequence[bytes]) -> bytes:
    """Inflate a gzip file of one member, which is all that browsers read."""
    one_member = zlib.decompressobj(16 + zlib.MAX_WBITS)
    text = one_member.decompress(b"".join(packed))
    assert one_member.eof  # so the checksum was right
    assert one_member.unused_data == b""
    return text


@pytest.mark.parametrize("end", [b"", b"# EOF\n"])
@pytest.mark.parametrize("names", [None, [], ["hypervisor_up", "none"], ["instance_info"]])
@pytest.mark.parametrize("shard", [WHOLE, Shard(0, 2), Shard(1, 2)])
def test_compressed_it_is_one_member(names: list[str] | None, end: bytes, shard: Shard) -> None:
    packed = render(example()).gzip(names=names, shard=shard, end=end)
    assert unpack(packed) == text(example(), names, shard=shard).encode() + end


def test_without_a_snapshot_there_is_only_the_end() -> None:
    assert unpack(EMPTY.gzip(end=b"x 1\n")) == b"x 1\n"
    assert list(EMPTY.plain()) == []


IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(
    st.sets(IDS, max_size=20),
    st.integers(1, BUCKETS),
    st.sampled_from((None, ["instance_info"], ["hypervisor_up"])),
)
def test_the_shards_together_are_the_whole(ids: set[str], total: int, names: list[str] | None) -> None:
    there = inventory(*(instance(id_, "10.0.0.1") for id_ in ids), hypervisors=(Hypervisor("h", up=True),))
    targets = plan(there.instances, there.topology, config.Probe())
    exposition = render(judge(there, targets=targets, sweep=sweep({"10.0.0.1": ALIVE})))
    shards = [Shard(number, total) for number in range(total)]
    whole = b"".join(exposition.plain(names=names)).split(b"\n")
    parts = [b"".join(exposition.plain(names=names, shard=shard)) for shard in shards]
    assert [unpack(exposition.gzip(names=names, shard=shard, end=b"")) for shard in shards] == parts
    lines = [line for part in parts for line in part.split(b"\n") if line and not line.startswith(b"#")]
    assert sorted(lines) == sorted(line for line in whole if line and not line.startswith(b"#"))


@pytest.mark.parametrize("total", [2, 3])
def test_a_shard_has_all_of_an_instance(total: int) -> None:
    homes: dict[str, int] = {}
    for number in range(total):
        for line in text(example(), shard=Shard(number, total)).splitlines():
            if found := re.search(r'[{,]id="([^"]+)"', line):
                assert homes.setdefault(found[1], number) == number
    assert homes.keys() == {each.id for each in example().inventory.instances}


def test_every_shard_has_the_heads_of_all_instances_and_the_first_the_other_metrics() -> None:
    first, second = (text(example(), shard=Shard(number, 2)) for number in range(2))
    of_instances = {f"# TYPE {family.name} gauge" for family in (*families.INSTANCE_FAMILIES, INFO)}
    others = {f"# TYPE {family.name} gauge" for family in families.totals(example())}
    assert {line for line in first.splitlines() if line.startswith("# TYPE")} == of_instances | others
    assert {line for line in second.splitlines() if line.startswith("# TYPE")} == of_instances


def test_an_instance_is_in_the_same_shard_in_every_process() -> None:
    # A change here moves series from one scrape job of an operator's to another.
    there = inventory(*(instance(f"6ce{number}") for number in range(8)))
    snapshot = judge(there, targets={each.id: () for each in there.instances}, sweep=sweep({}))
    second = text(snapshot, ["instance_hypervisor_active"], shard=Shard(1, 4))
    assert sorted(re.findall('id="(6ce.)"', second)) == ["6ce5", "6ce7"]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "0",
        "0/0",
        "4/4",
        "-1/4",
        "0/65",
        "0/4 ",
        "0/4/4",
        "a/b",
        "\N{ARABIC-INDIC DIGIT ZERO}/4",
        "0/04444",
    ],
)
def test_what_is_no_shard(given: str) -> None:
    with pytest.raises(
        ValueError, match=r"^shard: expected i/n with 0 <= i < n <= 64, such as 0/4, got '[^']*'$"
    ):
        Shard.parse(given)


def test_what_is_a_shard() -> None:
    assert Shard.parse("0/1") == WHOLE
    assert Shard.parse("63/64") == Shard(63, 64)


@settings(max_examples=25, deadline=None)
@given(
    st.text(st.characters(codec="utf-8")),
    st.floats(min_value=0, allow_infinity=False),
    st.integers(min_value=1, max_value=50),
)
def test_any_name_and_number_is_written_as_prometheus_client_writes_it(
    name: str, rtt: float, sent: int
) -> None:
    there = inventory(
        instance("a" + name, "10.0.0.1", name=name, project_id=name, hypervisor=name, availability_zone=name),
        projects=(Project(name, name, name),),
        hypervisors=(Hypervisor(name, up=True),),
    )
    replies = sweep({"10.0.0.1": Outcome(sent=sent, received=1, rtt=rtt)})
    snapshot = judge(there, targets=plan(there.instances, there.topology, config.Probe()), sweep=replies)
    assert text(snapshot) == by_prometheus_client(snapshot)
    read = {metric.name: metric.samples for metric in metrics(snapshot)}
    assert [sample.labels["name"] for sample in read["instance_info"]] == [name]
    assert [sample.labels for sample in read["instance_alive"]] == [{"id": "a" + name, "project_id": name}]
    assert [sample.value for sample in read["instance_rtt_seconds"]] == [rtt]


def test_what_another_exporter_is_to_ask_has_no_sample() -> None:
    here = example()
    elsewhere = msgspec.structs.replace(here, alone=False, per_address=False)
    said = {line for line in text(here).splitlines() if "6ce8" in line}
    left = {line for line in text(elsewhere).splitlines() if "6ce8" in line}
    names = {line.partition("{")[0] for line in left}
    assert names == {"instance_hypervisor_active", "instance_info"}
    assert said - left == {'instance_silent{id="6ce8-no-vantage",project_id="77aa",reason="no_vantage"} 1.0'}
    assert "instance_address_alive{" not in text(elsewhere)


def test_an_address_on_two_networks_of_one_name_has_a_series_for_each_vantage() -> None:
    one, other = (address("10.0.0.5", mac=mac) for mac in ("fa:16:3e:00:00:01", "fa:16:3e:00:00:02"))
    there = inventory(instance("a", one, other, one))
    near, far = Target("qdhcp-1", "10.0.0.5"), Target("qdhcp-2", "10.0.0.5")
    snapshot = judge(
        there,
        targets={"a": (Probed(one, near), Probed(other, far), Probed(one, near))},
        sweep=sweep({near: ALIVE, far: SILENT}),
    )
    shown = text(msgspec.structs.replace(snapshot, per_address=True), ["instance_address_alive"])
    start = 'instance_address_alive{address="10.0.0.5",id="a",network="private",project_id="p",vantage='
    assert [line for line in shown.splitlines() if line[0] != "#"] == [
        f'{start}"qdhcp-1"}} 1.0',
        f'{start}"qdhcp-2"}} 0.0',
    ]


def test_names_choose_families() -> None:
    only = text(example(), ["hypervisor_up", "none"])
    assert [line.split("{")[0] for line in only.splitlines() if line[0] != "#"] == ["hypervisor_up"] * 2
    assert text(example(), ["none"]) == ""


def test_the_configuration_knows_the_metrics() -> None:
    counted = render(example(), metrics=config.Metrics(counters=True))
    assert list(get_args(config.Metric)) == list(counted.families)


@settings(max_examples=25)
@given(st.sets(st.sampled_from(get_args(config.Metric))), st.sets(st.sampled_from(get_args(config.Metric))))
def test_what_is_disabled_is_not_rendered_and_comes_back(before: set[str], disabled: set[str]) -> None:
    def left_out(names: set[str]) -> config.Metrics:
        return msgspec.convert({"disable": list(names)}, config.Metrics)

    old = render(example(), metrics=left_out(before))
    exposition = render(example(), before=old, metrics=left_out(disabled))
    left = [name for name in render(example()).families if name not in disabled]
    assert list(exposition.families) == left
    assert b"".join(exposition.plain()).decode() == text(example(), left)


def test_the_docstring_shows_what_comes_out() -> None:
    shown = [line.strip() for line in (families.__doc__ or "").splitlines()]
    shown = [line for line in shown if line.endswith((" 0.0", " 1.0", "e+09"))]
    there = inventory(
        instance(
            "6ce1",
            address("192.0.2.7", mac="fa:16:3e:00:00:07"),
            project_id="5fa0",
            hypervisor="compute-1",
            availability_zone="nova",
            launched_at=1_795_300_000.0,
        ),
        projects=(Project("5fa0", "selenium", "default"),),
        hypervisors=(Hypervisor("compute-1", up=True),),
        contacts={"5fa0": "ops@example.org"},
    )
    targets = plan(there.instances, there.topology, config.Probe())
    before = judge(there, targets=targets, sweep=sweep({"192.0.2.7": Outcome(sent=1, received=1, rtt=0.001)}))
    silence = sweep({"192.0.2.7": SILENT})
    layer2 = plan_layer2(there, targets, silence.outcomes, InstanceErrors())
    now = judge(
        there,
        targets=targets,
        sweep=msgspec.structs.replace(
            silence, layer2=Layer2Sweep(alive=dict.fromkeys(layer2.distinct(), False))
        ),
        layer2=layer2,
        last_replies=History().after(before).last_replies,
    )
    history = History().after(before)
    now = msgspec.structs.replace(find_missed(now, history), per_address=True)
    now = history.after(now).told(now)
    printed = [line for line in text(now).splitlines() if not line.startswith("#")]
    assert len(shown) == len(printed)
    for ours, real in zip(shown, printed, strict=True):
        start, _, end = ours.partition("...")
        assert real.startswith(start.split(" 1.79")[0])
        assert real.endswith(end if "1.79" not in ours else "e+09")


@pytest.mark.parametrize("metric", list(metrics(example())), ids=lambda metric: metric.name)
def test_every_metric_is_documented_and_filled(metric: Metric) -> None:
    assert metric.documentation.endswith(".")
    assert '"' not in metric.documentation
    assert "\\" not in metric.documentation
    assert metric.samples


def numbered(count: int, *, seed: int = 0) -> Snapshot:
    """Instances, of which every tenth is silent."""
    chance = random.Random(seed)  # noqa: S311, of no secret
    there = inventory(
        *(instance(f"id-{number}", f"10.0.{number >> 8}.{number & 255}") for number in range(count)),
        hypervisors=(Hypervisor("h", up=True),),
    )
    outcomes = {
        each.addresses[0].ip: SILENT
        if number % 10 == 0
        else Outcome(sent=1, received=1, rtt=chance.uniform(0.0001, 0.01))
        for number, each in enumerate(there.instances)
    }
    return judge(there, targets=plan(there.instances, there.topology, config.Probe()), sweep=sweep(outcomes))


def test_every_answer_has_the_same_objects_which_slow_readers_share() -> None:
    exposition = render(numbered(200))
    first, second = exposition.gzip(end=b"1"), exposition.gzip(end=b"2")
    assert max(first, key=len) is max(second, key=len)


def texts_kept(now: Snapshot, before: Snapshot) -> set[str]:
    """The metrics of which not a byte was rendered or compressed anew."""
    old = render(before)
    new = render(now, before=old)
    return {name for name, family in new.families.items() if family.samples is old.families[name].samples}


def test_what_did_not_change_is_not_rendered_again() -> None:
    before, now = numbered(300), numbered(300, seed=1)
    assert texts_kept(now, before) == render(now).families.keys() - {"instance_rtt_seconds"}


def test_a_silence_that_lasts_is_not_rendered_again() -> None:
    first = numbered(300)
    history = History().after(first)
    second = numbered(300)
    second = msgspec.structs.replace(
        second, sweep=msgspec.structs.replace(second.sweep, started_at=second.sweep.started_at + 15)
    )
    before, now = history.told(first), history.after(second).told(second)
    name = "instance_silent_since_timestamp_seconds"
    assert name in texts_kept(now, before)
    assert len(re.findall(rf"(?m)^{name}{{", text(now))) == 30


def test_of_a_metric_that_changed_only_the_buckets_are_rendered_that_changed() -> None:
    before = numbered(300)
    changed = msgspec.structs.replace(before.verdicts[1], alive=False)
    now = msgspec.structs.replace(before, verdicts=(before.verdicts[0], changed, *before.verdicts[2:]))
    old = render(before)
    new = render(now, before=old)
    kept = [
        new.families["instance_alive"].part(number) == old.families["instance_alive"].part(number)
        for number in range(BUCKETS)
    ]
    assert kept.count(False) == 1
    assert b"".join(new.plain()) == text(now).encode()


STATES: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    alive=st.sampled_from((True, False, None)),
    rtt=st.sampled_from((None, 0.0, 0.25)),
    last_reply_at=st.sampled_from((None, 1e9, 2e9)),
    reason=st.sampled_from((None, "no_reply", "icmp_blocked")),
)
SNAPSHOTS = st.builds(
    lambda states, projects, up, alone, missed: Snapshot(
        inventory=inventory(
            *(instances := [instance(id_, project_id=projects) for id_ in states]),
            hypervisors=(Hypervisor("h", up=up),),
        ),
        verdicts=tuple(
            Verdict(instance=each, **state) for each, state in zip(instances, states.values(), strict=True)
        ),
        sweep=sweep({}),
        alone=alone,
        missed=missed,
    ),
    st.dictionaries(st.sampled_from("abcdefgh"), STATES),
    st.sampled_from("pq"),
    st.booleans(),
    st.booleans(),
    st.frozensets(st.sampled_from("abcdefgh")),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(SNAPSHOTS, min_size=2, max_size=4))
def test_a_text_that_followed_others_is_the_same_as_if_it_were_the_first(snapshots: list[Snapshot]) -> None:
    exposition = EMPTY
    for snapshot in snapshots:
        exposition = render(snapshot, before=exposition)
    assert b"".join(exposition.plain()) == text(snapshots[-1]).encode()
    assert unpack(exposition.gzip(end=b"")) == text(snapshots[-1]).encode()
