"""The sample configuration: complete, commented, and true to the defaults."""

import re
from pathlib import Path

import msgspec
import yaml

from fping_exporter.config import Config, parse

SAMPLE = Path(__file__).parents[2] / "deploy" / "fping-exporter.yml"


def keys(data: object, path: str = "") -> set[str]:
    if not isinstance(data, dict):
        return {path}
    return {key for name, value in data.items() for key in keys(value, f"{path}.{name}")}


def test_the_sample_holds_every_key_with_its_default() -> None:
    text = SAMPLE.read_text()
    assert parse(text, source="sample") == Config()
    everything = keys(msgspec.to_builtins(Config(), enc_hook=str))
    assert keys(yaml.safe_load(text)) == everything


def test_every_key_of_the_sample_is_commented() -> None:
    lines = SAMPLE.read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if re.match(r" *[a-z_]+: \S", line) and "instances:" not in before:
            assert before.lstrip().startswith("#") or before.startswith("  include"), line


def test_the_commented_rules_are_right() -> None:
    block = re.search(r"(?m)^# instances:\n(?:#.*\n)+", SAMPLE.read_text())
    assert block
    settings = parse(re.sub(r"(?m)^# ?", "", block[0]), source="sample")
    assert len(settings.instances.include) == len(settings.instances.exclude) == 2


def test_the_commented_centrals_are_right() -> None:
    block = re.search(r"(?m)^# inventory:\n(?:#.*\n)+", SAMPLE.read_text())
    assert block
    settings = parse(re.sub(r"(?m)^# ?", "", block[0]), source="sample")
    assert settings.host == "self"
    assert settings.inventory
    assert len(settings.inventory.central) == 2


def test_the_commented_clouds_are_right() -> None:
    block = re.search(r"(?m)^# clouds:\n(?:#.*\n)+", SAMPLE.read_text())
    assert block
    clouds = parse(re.sub(r"(?m)^# ?", "", block[0]), source="sample").by_cloud()
    assert [(name, each.cloud, each.region) for name, each in clouds.items()] == [
        ("lon1", "mycloud", "lon1"),
        ("lon2", "mycloud", "lon2"),
        ("lab", "lab", None),
    ]
