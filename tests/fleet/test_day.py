"""The last 24 hours of an instance: the query, what is read in its answer, and how often it is sent."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.config import Fleet
from fping_exporter.demo.http import Answer
from fping_exporter.errors import FleetError
from fping_exporter.fleet.day import CELL_SECONDS, Day, DayReader, day_query, read_day
from fping_exporter.fleet.prometheus import Prometheus, RangeAnswer, Series
from fping_exporter.web.strip import day_strip
from tests.fleet.api import FakePrometheus, matrix

NOW = 1_795_392_000.25
HOUR = 3600.0


class Api:
    """Answers with one series, or with none."""

    def __init__(self, values: list[tuple[float, str]] | None) -> None:
        self.values = values

    def query_range(
        self, _expression: str, *, start: float, end: float, step: float, deadline: float
    ) -> RangeAnswer:
        assert (start + 95 * step, end, step, deadline) == (NOW, NOW, CELL_SECONDS, 5)
        series = [] if self.values is None else [Series(metric={}, values=self.values)]
        return RangeAnswer(series, partial=False)


def results(values: list[tuple[float, str]] | None) -> list[str]:
    day = read_day(Api(values), "a", match={}, now=NOW, deadline=5)
    assert [at for _, at in day.cells] == [NOW - (95 - number) * CELL_SECONDS for number in range(96)]
    return [result for result, _ in day.cells]


def test_each_cell_is_told_and_what_is_missing_is_unknown() -> None:
    start = NOW - 95 * CELL_SECONDS
    values = [(start, "1"), (start + 900, "0"), (start + 1800, "0.9"), (start + 3600, "NaN"), (NOW, "1")]
    assert results(values) == ["answered", "silent", "partly", *["unknown"] * 92, "answered"]
    assert results(None) == results([]) == ["unknown"] * 96


def test_a_server_may_align_the_times() -> None:
    start = NOW - 95 * CELL_SECONDS
    assert results([(start - 400, "0"), (start + 600, "1"), (NOW + 400, "0")])[:2] == ["silent", "answered"]
    assert results([(NOW + 400, "0")])[-1] == "silent"


@given(st.lists(st.tuples(st.floats(), st.text() | st.floats().map(str)), max_size=5))
def test_any_answer_gives_96_cells(values: list[tuple[float, str]]) -> None:
    assert set(results(values)) <= {"answered", "silent", "partly", "unknown"}


@pytest.fixture
def server() -> Iterator[FakePrometheus]:
    with FakePrometheus() as server:
        yield server


def reader(server: FakePrometheus, *, interval: float = HOUR) -> DayReader:
    return DayReader(Fleet(prometheus=server.url, match={"cluster": "prod"}), interval=interval)


def test_a_day_is_asked_for_once_in_a_while_by_one_bounded_query(server: FakePrometheus) -> None:
    server.faults = iter([Answer(200, matrix([(time.time(), "1")])), Answer(200, matrix())])
    days = reader(server)
    day = days.read("a")
    assert [result for result, _ in day.cells] == [*["unknown"] * 95, "answered"]
    assert days.read("a") is day
    assert days.read("b").cells[-1][0] == "unknown"
    first, _ = server.requests
    assert first.path == "/api/v1/query_range"
    fields = {name: value for name, [value] in parse_qs(first.body.decode()).items()}
    assert fields["query"] == day_query("a", {"cluster": "prod"})
    assert (fields["step"], fields["nocache"]) == ("900", "1")
    assert float(fields["end"]) - float(fields["start"]) == pytest.approx(95 * 900)


def test_a_day_is_asked_for_again_when_it_is_old(server: FakePrometheus) -> None:
    server.faults = iter([Answer(200, matrix()) for _ in range(2)])
    days = reader(server, interval=0)
    days.read("a")
    days.read("a")
    assert len(server.requests) == 2


@pytest.mark.parametrize("warned", [True, False])
def test_a_day_of_which_something_may_be_missing_says_so(server: FakePrometheus, warned: bool) -> None:  # noqa: FBT001, a value of the table
    warning = {"warnings": ["no answer from a store"]} if warned else {}
    server.faults = iter([Answer(200, matrix([(time.time(), "0")]) | warning)])
    strip = day_strip(reader(server).read("a"))
    assert strip
    assert ("some may be missing" in strip.title) == warned


def test_no_more_days_are_kept_than_64(server: FakePrometheus) -> None:
    server.faults = iter([Answer(200, matrix()) for _ in range(66)])
    days = reader(server)
    for number in range(65):
        days.read(str(number))
    days.read("64")
    assert len(server.requests) == 65
    days.read("0")
    assert len(server.requests) == 66


def test_after_a_failure_nobody_waits_for_a_while(
    server: FakePrometheus, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = iter([Answer(503, b"busy"), Answer(200, matrix())])
    days = reader(server)
    url = f"{server.url}/api/v1/query_range"
    assert days.read("a") == days.read("b") == Day(error=f"{url}: HTTP 503")
    assert len(server.requests) == 1
    assert len(caplog.records) == 1


def test_a_page_of_another_instance_waits_for_its_turn(server: FakePrometheus) -> None:
    server.hold.clear()
    server.faults = iter([Answer(200, matrix([(time.time(), "0")])) for _ in range(2)])
    days = reader(server)
    found: dict[str, Day] = {}
    threads = [
        threading.Thread(target=lambda id_=id_: found.update({id_: days.read(id_)})) for id_ in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    server.hold.set()
    for thread in threads:
        thread.join()
    assert {id_: day.cells[-1][0] for id_, day in found.items()} == {"a": "silent", "b": "silent"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(200, {"status": "success", "data": {"resultType": "vector", "result": []}}), "not an answer"),
        (Answer(200, b" " * (2 << 20)), "the answer is larger than 1 MiB"),
        (
            Answer(400, {"status": "error", "errorType": "bad_data", "error": "parse"}),
            "HTTP 400: bad_data: parse",
        ),
    ],
)
def test_what_is_no_day(server: FakePrometheus, answer: Answer, said: str) -> None:
    server.faults = iter([answer])
    assert reader(server).read("a").error.startswith(f"{server.url}/api/v1/query_range: {said}")


def test_no_id_breaks_out_of_the_query() -> None:
    query = day_query('x"} or up{a="\n\\', {"id": "y"})
    assert 'instance_alive{id="x\\"} or up{a=\\"\\n\\\\"}' in query
    assert '"y"' not in query.partition("fping_exporter_blind")[0]


def test_nothing_is_asked_without_time(server: FakePrometheus) -> None:
    client = Prometheus(Fleet(prometheus=server.url))
    with pytest.raises(FleetError, match="there is no time left"):
        client.query_range("up", start=0, end=1, step=1, deadline=time.monotonic() - 1)


def series(name: str, exporter: str, values: str, **labels: str) -> dict[str, str]:
    who = "" if name == "fping_exporter_blind" else 'project_id="p",'
    text = ",".join(f'{key}="{value}"' for key, value in {"instance": exporter, **labels}.items())
    return {"series": f"{name}{{{who}{text}}}", "values": values}


def silent(exporter: str, id_: str, reason: str, *, sent: bool = True) -> list[dict[str, str]]:
    return [
        series("instance_alive", exporter, "0x15", id=id_),
        series("instance_silent", exporter, "1x15", id=id_, reason=reason),
        *([series("instance_packet_loss_ratio", exporter, "1x15", id=id_)] if sent else []),
    ]


@pytest.mark.e2e
def test_the_words_are_joined_as_the_merge_does(tmp_path: Path) -> None:
    """Evaluated by Prometheus's own engine."""
    given_series = [
        *(series("fping_exporter_blind", exporter, "0x15") for exporter in ("e1", "e2")),
        series("fping_exporter_blind", "blind", "1x15"),
        series("instance_alive", "e1", "1x15", id="alive"),
        series("instance_alive", "e1", "1x7 0x7", id="fell"),
        series("instance_packet_loss_ratio", "e1", "0x7 1x7", id="fell"),
        *silent("e1", "dead", "no_reply"),
        *silent("e1", "seen", "no_reply"),
        series("instance_alive", "e2", "1x15", id="seen"),
        *silent("blind", "hidden", "no_reply"),
        series("instance_alive", "blind", "1x15", id="heard"),
        *silent("e1", "bare", "no_address", sent=False),
        *silent("e1", "off", "not_active"),
        *silent("e1", "unsent", "not_active", sent=False),
    ]
    values: Mapping[str, float | None] = {
        "alive": 1,
        "dead": 0,
        "seen": 1,
        "hidden": None,
        "heard": 1,
        "bare": None,
        "off": 0,
        "unsent": None,
        "gone": None,
    }
    tests = [
        {
            "expr": day_query(id_, {}),
            "eval_time": "15m",
            "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
        }
        for id_, value in values.items()
    ]
    partly = {"expr": f"count(0 < ({day_query('fell', {})}) < 1)", "eval_time": "15m"}
    tests.append({**partly, "exp_samples": [{"labels": "{}", "value": 1}]})
    file = tmp_path / "day.test.yml"
    file.write_text(
        json.dumps({"tests": [{"interval": "1m", "input_series": given_series, "promql_expr_test": tests}]})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr + done.stdout
