"""The instance table as JSON and CSV: what spreadsheets and scripts read from it."""

import csv
import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.model import Reason, Snapshot, Verdict
from fping_exporter.web.export import Row, as_csv, as_json
from tests.build import instance, inventory, sweep


def row(name: str = "web", *, alive: bool | None = None) -> Row:
    one = instance("a", "10.0.0.1", "2001:db8::1", name=name)
    verdict = Verdict(instance=one, alive=alive, reason=None if alive else Reason.NO_VANTAGE, rtt=0.5)
    return Row.of(verdict, Snapshot(inventory=inventory(one), verdicts=(verdict,), sweep=sweep({})))


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_what_is_unknown_is_empty_in_csv_and_null_in_json() -> None:
    [cells] = read(as_csv([row()]))
    assert cells["alive"] == cells["layer2_alive"] == cells["hypervisor"] == ""
    assert (cells["reason"], cells["rtt_seconds"]) == ("no_vantage", "0.5")
    assert cells["addresses"] == "10.0.0.1 2001:db8::1"
    [values] = json.loads(as_json([row()]))
    assert values["alive"] is None
    assert (values["reason"], values["ping"]) == ("no_vantage", "unasked")


@pytest.mark.parametrize(("alive", "cell"), [(True, "true"), (False, "false")])
def test_a_word_for_each_truth(alive: bool, cell: str) -> None:  # noqa: FBT001, a value of the table
    assert read(as_csv([row(alive=alive)]))[0]["alive"] == cell


def test_no_rows() -> None:
    assert json.loads(as_json([])) == []
    assert as_csv([]) == ",".join(Row.__struct_fields__) + "\r\n"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1"])
def test_no_name_is_a_formula(name: str) -> None:
    assert read(as_csv([row(name)]))[0]["name"] == f"'{name}"


@pytest.mark.parametrize("name", ["a;=1+1", "a\t=1+1", "a b=1+1"])
def test_no_separator_begins_a_cell_in_a_name(name: str) -> None:
    assert f',"{name}",' in as_csv([row(name)])


@given(st.lists(st.text(), max_size=4))
def test_any_name_comes_out_as_it_went_in(names: list[str]) -> None:
    rows = [row(name) for name in names]
    assert [each["name"].removeprefix("'") for each in read(as_csv(rows))] == [
        name.removeprefix("'") for name in names
    ]
    assert msgspec.json.decode(as_json(rows), type=list[Row]) == rows
