"""The configuration: what is accepted, and the error for everything else."""

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fping_exporter.config import Config, Rule, load, parse
from fping_exporter.config.duration import Duration
from fping_exporter.config.strict_yaml import dump
from fping_exporter.errors import ConfigError

BAD = sorted((Path(__file__).parent / "bad").glob("*.yml"))
KEYS = st.sampled_from(
    ["cloud", "projects", "instances", "include", "probe", "timeout", "families", "cache", "sweep", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("1s") | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def test_nothing_gives_the_defaults() -> None:
    assert parse("", source="f") == Config()
    assert parse("# nothing but this\n", source="f") == Config()


def test_every_key() -> None:
    settings = parse(
        """
        cloud: mine
        region: west
        all_projects: false
        projects: [a, b]
        instances:
          include:
            - {name: "web-*", metadata: {role: [www, api]}}
          exclude:
            - {address: [10.0.0.0/8, "fd00::/8"]}
        probe:
          {engine: multiping, timeout: 1m30s, count: 2, retries: 0, rate: 1, addresses: fixed, families: [6]}
        metrics: {disable: [instance_rtt_seconds, hypervisor_up]}
        cache: {inventory: 1h, sweep: 500ms, max_stale: 1d}
        """,
        source="f",
    )
    assert settings.instances.include == (Rule(name="web-*", metadata={"role": ("www", "api")}),)
    assert float(settings.probe.timeout) == 90
    assert settings.metrics.disable == ("instance_rtt_seconds", "hypervisor_up")
    assert float(settings.cache.sweep) == 0.5
    assert float(settings.cache.max_stale) == 86_400


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_what_is_wrong_gets_one_clear_line(path: Path) -> None:
    expected = path.with_suffix(".err").read_text().rstrip("\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    separator = "" if expected.startswith(":") else ": "
    assert str(caught.value) == f"{path}{separator}{expected}"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load(tmp_path / "none.yml")


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yml"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="cannot be read: not UTF-8 text"):
        load(path)


def test_variables_are_not_expanded() -> None:
    assert parse('cloud: "${HOME}"', source="f").cloud == "${HOME}"


@given(VALUES)
def test_any_yaml_is_read_or_refused_in_one_line(value: object) -> None:
    try:
        parse(yaml.safe_dump(value, allow_unicode=True), source="f")
    except ConfigError as error:
        assert str(error).startswith("f")
        assert len(str(error).splitlines()) == 1


@given(st.text())
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse(text, source="f")
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1


@given(st.text(), st.text())
@example("shop", "ops\n@example.org")
@example("sh\u2028op", "ops")
def test_any_contact_is_read_or_refused_in_one_line(project: str, emails: str) -> None:
    try:
        read = parse(yaml.safe_dump({"contacts": {project: emails}}, allow_unicode=True), source="f")
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert read.contacts == {project: emails}


@given(st.integers(min_value=1, max_value=365 * 86_400_000))
def test_durations_survive_a_round_trip(milliseconds: int) -> None:
    text = str(Duration(milliseconds / 1000))
    assert round(Duration.parse(text) * 1000) == milliseconds


@pytest.mark.parametrize(
    "text",
    ["", "1", "s", "1x", "-1s", "1.5s", "1s1m", "1s 1ms", " 1s", "0s", "1e3s", "9" * 5000 + "s", 1, None],
)
def test_durations_that_are_none(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)


def test_durations_of_prometheus() -> None:
    assert Duration.parse("2w3d4h5m6s7ms") == pytest.approx(
        2 * 604_800 + 3 * 86_400 + 4 * 3600 + 5 * 60 + 6.007
    )
    assert Duration.parse("1y") == Duration(31_536_000)


@pytest.mark.parametrize("text", ["1y1ms", "366d", "99999999d"])
def test_durations_that_are_too_long(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration of at most a year"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["[" * 3000, "{a: " * 3000, "x: " + "[" * 3000 + "]" * 3000])
def test_nesting_without_end(text: str) -> None:
    with pytest.raises(ConfigError, match="f: lists or mappings are nested too deeply"):
        parse(text, source="f")


@pytest.mark.parametrize(
    ("text", "value"),
    [("auto", "auto"), ("on", "on"), ("off", "off"), ("true", "on"), ("false", "off"), ('"off"', "off")],
)
def test_layer_2_is_on_or_off_however_yaml_reads_it(text: str, value: str) -> None:
    read = parse(f"probe: {{layer2: {text}}}", source="f")
    assert read.probe.layer2 == value
    assert parse(dump(read), source="f") == read
