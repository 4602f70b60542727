"""The finished text of a snapshot: rendered and compressed in the refresh, copied by a scrape."""

import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from fping_exporter.config import Metrics
from fping_exporter.metrics.deflated import Checksum, Deflater, Piece, deflate, gzip_file, join
from fping_exporter.metrics.families import (
    INSTANCE_FAMILIES,
    Group,
    InstanceFamily,
    head,
    info_family,
    ping_families,
    round_trips,
    totals,
)
from fping_exporter.metrics.ping_counts import PingCounts
from fping_exporter.model import Snapshot, Verdict

__all__ = ["BUCKETS", "EMPTY", "WHOLE", "Exposition", "Shard", "render"]

BUCKETS = 64
"""The parts into which the instances are divided, and so the most shards. With more of them the compressed
text is larger."""


class Shard(NamedTuple):
    """One of several parts of the text. Each instance is in exactly one of them."""

    number: int
    """From 0 to `total` - 1."""
    total: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``i/n``; raises ValueError, with a message for the client, where it is none."""
        if found := re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text):
            shard = cls(int(found[1]), int(found[2]))
            if shard.number < shard.total <= BUCKETS:
                return shard
        message = f"shard: expected i/n with 0 <= i < n <= {BUCKETS}, such as 0/4, got {text[:20]!r}"
        raise ValueError(message)


WHOLE = Shard(0, 1)


class _Heads(NamedTuple):
    """The lines before the samples of a metric; they differ for counters only."""

    text: Piece
    openmetrics: Piece

    @classmethod
    def of(cls, family: InstanceFamily[Any]) -> "_Heads":
        """Write them."""
        return cls(deflate(head(family)), deflate(head(family, openmetrics=True)))


class _FamilyText(NamedTuple):
    """The text of one metric.

    Of a metric about instances, the parts are the samples of each bucket; other metrics are one part, their
    head included.
    """

    heads: _Heads
    samples: Piece
    ends: Sequence[int]
    """Where each part ends in the samples."""
    checksums: Sequence[Checksum]
    """Of each part."""
    values: Sequence[object]
    """What each part depends on."""

    @classmethod
    def of(cls, heads: _Heads, parts: Sequence[Piece], values: Sequence[object]) -> "_FamilyText":
        """Put the parts together."""
        ends = list(accumulate(len(part.deflated) for part in parts))
        return cls(heads, join(parts), ends, [part.checksum for part in parts], values)

    def part(self, number: int) -> Piece:
        """Return one part."""
        begin = self.ends[number - 1] if number else 0
        return Piece(self.samples.deflated[begin : self.ends[number]], self.checksums[number])

    def whole(self, *, openmetrics: bool) -> list[Piece]:
        """Return all of it, in as few pieces as there are."""
        return [self.heads.openmetrics if openmetrics else self.heads.text, self.samples]

    def shard(self, shard: Shard, *, openmetrics: bool) -> list[Piece]:
        """Return the head and the parts that belong to a shard."""
        if len(self.ends) == 1:
            return [self.part(0)] if shard.number == 0 else []
        [first, _] = self.whole(openmetrics=openmetrics)
        return [first, *map(self.part, range(shard.number, len(self.ends), shard.total))]


_NO_HEADS = _Heads(deflate(b""), deflate(b""))


class Exposition:
    """The finished text of one snapshot.

    It is kept compressed, metric by metric, and within a metric in buckets of instances: the bucket of an
    instance is the CRC-32 of its id modulo 64, and its shard of n is that bucket modulo n. All exporters
    agree on that, at all times. What is not about instances is in the first shard.
    """

    def __init__(
        self,
        families: Mapping[str, _FamilyText] = {},
        owners: Sequence[tuple[list[str], list[str]]] = (),
        labels: Mapping[str, str] = {},
        counts: PingCounts | None = None,
    ) -> None:
        """Hold the text of each metric, by its name.

        `owners` are those of each bucket's group. `labels` are the chosen ones. `counts` are what the
        counters have counted, None if there are none.
        """
        self.families = families
        self.owners = owners
        self.labels = labels
        self.counts = counts

    def plain(
        self, *, names: Collection[str] | None = None, shard: Shard = WHOLE, openmetrics: bool = False
    ) -> Iterator[bytes]:
        """Yield the text of the metrics called `names` (None: all), piece by piece."""
        for family in self._choose(names):
            for part in family.shard(shard, openmetrics=openmetrics):
                if part.deflated:
                    yield part.inflate()

    def gzip(
        self,
        *,
        names: Collection[str] | None = None,
        shard: Shard = WHOLE,
        openmetrics: bool = False,
        end: bytes,
    ) -> list[bytes]:
        """Return the same and then `end` as a gzip file, in parts.

        Without a shard, those of the snapshot are the same objects in every answer: clients who read slowly
        share them.
        """
        chosen = self._choose(names)
        if shard == WHOLE:
            return gzip_file([p for family in chosen for p in family.whole(openmetrics=openmetrics)], end=end)
        parts = [part for family in chosen for part in family.shard(shard, openmetrics=openmetrics)]
        return [b"".join(gzip_file(parts, end=end))]

    def _choose(self, names: Collection[str] | None) -> list[_FamilyText]:
        """Return the metrics that have a sample with one of these names."""
        return [
            family
            for name, family in self.families.items()
            if names is None or any(name + suffix in names for suffix in ("", "_bucket", "_count", "_sum"))
        ]


EMPTY = Exposition()
"""The text where there is no snapshot."""


_DEFAULTS = Metrics()


def render(
    snapshot: Snapshot,
    *,
    before: Exposition = EMPTY,
    metrics: Metrics = _DEFAULTS,
    labels: Mapping[str, str] = {},
) -> Exposition:
    """Render and compress the text of a snapshot.

    `metrics` are the settings, and `labels` the chosen ones of instance_info. What is as it was in `before`
    is taken from there, and its counters go on.
    """
    counts = (before.counts or PingCounts()).after(snapshot) if metrics.counters else None
    groups = _divide(snapshot)
    owners = [group.owners for group in groups]
    stayed = {number for number, now in enumerate(owners) if before.owners and before.owners[number] == now}
    families: dict[str, _FamilyText] = {}
    for family in (*INSTANCE_FAMILIES, info_family(labels), *(ping_families(counts) if counts else ())):
        if family.name in metrics.disable:
            continue
        same = family.name != "instance_info" or labels == before.labels
        families[family.name] = _render_instances(
            family, groups, before=before.families.get(family.name) if same else None, stayed=stayed
        )
    for total in (*totals(snapshot), *((round_trips(counts),) if counts else ())):
        if total.name in metrics.disable:
            continue
        old = before.families.get(total.name)
        if old is None or old.values != [total.samples]:
            old = _FamilyText.of(_NO_HEADS, [deflate(total.render())], [total.samples])
        families[total.name] = old
    return Exposition(families, owners, labels, counts)


def _render_instances(
    family: InstanceFamily[Any],
    groups: Sequence[Group],
    *,
    before: _FamilyText | None,
    stayed: Collection[int],
) -> _FamilyText:
    """Render one metric.

    Of the buckets that `stayed` as they were in `before` but for the metric's values, those whose values did
    so too are taken from there.
    """
    values = [family.of(group) for group in groups]
    kept = {number for number in stayed if before and before.values[number] == values[number]}
    if before and len(kept) == len(groups):
        return before._replace(values=values)
    deflater = Deflater()
    parts = [
        before.part(number)
        if before and number in kept
        else deflater.deflate(family.render(group, values[number]))
        for number, group in enumerate(groups)
    ]
    return _FamilyText.of(before.heads if before else _Heads.of(family), parts, values)


def _divide(snapshot: Snapshot) -> list[Group]:
    """Return the verdicts of each bucket."""
    buckets: list[list[Verdict]] = [[] for _ in range(BUCKETS)]
    for verdict in snapshot.verdicts:
        buckets[zlib.crc32(verdict.instance.id.encode()) % BUCKETS].append(verdict)
    return [Group(snapshot, verdicts) for verdicts in buckets]
