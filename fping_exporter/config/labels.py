"""The setting ``labels``: what of an instance becomes a label of instance_info and of a target of /sd."""

import re
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from fping_exporter.model import Instance

__all__ = ["check_labels", "label_reader"]

MAX_LENGTH = 128
"""Most characters of a value; what is longer is cut off."""
_MOST = 16
"""Most labels."""


def label_reader(source: str) -> Callable[[Instance], str]:
    """Return the function that finds the value of a label; it is empty where the instance has none.

    `source` is ``metadata.KEY``, for the instance's metadata; ``tag:tier=*``, for what the star stands for in
    its first tag, in the order of the alphabet, that matches; ``flavor.name``, ``image.id`` or ``user.id``,
    for what Nova lists. Raises ValueError, which says what would be right.
    """
    if source in _ATTRIBUTES:
        return _cut(attrgetter(_ATTRIBUTES[source]))
    if found := _METADATA.fullmatch(source):
        key = found["key"]
        return _cut(lambda instance: instance.metadata.get(key, ""))
    if found := _TAG.fullmatch(source):
        before, after = found["before"], found["after"]
        return _cut(lambda instance: _starred(instance.tags, before, after))
    raise ValueError(f"expected {_FORMS}, got {source!r:.60}")


_ATTRIBUTES = {"flavor.name": "flavor", "image.id": "image", "user.id": "user_id"}
_METADATA = re.compile(r"metadata\.(?P<key>.+)", re.DOTALL)
_TAG = re.compile(r"tag:(?P<before>[^*]*)\*(?P<after>[^*]*)")
_FORMS = "metadata.KEY, tag:PATTERN with one * in it (such as tag:tier=*), " + ", ".join(_ATTRIBUTES)


def _cut(read: Callable[[Instance], str]) -> Callable[[Instance], str]:
    return lambda instance: read(instance)[:MAX_LENGTH]


def _starred(tags: Iterable[str], before: str, after: str) -> str:
    shortest = len(before) + len(after)
    matching = [
        tag for tag in tags if len(tag) >= shortest and tag.startswith(before) and tag.endswith(after)
    ]
    return min(matching)[len(before) :].removesuffix(after) if matching else ""


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise ValueError, with a message that begins with the place, for labels that cannot be chosen."""
    if len(labels) > _MOST:
        raise ValueError(f"labels: at most {_MOST} can be chosen, got {len(labels)}")
    for name, source in labels.items():
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"labels: {name!r:.60}: expected letters, digits and underscores, no digit first, "
                "and not two underscores at the beginning"
            )
        if name in _TAKEN:
            raise ValueError(f"labels: {name}: is taken, as are {', '.join(sorted(_TAKEN - {name}))}")
        try:
            label_reader(source)
        except ValueError as error:
            raise ValueError(f"labels: {name}: {error}") from None


_NAME = re.compile("(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN = frozenset(
    {
        *("addresses", "availability_zone", "hypervisor", "id", "name", "power_state", "project_id"),
        *("status", "task_state"),  # those of instance_info
        *("cloud", "email", "instance", "job", "project", "shard"),  # set by Prometheus, or by the rules
    }
)
