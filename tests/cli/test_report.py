"""A snapshot on a terminal and as JSON."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.cli.report import as_json, as_table
from tests.build import instance
from tests.metrics.test_exposition import example
from tests.verdict.test_judge import snapshot


def test_the_table() -> None:
    everything = example()
    lines = as_table(everything, everything.verdicts[:3]).splitlines()
    assert [line.replace("c1.example.com", "c1") for line in lines] == [
        "ID                NAME         PROJECT  STATUS  ALIVE  LAYER 2  REASON       BEST RTT  HYPERVISOR",
        "6ce1-alive        web          shop     ACTIVE  yes    -        -            0.073 ms  c1",
        "6ce2-silent       6ce2-silent  shop     ACTIVE  no     no       no_reply     -         c1",
        '6ce3-unreachable  a "b" \\ c\ufffdd  shop     ACTIVE  no     -        unreachable  -         -',
    ]


def test_an_empty_table_is_a_heading() -> None:
    assert len(as_table(example(), []).splitlines()) == 1


def test_json() -> None:
    everything = example()
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
