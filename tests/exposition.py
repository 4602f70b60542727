"""The text of a snapshot, and what Prometheus's own library reads in it."""

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from fping_exporter.metrics.exposition import WHOLE, Shard, render
from fping_exporter.model import Snapshot


def text(snapshot: Snapshot, names: list[str] | None = None, *, shard: Shard = WHOLE) -> str:
    return b"".join(render(snapshot).plain(names=names, shard=shard)).decode()


def metrics(snapshot: Snapshot) -> Iterator[Metric]:
    return iter(text_string_to_metric_families(text(snapshot)))
