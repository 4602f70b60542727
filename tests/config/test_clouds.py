"""Several clouds in a configuration: what each has from the top level, and what of its own."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fping_exporter.config import Config, parse
from fping_exporter.config.clouds import is_cloud_name, locate, merge
from fping_exporter.config.strict_yaml import dump
from fping_exporter.errors import ConfigError

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no fault of a test."""

DURATIONS = st.sampled_from(["1s", "20s", "5m"])
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "cloud": st.sampled_from(["one", "two", None]),
        "projects": st.lists(st.sampled_from("ab"), max_size=2),
        "instances": st.fixed_dictionaries(
            {},
            optional={
                "include": st.lists(st.just({"name": "x"}), max_size=2),
                "host": st.sampled_from(["self", None]),
            },
        ),
        "probe": st.fixed_dictionaries(
            {},
            optional={"timeout": DURATIONS, "families": st.sampled_from([[4], [6]]), "layer2": st.booleans()},
        ),
        "cache": st.fixed_dictionaries({}, optional={"sweep": DURATIONS, "inventory": DURATIONS}),
        "contacts": st.dictionaries(st.sampled_from("ab"), st.sampled_from(["a@b.c", "d@e.f"]), max_size=2),
        "agents": st.sampled_from([False, {"match_san": True}]),
    },
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), ANY, max_size=3)


def leaves(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Everything in nested mappings that is none itself, or is an empty one, by its path."""
    found: dict[tuple[str, ...], object] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            found |= leaves(value, (*path, key))
        else:
            found[(*path, key)] = value
    return found


@PATIENT
@given(MAPPINGS, MAPPINGS)
def test_what_a_cloud_has_wins_and_the_rest_is_the_default(
    defaults: dict[str, Any], own: dict[str, Any]
) -> None:
    merged = leaves(merge(defaults, own))
    mine = leaves(own)
    for path, value in mine.items():
        if value != {}:
            assert merged[path] == value
    for path, value in merged.items():
        if path not in mine:
            assert leaves(defaults)[path] == value
            assert not any(path[:length] in mine and mine[path[:length]] != {} for length in range(len(path)))


@PATIENT
@given(MAPPINGS)
def test_merging_with_nothing_or_with_itself_changes_nothing(data: dict[str, Any]) -> None:
    assert merge(data, {}) == merge({}, data) == merge(data, data) == data


@PATIENT
@given(SECTIONS, st.dictionaries(NAMES, SECTIONS | st.none(), min_size=1, max_size=3))
def test_a_cloud_is_what_a_file_with_all_its_keys_would_be(
    defaults: dict[str, Any], clouds: dict[str, dict[str, Any] | None]
) -> None:
    """Two ways to the same settings: merged by the exporter, or by hand before they are written."""
    try:
        together = parse(written(defaults | {"clouds": clouds}), source="f")
    except ConfigError as error:
        texts = [defaults, *(merge(defaults, own or {}) for own in clouds.values())]
        assert str(error).startswith("f: ")
        assert any(not is_right(text) for text in texts)
        return
    for name, own in together.by_cloud().items():
        assert own == parse(written(merge(defaults, clouds[name] or {})), source="f")
    assert list(together.by_cloud()) == list(clouds)
    assert parse(dump(together), source="shown") == together


def written(data: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(data, sort_keys=False)
    return text


def is_right(data: Mapping[str, Any]) -> bool:
    try:
        parse(written(data), source="f")
    except ConfigError:
        return False
    return True


def test_without_clouds_there_is_one_that_is_called_default() -> None:
    settings = parse("cloud: mine", source="f")
    assert settings.by_cloud() == {"default": settings}
    assert parse("clouds: {}", source="f").by_cloud() == {"default": Config()}


def test_a_section_can_be_switched_off_for_one_cloud() -> None:
    settings = parse(
        "fleet: {prometheus: 'http://prometheus', match: {job: x}}\n"
        "clouds: {lon1: {fleet: null}, lon2: {fleet: {match: {cloud: lon2}}}}",
        source="f",
    )
    lon1, lon2 = settings.by_cloud().values()
    assert lon1.fleet is None
    assert lon2.fleet
    assert lon2.fleet.match == {"job": "x", "cloud": "lon2"}
    assert lon2.fleet.prometheus == "http://prometheus"


@pytest.mark.parametrize("name", ["a", "0", "lon-1_b", "a" * 64])
def test_names(name: str) -> None:
    assert is_cloud_name(name)


@pytest.mark.parametrize("name", ["", "-a", "_a", "A", "a.b", "a/b", "ä", "a\n", "a" * 65])
def test_what_is_no_name(name: str) -> None:
    assert not is_cloud_name(name)


@pytest.mark.parametrize(
    ("text", "located"),
    [
        ("cloud: unknown", "clouds.a.cloud: unknown"),
        ("instances.include[0].name: bad", "clouds.a.instances.include[0].name: bad"),
        ("contacts[...]: bad", "clouds.a.contacts[...]: bad"),
        ("instances.include[0].metadata[...][1]: bad", "clouds.a.instances.include[0].metadata[...][1]: bad"),
        ("the configuration of OpenStack: bad", "clouds.a: the configuration of OpenStack: bad"),
        ("expected text as every key", "clouds.a: expected text as every key"),
    ],
)
def test_an_error_has_its_full_path(text: str, located: str) -> None:
    assert locate("a", ConfigError(text)) == located


def test_clouds_are_chosen_by_name() -> None:
    settings = parse("clouds: {lon1: {}, lon2: {}}", source="f")
    assert list(settings.choose([])) == ["lon1", "lon2"]
    assert list(settings.choose(["lon2", "lon2"])) == ["lon2"]
    assert settings.choose_one("lon1") == settings.by_cloud()["lon1"]
    with pytest.raises(ConfigError, match=r"^--cloud: unknown: 'par1'; known are lon1, lon2$"):
        settings.choose(["lon1", "par1"])
    with pytest.raises(ConfigError, match=r"^--cloud: choose one of lon1, lon2$"):
        settings.choose_one(None)
    alone = parse("", source="f")
    assert alone.choose_one(None) is alone
    with pytest.raises(ConfigError, match="known are default"):
        alone.choose_one("lon1")
