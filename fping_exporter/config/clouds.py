"""The setting ``clouds``: several clouds in one process, each with settings of its own over the top level's.

Mappings are merged key by key, at every depth. Everything else in a cloud (texts, numbers, lists, null) takes
the place of what the top level has.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["DEFAULT_CLOUD", "check_cloud", "is_cloud_name", "locate", "merge"]

DEFAULT_CLOUD = "default"
"""The name of the only cloud of a configuration that has no ``clouds``."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""A path segment, a label's value and a part of a file's name."""


def is_cloud_name(text: str) -> bool:
    """Return whether `text` may be the name of a cloud."""
    return bool(_NAME.fullmatch(text))


def locate(name: str, error: Exception) -> str:
    """Return the text of an error in a cloud's settings, with the full path of what is wrong."""
    text = str(error)
    return f"clouds.{name}{'.' if _PATH.match(text) else ': '}{text}"


_PATH = re.compile(r"[a-z_][a-z0-9_.]*(\[([0-9]+|\.\.\.)\][a-z0-9_.]*)*: ")
"""``[...]`` stands for a key of a mapping, as msgspec writes it."""


def check_cloud(name: str, own: object) -> None:
    """Raise ValueError for a name that is none, and for what may not stand in a cloud."""
    if not is_cloud_name(name):
        raise ValueError(
            "clouds: expected names of up to 64 lower-case letters, digits, - and _, of which the first is a "
            f"letter or digit, such as lon1, got {name!r:.80}"
        )
    if own is not None and not isinstance(own, Mapping):
        raise ValueError(f"clouds.{name}: expected a mapping with the cloud's own settings")
    own = own or {}
    if "clouds" in own:
        raise ValueError(f"clouds.{name}.clouds: a cloud has no clouds in it")
    probe = own.get("probe")
    if isinstance(probe, Mapping) and "rate" in probe:
        raise ValueError(
            f"clouds.{name}.probe.rate: the rate limit is of the process and shared by all clouds: "
            "set it at the top level"
        )


def merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a cloud: `defaults`, with `own` over them."""
    merged = dict(defaults)
    for key, value in own.items():
        before = defaults.get(key)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        merged[key] = merge(before, value) if both else value  # type: ignore[arg-type]
    return merged
