"""``labels``: what of an instance becomes a label."""

import contextlib
import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.config.labels import MAX_LENGTH, check_labels, label_reader
from tests.build import instance

WEB = instance(
    "a",
    metadata={"team": "shop", "a.b": "dotted", "long": "x" * 1000, "empty": ""},
    tags=("tier=silver", "tier=gold", "tier", "production"),
    flavor="m1.tiny",
    image="0f5a",
    user_id="3f0c",
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("metadata.team", "shop"),
        ("metadata.a.b", "dotted"),
        ("metadata.empty", ""),
        ("metadata.none", ""),
        ("metadata.long", "x" * MAX_LENGTH),
        ("tag:tier=*", "gold"),
        ("tag:*duction", "pro"),
        ("tag:pro*ion", "duct"),
        ("tag:production*", ""),
        ("tag:none=*", ""),
        ("tag:*", "production"),
        ("flavor.name", "m1.tiny"),
        ("image.id", "0f5a"),
        ("user.id", "3f0c"),
    ],
)
def test_a_value_is_found(source: str, value: str) -> None:
    assert label_reader(source)(WEB) == value


@given(st.text("ab=", max_size=3), st.text("ab=", max_size=3), st.lists(st.text("ab=", max_size=6)))
def test_of_a_tag_it_is_what_the_star_stands_for(before: str, after: str, tags: list[str]) -> None:
    value = label_reader(f"tag:{before}*{after}")(instance("a", tags=tuple(tags)))
    matching = [tag for tag in tags if fnmatch.fnmatchcase(tag, f"{before}*{after}")]
    assert before + value + after == min(matching) if matching else value == ""


@given(st.text())
def test_a_source_is_read_or_refused(source: str) -> None:
    with contextlib.suppress(ValueError):
        assert len(label_reader(source)(WEB)) <= MAX_LENGTH


def test_no_more_than_sixteen() -> None:
    check_labels({f"l{number}": "flavor.name" for number in range(16)})
    with pytest.raises(ValueError, match="at most 16 can be chosen, got 17"):
        check_labels({f"l{number}": "flavor.name" for number in range(17)})


@pytest.mark.parametrize("name", ["", "a-b", "ä", "__a", "a\n"])
def test_a_name_that_prometheus_refuses_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected letters, digits and underscores"):
        check_labels({name: "flavor.name"})
