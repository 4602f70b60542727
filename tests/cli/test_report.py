"""A snapshot on a terminal and as JSON."""

import json
from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.cli import report
from fping_exporter.cli.report import Shown
from fping_exporter.model import Snapshot, Verdict
from fping_exporter.timeline import Timeline
from tests.build import instance
from tests.metrics.test_exposition import example
from tests.verdict.test_judge import snapshot


def as_table(snapshot: Snapshot, verdicts: Sequence[Verdict], *, cloud: str | None = None) -> str:
    """The table of a single cloud."""
    since = any(map(snapshot.since, snapshot.verdicts))
    return report.as_table(
        [Shown(cloud, snapshot, each) for each in verdicts], named=bool(cloud), since=since
    )


def as_json(snapshot: Snapshot, verdicts: Sequence[Verdict], *, cloud: str | None = None) -> str:
    """The JSON of a single cloud."""
    return report.as_json([Shown(cloud, snapshot, each) for each in verdicts])


def test_the_table() -> None:
    everything = msgspec.structs.replace(example(), timelines={})
    lines = as_table(everything, everything.verdicts[:3]).splitlines()
    assert [line.replace("c1.example.com", "c1") for line in lines] == [
        "ID                NAME         PROJECT  STATUS  ALIVE  LAYER 2  REASON       BEST RTT  HYPERVISOR",
        "6ce1-alive        web          shop     ACTIVE  yes    -        -            0.073 ms  c1",
        "6ce2-silent       6ce2-silent  shop     ACTIVE  no     no       no_reply     -         c1",
        '6ce3-unreachable  a "b" \\ c\ufffdd  shop     ACTIVE  no     -        unreachable  -         -',
    ]


def test_the_table_says_since_when_if_an_exporter_remembers() -> None:
    begun = example().sweep.started_at
    timelines = {
        "6ce1-alive": Timeline(alive=True, since=begun - 86_400 * 3, at_least=True),
        "6ce2-silent": Timeline(alive=False, since=begun - 7500),
    }
    everything = msgspec.structs.replace(example(), timelines=timelines)
    rows = as_table(everything, everything.verdicts[:3]).splitlines()
    where = rows[0].index("SINCE")
    assert [row[where:].split("  ")[0] for row in rows] == ["SINCE", "at least 3d", "2h5m", "-"]
    first, second, third = json.loads(as_json(everything, everything.verdicts[:3]))
    assert (first["since_timestamp_seconds"], first["since_at_least"]) == (begun - 86_400 * 3, True)
    assert (second["since_timestamp_seconds"], second["since_at_least"]) == (begun - 7500, False)
    assert (third["since_timestamp_seconds"], third["since_at_least"]) == (None, None)


def test_an_empty_table_is_a_heading() -> None:
    assert len(as_table(example(), []).splitlines()) == 1


def test_json() -> None:
    everything = msgspec.structs.replace(example(), timelines={})
    first, _, third = json.loads(as_json(everything, everything.verdicts[:3]))
    assert first == {
        "id": "6ce1-alive",
        "name": "web",
        "project_id": "5fa0",
        "project": "shop",
        "status": "ACTIVE",
        "alive": True,
        "layer2_alive": None,
        "reason": None,
        "since_timestamp_seconds": None,
        "since_at_least": None,
        "rtt_seconds": 0.000_073,
        "hypervisor": "c1.example.com",
        "addresses": ["10.0.0.5", "192.0.2.5"],
    }
    assert third["name"] == 'a "b" \\ c\nd'
    assert json.loads(as_json(everything, [])) == []


def test_silent_are_the_active_that_do_not_answer() -> None:
    assert [verdict.instance.id for verdict in example().verdicts if verdict.silent] == [
        "6ce2-silent",
        "6ce3-unreachable",
        "6ce4-no-address",
        "6ce7-blocked",
        "6ce9-ignoring",
    ]


@given(st.text(st.characters(codec="utf-8")))
def test_no_name_steers_the_terminal(name: str) -> None:
    one = snapshot(instance("a", name=name), outcomes={})
    _, row = as_table(one, one.verdicts).split("\n")
    assert row.isprintable()
    assert json.loads(as_json(one, one.verdicts))[0]["name"] == name


def test_clouds_are_named_first() -> None:
    everything = example()
    heading, *rows = as_table(everything, everything.verdicts[:2], cloud="lon1").splitlines()
    assert heading.startswith("CLOUD  ID")
    assert all(row.startswith("lon1   ") for row in rows)
    assert as_table(everything, [], cloud="lon1").startswith("CLOUD  ID")
    first, _ = json.loads(as_json(everything, everything.verdicts[:2], cloud="lon1"))
    assert list(first)[:2] == ["cloud", "id"]
    assert first["cloud"] == "lon1"
