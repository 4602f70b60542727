"""The exposition: the contract, byte for byte what prometheus_client would print."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from fping_exporter import config
from fping_exporter.history import History
from fping_exporter.metrics.exposition import Exposition, as_metrics, families
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
)
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.layer2 import plan_layer2
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, SILENT, UNREACHABLE, address, instance, inventory, sweep

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
    return msgspec.structs.replace(
        snapshot,
        per_address=True,
        missed=frozenset({"6ce2-silent"}),
        never_answered=frozenset({"6ce3-unreachable"}),
    )


class Collector:
    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return as_metrics(self.snapshot)


def by_prometheus_client(snapshot: Snapshot) -> bytes:
    registry = CollectorRegistry()
    registry.register(Collector(snapshot))
    return generate_latest(registry)


def by_us(snapshot: Snapshot, names: list[str] | None = None, *, end: bytes = b"") -> bytes:
    return b"".join(Exposition().render(snapshot, names=names, end=end))


def test_the_golden_file() -> None:
    assert by_us(example()).decode() == GOLDEN.read_text()


def test_the_bytes_are_those_of_prometheus_client() -> None:
    assert by_us(example()) == by_prometheus_client(example())


def test_openmetrics_has_the_same_bytes() -> None:
    registry = CollectorRegistry()
    registry.register(Collector(example()))
    assert by_us(example()) + b"# EOF\n" == generate_openmetrics(registry)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("end", [b"", b"# EOF\n"])
@pytest.mark.parametrize("names", [None, [], ["hypervisor_up", "none"]])
def test_compressed_it_is_one_member_which_is_all_that_browsers_read(
    names: list[str] | None, end: bytes
) -> None:
    one_member = zlib.decompressobj(16 + zlib.MAX_WBITS)
    packed = b"".join(Exposition().compress(example(), names=names, end=end))
    assert one_member.decompress(packed) == by_us(example(), names, end=end)
    assert one_member.eof
    assert one_member.unused_data == b""


@given(
    st.text(st.characters(codec="utf-8")),
    st.floats(min_value=0, allow_infinity=False),
    st.integers(min_value=1, max_value=50),
)
def test_any_name_and_number_is_written_as_prometheus_client_writes_it(
    text: str, rtt: float, sent: int
) -> None:
    there = inventory(
        instance("a", "10.0.0.1", name=text, hypervisor=text, availability_zone=text),
        projects=(Project("p", text, text),),
        hypervisors=(Hypervisor(text, up=True),),
    )
    replies = sweep({"10.0.0.1": Outcome(sent=sent, received=1, rtt=rtt)})
    snapshot = judge(there, targets=plan(there.instances, there.topology, config.Probe()), sweep=replies)
    assert by_us(snapshot) == by_prometheus_client(snapshot)


def test_what_another_exporter_is_to_ask_has_no_sample() -> None:
    here = example()
    elsewhere = msgspec.structs.replace(here, alone=False, per_address=False)
    said = {line for line in by_us(here).decode().splitlines() if "6ce8" in line}
    left = {line for line in by_us(elsewhere).decode().splitlines() if "6ce8" in line}
    names = {line.partition("{")[0] for line in left}
    assert names == {"instance_hypervisor_active", "instance_info"}
    assert said - left == {'instance_silent{id="6ce8-no-vantage",project_id="77aa",reason="no_vantage"} 1.0'}
    assert "instance_address_alive{" not in by_us(elsewhere).decode()


def test_an_address_on_two_networks_of_one_name_has_a_series_for_each_vantage() -> None:
    one, other = (address("10.0.0.5", mac=mac) for mac in ("fa:16:3e:00:00:01", "fa:16:3e:00:00:02"))
    there = inventory(instance("a", one, other, one))
    near, far = Target("qdhcp-1", "10.0.0.5"), Target("qdhcp-2", "10.0.0.5")
    snapshot = judge(
        there,
        targets={"a": (Probed(one, near), Probed(other, far), Probed(one, near))},
        sweep=sweep({near: ALIVE, far: SILENT}),
    )
    text = by_us(msgspec.structs.replace(snapshot, per_address=True), ["instance_address_alive"]).decode()
    start = 'instance_address_alive{address="10.0.0.5",id="a",network="private",project_id="p",vantage='
    assert [line for line in text.splitlines() if line[0] != "#"] == [
        f'{start}"qdhcp-1"}} 1.0',
        f'{start}"qdhcp-2"}} 0.0',
    ]


def test_names_choose_families() -> None:
    only = by_us(example(), ["hypervisor_up", "none"])
    assert [line.split("{")[0] for line in only.decode().splitlines() if line[0] != "#"] == [
        "hypervisor_up"
    ] * 2
    assert by_us(example(), ["none"]) == b""


def test_a_snapshot_is_rendered_once() -> None:
    exposition, snapshot = Exposition(), example()
    for assemble in (exposition.render, exposition.compress):
        first = assemble(snapshot, names=None, end=b"1")
        again = assemble(snapshot, names=None, end=b"2")
        families = max(first, key=len)
        assert any(part is families for part in again)
        assert not any(part is families for part in assemble(example(), names=None, end=b""))


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
    now = msgspec.structs.replace(find_missed(now, History().after(before)), per_address=True)
    printed = [line for line in by_us(now).decode().splitlines() if not line.startswith("#")]
    assert len(shown) == len(printed)
    for ours, real in zip(shown, printed, strict=True):
        start, _, end = ours.partition("...")
        assert real.startswith(start.split(" 1.79")[0])
        assert real.endswith(end if "1.79" not in ours else "e+09")


@pytest.mark.parametrize("family", families(example()), ids=lambda family: family.name)
def test_every_family_is_documented_and_filled(family: object) -> None:
    documentation, samples = family.documentation, family.samples  # type: ignore[attr-defined]
    assert documentation.endswith(".")
    assert '"' not in documentation
    assert "\\" not in documentation
    assert samples
