"""A snapshot as Prometheus metrics, rendered once and served many times."""

import struct
import threading
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.utils import floatToGoString

from fping_exporter.model import Snapshot

__all__ = ["Exposition", "Family", "Labels", "as_metrics", "families"]


class Labels(NamedTuple):
    """The labels of a sample, as pairs and as the text between the braces."""

    pairs: tuple[tuple[str, str], ...]
    text: str


def labels(**values: str) -> Labels:
    """Build labels; their text is sorted by name, as prometheus_client writes them."""
    pairs = tuple(sorted(values.items()))
    return Labels(pairs, ",".join([f'{name}="{_escape(value)}"' for name, value in pairs]))


def _escape(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value


class Family(NamedTuple):
    """One metric: all its samples stand together. Every one here is a gauge."""

    name: str
    documentation: str
    samples: Collection[tuple[Labels, float]]

    def render(self) -> bytes:
        """Write it as prometheus_client would, in text format 0.0.4 and OpenMetrics alike.

        The two formats differ in counters and in quotes within a HELP line, and there
        are neither here. prometheus_client itself takes 20 times as long, and does so for
        every scrape.
        """
        head = f"# HELP {self.name} {self.documentation}\n# TYPE {self.name} gauge\n"
        name = self.name
        return (
            head + "".join([f"{name}{{{labels.text}}} {_number(value)}\n" for labels, value in self.samples])
        ).encode()


def as_metrics(snapshot: Snapshot) -> Iterator[Metric]:
    """Give the same samples to prometheus_client, for a registry of one's own."""
    for family in families(snapshot):
        metric = GaugeMetricFamily(family.name, family.documentation)
        for sample_labels, value in family.samples:
            metric.add_sample(family.name, dict(sample_labels.pairs), value)
        yield metric


def families(snapshot: Snapshot) -> list[Family]:
    r"""Lay out everything that a snapshot says.

    For one silent instance that Nova calls ACTIVE:

        instance_alive{id="6ce1",project_id="5fa0"} 0.0
        instance_layer2_alive{id="6ce1",project_id="5fa0"} 0.0
        instance_hypervisor_active{id="6ce1",project_id="5fa0"} 1.0
        instance_state_mismatch{id="6ce1",project_id="5fa0"} 1.0
        instance_silent{id="6ce1",project_id="5fa0",reason="no_reply"} 1.0
        instance_missed{id="6ce1",project_id="5fa0"} 1.0
        instance_packet_loss_ratio{id="6ce1",project_id="5fa0"} 1.0
        instance_last_reply_timestamp_seconds{id="6ce1",project_id="5fa0"} 1.7954112e+09
        instance_launched_timestamp_seconds{id="6ce1",project_id="5fa0"} 1.7953e+09
        instance_address_alive{address="192.0.2.7",id="6ce1",...} 0.0
        instance_info{addresses="192.0.2.7",availability_zone="nova",...} 1.0
        project_info{domain_id="default",name="selenium",project_id="5fa0"} 1.0
        project_contact_info{email="ops@example.org",project_id="5fa0"} 1.0
        project_instances{alive="false",project_id="5fa0",status="ACTIVE"} 1.0
        hypervisor_up{hypervisor="compute-1"} 1.0
        hypervisor_instances{alive="false",hypervisor="compute-1",status="ACTIVE"} 1.0

    and instance_rtt_seconds for those that are alive, instance_never_answered instead of instance_missed for
    those that have not answered since their launch. instance_address_alive comes with probe.per_address only.
    """
    inventory = snapshot.inventory
    judged = [
        (verdict, labels(id=verdict.instance.id, project_id=verdict.instance.project_id))
        for verdict in snapshot.verdicts
    ]
    return [
        Family(
            "instance_alive",
            "1 if any probed address of the instance answered in the last sweep (cached), else 0; absent "
            "where none could be asked, or an answer could be somebody else's.",
            [(who, verdict.alive) for verdict, who in judged if verdict.alive is not None],
        ),
        Family(
            "instance_layer2_alive",
            "1 if the kernel of an instance that is silent to pings answered at layer 2 (ARP or IPv6 "
            "neighbour discovery) in the last sweep (cached), else 0; absent where it was not asked or is "
            "not believed.",
            [(who, verdict.layer2_alive) for verdict, who in judged if verdict.layer2_alive is not None],
        ),
        Family(
            "instance_hypervisor_active",
            "1 if Nova reports the instance as ACTIVE (cached), else 0.",
            [(who, verdict.instance.active) for verdict, who in judged],
        ),
        Family(
            "instance_state_mismatch",
            "1 if an ACTIVE instance is silent, or one answers that Nova calls off, paused, suspended or "
            "shelved (cached), else 0.",
            [(who, mismatch) for verdict, who in judged if (mismatch := verdict.mismatch) is not None],
        ),
        Family(
            "instance_silent",
            "1, with the one reason why the instance is not alive (cached).",
            [
                (labels(**dict(who.pairs), reason=verdict.reason), 1)
                for verdict, who in judged
                if verdict.reason is not None and (verdict.alive is not None or snapshot.alone)
            ],
        ),
        Family(
            "instance_missed",
            "1 if an ACTIVE instance that answered within a day before is silent, and nothing explained that "
            "when it began, until it answers or Nova calls it off (cached); absent otherwise.",
            [(who, 1) for verdict, who in judged if verdict.instance.id in snapshot.missed],
        ),
        Family(
            "instance_never_answered",
            "1 if an ACTIVE instance that was launched between 15 minutes and a day ago, while this exporter "
            "watched, has not answered since, and nothing explains it (cached); absent otherwise.",
            [(who, 1) for verdict, who in judged if verdict.instance.id in snapshot.never_answered],
        ),
        Family(
            "instance_rtt_seconds",
            "Best round trip to any address of the instance in the last sweep (cached), in seconds.",
            [(who, verdict.rtt) for verdict, who in judged if verdict.rtt is not None],
        ),
        Family(
            "instance_packet_loss_ratio",
            "Lost / sent packets of the instance's best address in the last sweep (cached), 0 to 1.",
            [(who, verdict.loss) for verdict, who in judged if verdict.loss is not None],
        ),
        Family(
            "instance_last_reply_timestamp_seconds",
            "Unix time of the last sweep in which the instance answered this exporter, in seconds.",
            [(who, verdict.last_reply_at) for verdict, who in judged if verdict.last_reply_at is not None],
        ),
        Family(
            "instance_launched_timestamp_seconds",
            "Unix time when Nova launched the instance (cached), in seconds; absent until then.",
            [
                (who, verdict.instance.launched_at)
                for verdict, who in judged
                if verdict.instance.launched_at is not None
            ],
        ),
        Family(
            "instance_address_alive",
            "1 if the address answered in the last sweep (cached), else 0; with probe.per_address only.",
            list(_addresses(snapshot)) if snapshot.per_address else [],
        ),
        Family(
            "instance_info",
            "What Nova says of the instance (cached), always 1.",
            [
                (
                    labels(
                        id=i.id,
                        project_id=i.project_id,
                        name=i.name,
                        status=i.status,
                        power_state=i.power_state,
                        task_state=i.task_state,
                        hypervisor=i.hypervisor,
                        availability_zone=i.availability_zone,
                        addresses=",".join(address.ip for address in i.addresses),
                    ),
                    1,
                )
                for i in inventory.instances
            ],
        ),
        Family(
            "project_info",
            "Name and domain of a project that has instances here (cached), always 1.",
            [
                (labels(project_id=project.id, name=project.name, domain_id=project.domain_id), 1)
                for project in (
                    inventory.projects[id_]
                    for id_ in sorted({instance.project_id for instance in inventory.instances})
                    if id_ in inventory.projects
                )
            ],
        ),
        Family(
            "project_contact_info",
            "Whom to write to about a project that has instances here (cached), always 1.",
            [
                (labels(project_id=id_, email=inventory.contacts[id_]), 1)
                for id_ in sorted({instance.project_id for instance in inventory.instances})
                if id_ in inventory.contacts
            ],
        ),
        Family(
            "project_instances",
            "Instances of a project by Nova's status and the ping's answer (cached).",
            _count(
                labels(project_id=v.instance.project_id, status=v.instance.status, alive=_word(v.alive))
                for v in snapshot.verdicts
            ),
        ),
        Family(
            "hypervisor_up",
            "1 if the nova-compute service of the hypervisor is up (cached), else 0.",
            [(labels(hypervisor=hypervisor.name), hypervisor.up) for hypervisor in inventory.hypervisors],
        ),
        Family(
            "hypervisor_instances",
            "Instances on a hypervisor by Nova's status and the ping's answer (cached).",
            _count(
                labels(hypervisor=v.instance.hypervisor, status=v.instance.status, alive=_word(v.alive))
                for v in snapshot.verdicts
                if v.instance.hypervisor
            ),
        ),
    ]


def _number(value: float) -> str:
    return "1.0" if value == 1 else "0.0" if value == 0 else str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _count(keys: Iterable[Labels]) -> list[tuple[Labels, float]]:
    return sorted(Counter(keys).items())


def _word(alive: bool | None) -> str:  # noqa: FBT001, it is the value itself
    return "unknown" if alive is None else "true" if alive else "false"


def _addresses(snapshot: Snapshot) -> Iterator[tuple[Labels, float]]:
    """Yield each address that was asked once, however often Nova lists it."""
    for verdict in snapshot.verdicts:
        instance = verdict.instance
        asked = {(p.address.network, p.target): p.outcome for p in verdict.probed if p.target and p.outcome}
        for (network, target), outcome in asked.items():
            who = labels(
                id=instance.id,
                project_id=instance.project_id,
                address=target.ip,
                network=network,
                vantage=target.vantage,
            )
            yield who, outcome.alive


class Exposition:
    """The text of the newest snapshot, rendered by whoever first asks for it.

    Kept family by family, plain and deflated. Each family is compressed on its own and ends at a byte,
    so that any choice of them is put together without rendering or compressing anything again, and as
    one gzip member: a file of several is as legal, but browsers and curl stop at the end of the first.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._texts: dict[str, _Text] = {}
        self._checksum = 0
        """Of all families; to compute it takes longer than the rest of an answer."""

    def render(self, snapshot: Snapshot | None, *, names: Collection[str] | None, end: bytes) -> list[bytes]:
        """Return the families called `names` (None: all) of the snapshot, if there is one, and then `end`.

        In parts, of which those of the snapshot are the same objects in every answer: clients who read
        slowly share them.
        """
        texts, _ = self._choose(snapshot, names)
        return [*(text.plain for text in texts), end]

    def compress(
        self, snapshot: Snapshot | None, *, names: Collection[str] | None, end: bytes
    ) -> list[bytes]:
        """Return the same as a gzip file (RFC 1952)."""
        texts, checksum = self._choose(snapshot, names)
        size = sum(len(text.plain) for text in texts) + len(end)
        trailer = struct.pack("<LL", zlib.crc32(end, checksum), size % 2**32)
        deflated = (text.deflated for text in texts)
        return [_GZIP_HEADER, *deflated, _deflate(end, zlib.Z_FINISH), trailer]

    def _choose(
        self, snapshot: Snapshot | None, names: Collection[str] | None
    ) -> tuple[Collection["_Text"], int]:
        """Return the texts of the families called `names`, and their checksum."""
        with self._lock:
            if self._snapshot is not snapshot:
                self._texts = {}  # what is old need not be in memory beside what is new
                self._texts = {
                    family.name: _Text(text := family.render(), _deflate(text, zlib.Z_SYNC_FLUSH))
                    for family in (families(snapshot) if snapshot else ())
                }
                self._checksum = _checksum(self._texts.values())
                self._snapshot = snapshot
            texts, checksum = self._texts, self._checksum
        if names is None:
            return texts.values(), checksum
        chosen = [texts[name] for name in texts if name in names]
        return chosen, _checksum(chosen)


class _Text(NamedTuple):
    plain: bytes
    deflated: bytes


def _deflate(text: bytes, end: int) -> bytes:
    """Return `text` as blocks of a deflate stream that refer to nothing before them."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(text) + stream.flush(end)


def _checksum(texts: Iterable[_Text]) -> int:
    checksum = 0
    for text in texts:
        checksum = zlib.crc32(text.plain, checksum)
    return checksum


_LEVEL = 1
"""Level 6 takes three times as long for a text that is a quarter smaller."""
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""Deflated, without a name or a time, by an unknown system."""
