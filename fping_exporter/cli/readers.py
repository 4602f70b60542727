"""Which of the shipped alert rules and dashboards read a metric."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import yaml

from fping_exporter.cli.shipped import alert_rules, dashboards

__all__ = ["alerts_on", "dashboards_on", "miss"]


def miss(disabled: Collection[str]) -> Iterator[str]:
    """Yield a line for each metric of `disabled` that shipped alerts or dashboards read, and so miss."""
    for metric in dict.fromkeys(disabled):
        readers = [
            f"the {kind} {', '.join(names)}"
            for kind, names in (("alerts", alerts_on(metric)), ("dashboards", dashboards_on(metric)))
            if names
        ]
        if readers:
            yield f"metrics.disable: {metric}: needed by {' and by '.join(readers)}, as shipped"


def alerts_on(metric: str) -> list[str]:
    """Return the names of the shipped alerts that read `metric`, directly or through a recording rule."""
    groups = yaml.safe_load(alert_rules().read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    names = {metric}
    while (
        found := {rule["record"] for rule in rules if "record" in rule and _reads(rule["expr"], names)}
        - names
    ):
        names |= found
    return [rule["alert"] for rule in rules if "alert" in rule and _reads(rule["expr"], names)]


def dashboards_on(metric: str) -> list[str]:
    """Return the file names, without ``.json``, of the shipped dashboards that read `metric`."""
    return [
        path.stem
        for path in dashboards()
        if any(_reads(expr, {metric}) for expr in _queries(json.loads(path.read_bytes())))
    ]


_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def _reads(expr: str, metrics: Collection[str]) -> bool:
    """Return whether a PromQL expression has one of these names; no label is called like a metric."""
    return any(name in metrics for name in _NAME.findall(expr))


def _queries(part: Any) -> Iterator[str]:  # noqa: ANN401, any part of a JSON document
    """Yield the queries of panels (``expr``) and variables (``query``) in a part of a dashboard."""
    match part:
        case dict():
            for key, value in part.items():
                if key in {"expr", "query"} and isinstance(value, str):
                    yield value
                else:
                    yield from _queries(value)
        case list():
            for value in part:
                yield from _queries(value)
