r"""The metrics of a snapshot: which samples each has, and how their lines read.

For one silent instance that Nova calls ACTIVE:

    instance_alive{id="6ce1",project_id="5fa0"} 0.0
    instance_layer2_alive{id="6ce1",project_id="5fa0"} 0.0
    instance_hypervisor_active{id="6ce1",project_id="5fa0"} 1.0
    instance_state_mismatch{id="6ce1",project_id="5fa0"} 1.0
    instance_silent{id="6ce1",project_id="5fa0",reason="no_reply"} 1.0
    instance_missed{id="6ce1",project_id="5fa0"} 1.0
    instance_packet_loss_ratio{id="6ce1",project_id="5fa0"} 1.0
    instance_last_reply_timestamp_seconds{id="6ce1",project_id="5fa0"} 1.7954112e+09
    instance_silent_since_timestamp_seconds{id="6ce1",project_id="5fa0"} 1.7954115e+09
    instance_launched_timestamp_seconds{id="6ce1",project_id="5fa0"} 1.7953e+09
    instance_address_alive{address="192.0.2.7",id="6ce1",...} 0.0
    instance_info{addresses="192.0.2.7",availability_zone="nova",...} 1.0
    project_info{domain_id="default",name="selenium",project_id="5fa0"} 1.0
    project_contact_info{email="ops@example.org",project_id="5fa0"} 1.0
    project_instances{alive="false",project_id="5fa0",status="ACTIVE"} 1.0
    hypervisor_up{hypervisor="compute-1"} 1.0
    hypervisor_instances{alive="false",hypervisor="compute-1",status="ACTIVE"} 1.0

and instance_rtt_seconds for those that are alive, instance_never_answered instead of instance_missed for
those that have not answered since their launch. instance_address_alive comes with probe.per_address only, and
with metrics.counters only:

    instance_pings_sent_total{id="6ce1",project_id="5fa0"} 12.0
    instance_pings_lost_total{id="6ce1",project_id="5fa0"} 3.0
    hypervisor_rtt_seconds_bucket{hypervisor="compute-1",le="0.001"} 38.0
    hypervisor_rtt_seconds_count{hypervisor="compute-1"} 40.0
    hypervisor_rtt_seconds_sum{hypervisor="compute-1"} 0.0213

The lines are those of prometheus_client, in text format 0.0.4 and OpenMetrics alike. The two differ in the
head of a counter, and in quotes within a HELP line, of which there are none here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar

from prometheus_client.utils import floatToGoString

from fping_exporter.config.labels import label_reader
from fping_exporter.metrics.ping_counts import BOUNDS, Histogram, PingCounts, Pings
from fping_exporter.model import Instance, Reason, Snapshot, Verdict

__all__ = [
    "INSTANCE_FAMILIES",
    "Group",
    "InstanceFamily",
    "TotalFamily",
    "head",
    "info_family",
    "ping_families",
    "round_trips",
    "totals",
]

T = TypeVar("T")


class Group:
    """Some of the verdicts of a snapshot."""

    def __init__(self, snapshot: Snapshot, verdicts: Sequence[Verdict]) -> None:
        """Hold them."""
        self.snapshot = snapshot
        self.verdicts = verdicts

    @cached_property
    def owners(self) -> tuple[list[str], list[str]]:
        """The ids of the instances and of their projects."""
        instances = [verdict.instance for verdict in self.verdicts]
        return [instance.id for instance in instances], [instance.project_id for instance in instances]

    @property
    def labels(self) -> list[str]:
        """The labels that most samples of each instance have, as text. Nobody keeps them: they are large."""
        ids, project_ids = map(_escape_each, self.owners)
        return [
            f'id="{id_}",project_id="{project_id}"' for id_, project_id in zip(ids, project_ids, strict=True)
        ]


@dataclass(frozen=True)
class InstanceFamily(Generic[T]):
    """A metric of instances."""

    name: str
    documentation: str
    values: Callable[[Group], list[T | None]]
    """Returns for each verdict all that its lines depend on, beside the ids of the instance and its project;
    None where it has no line."""
    lines: Callable[[str, Sequence[str], Sequence[T | None]], Iterable[str]]
    """Writes lines of the metric with this name, for the labels ``id`` and ``project_id``, as text, and the
    value of each verdict."""
    type: str = "gauge"

    def of(self, group: Group) -> tuple[T | None, ...] | None:
        """Return the values of a group, None if it has no line; the garbage collector skips such tuples."""
        values = self.values(group)
        return None if values.count(None) == len(values) else tuple(values)

    def render(self, group: Group, values: Sequence[T | None] | None) -> bytes:
        """Write the samples of a group that has these values."""
        return "".join(self.lines(self.name, group.labels, values)).encode() if values else b""


@dataclass(frozen=True)
class TotalFamily:
    """A metric of projects or hypervisors."""

    name: str
    documentation: str
    labels: tuple[str, ...]
    """The names of the labels, sorted."""
    samples: list[tuple[tuple[str, ...], float]]
    """The values of the labels, and that of the sample."""
    type: str = "gauge"

    def render(self) -> bytes:
        """Write the metric, its head included."""
        lines = [
            f"{self.name}{{{_labels(self.labels, texts)}}} {_number(value)}\n"
            for texts, value in self.samples
        ]
        return head(self) + "".join(lines).encode()


@dataclass(frozen=True)
class HistogramFamily:
    """The histogram of round trips to the instances of each hypervisor."""

    name: str
    documentation: str
    samples: Mapping[str, Histogram]
    """By the hypervisor's name."""
    type: str = "histogram"

    def render(self) -> bytes:
        """Write the metric, its head included."""
        return head(self) + "".join(self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        for hypervisor, (counts, total) in sorted(self.samples.items()):
            label = _labels(("hypervisor",), (hypervisor,))
            for bound, count in zip((*map(_number, BOUNDS), "+Inf"), accumulate(counts), strict=True):
                yield f'{self.name}_bucket{{{label},le="{bound}"}} {_number(count)}\n'
            yield f"{self.name}_count{{{label}}} {_number(sum(counts))}\n"
            yield f"{self.name}_sum{{{label}}} {_number(total)}\n"


def head(family: InstanceFamily[Any] | TotalFamily | HistogramFamily, *, openmetrics: bool = False) -> bytes:
    """Write the lines that precede the samples. OpenMetrics has no ``_total`` in that of a counter."""
    name = family.name.removesuffix("_total") if openmetrics else family.name
    return f"# HELP {name} {family.documentation}\n# TYPE {name} {family.type}\n".encode()


def totals(snapshot: Snapshot) -> Iterator[TotalFamily]:
    """Yield the metrics of projects and hypervisors."""
    inventory = snapshot.inventory
    counts = Counter(
        (v.instance.project_id, v.instance.hypervisor, v.instance.status, v.alive) for v in snapshot.verdicts
    )
    by_project: Counter[tuple[str, ...]] = Counter()
    by_hypervisor: Counter[tuple[str, ...]] = Counter()
    for (project_id, hypervisor, status, alive), count in counts.items():
        by_project[_word(alive), project_id, status] += count
        if hypervisor:
            by_hypervisor[_word(alive), hypervisor, status] += count
    project_ids = sorted({project_id for project_id, *_ in counts})
    projects = [inventory.projects[id_] for id_ in project_ids if id_ in inventory.projects]
    yield TotalFamily(
        "project_info",
        "Name and domain of a project that has instances here (cached), always 1.",
        ("domain_id", "name", "project_id"),
        [((project.domain_id, project.name, project.id), 1) for project in projects],
    )
    yield TotalFamily(
        "project_contact_info",
        "Whom to write to about a project that has instances here (cached), always 1.",
        ("email", "project_id"),
        [((inventory.contacts[id_], id_), 1) for id_ in project_ids if id_ in inventory.contacts],
    )
    yield TotalFamily(
        "project_instances",
        "Instances of a project by Nova's status and the ping's answer (cached).",
        ("alive", "project_id", "status"),
        sorted(by_project.items()),
    )
    yield TotalFamily(
        "hypervisor_up",
        "1 if the nova-compute service of the hypervisor is up (cached), else 0.",
        ("hypervisor",),
        [((hypervisor.name,), hypervisor.up) for hypervisor in inventory.hypervisors],
    )
    yield TotalFamily(
        "hypervisor_instances",
        "Instances on a hypervisor by Nova's status and the ping's answer (cached).",
        ("alive", "hypervisor", "status"),
        sorted(by_hypervisor.items()),
    )


def _word(alive: bool | None) -> str:  # noqa: FBT001, it is the value itself
    return "unknown" if alive is None else "true" if alive else "false"


def _each(name: str) -> Callable[[Group], list[Any]]:
    """Return a function for the attribute `name` of each verdict."""
    get = attrgetter(name)
    return lambda group: list(map(get, group.verdicts))


def _reasons(group: Group) -> list[Reason | None]:
    if group.snapshot.alone:
        return [verdict.reason for verdict in group.verdicts]
    return [None if verdict.alive is None else verdict.reason for verdict in group.verdicts]


def _silent_since(group: Group) -> list[float | None]:
    since = group.snapshot.since
    return [
        found.at if verdict.alive is False and (found := since(verdict)) else None
        for verdict in group.verdicts
    ]


def _is_in(name: str) -> Callable[[Group], list[int | None]]:
    """Return a function for whether the snapshot's set `name` has the id of each instance: 1, or None."""
    get = attrgetter(name)

    def values(group: Group) -> list[int | None]:
        ids = get(group.snapshot)
        return [1 if verdict.instance.id in ids else None for verdict in group.verdicts]

    return values


_Sample = tuple[tuple[str, ...], float]
"""The values of the labels, and that of the sample."""


def _addresses(group: Group) -> list[list[_Sample] | None]:
    """Return a sample for each address that was asked, however often Nova lists it."""
    if not group.snapshot.per_address:
        return [None] * len(group.verdicts)

    def samples(verdict: Verdict) -> list[_Sample]:
        instance = verdict.instance
        asked = {(p.address.network, p.target): p.outcome for p in verdict.probed if p.target and p.outcome}
        return [
            ((target.ip, instance.id, network, instance.project_id, target.vantage), outcome.alive)
            for (network, target), outcome in asked.items()
        ]

    return list(map(samples, group.verdicts))


def _number_lines(name: str, who: Sequence[str], values: Sequence[float | None]) -> list[str]:
    numbers = {value: _number(value) for value in set(values) if value is not None}
    return [
        f"{name}{{{labels}}} {numbers[value]}\n"
        for labels, value in zip(who, values, strict=True)
        if value is not None
    ]


def _reason_lines(name: str, who: Sequence[str], values: Sequence[Reason | None]) -> list[str]:
    return [
        f'{name}{{{labels},reason="{reason}"}} 1.0\n'
        for labels, reason in zip(who, values, strict=True)
        if reason
    ]


def _address_lines(
    name: str, _who: Sequence[str], values: Sequence[Sequence[_Sample] | None]
) -> Iterator[str]:
    for texts, value in chain.from_iterable(filter(None, values)):
        yield f"{name}{{{_labels(_ADDRESS_LABELS, texts)}}} {_number(value)}\n"


_ADDRESS_LABELS = ("address", "id", "network", "project_id", "vantage")


def info_family(labels: Mapping[str, str]) -> InstanceFamily[Instance]:
    """Return the metric with what Nova says of an instance, and with the chosen labels."""
    readers = [label_reader(source) for source in labels.values()]
    names = (*_INFO_LABELS, *labels)
    in_order = itemgetter(*sorted(range(len(names)), key=names.__getitem__))
    sorted_names = in_order(names)

    def lines(name: str, _who: Sequence[str], values: Sequence[Instance | None]) -> list[str]:
        rows = [(*_info(each), *[read(each) for read in readers]) for each in values if each]
        return [f"{name}{{{_labels(sorted_names, in_order(row))}}} 1.0\n" for row in rows]

    return InstanceFamily(
        "instance_info", "What Nova says of the instance (cached), always 1.", _each("instance"), lines
    )


_INFO_LABELS = (
    "addresses",
    "availability_zone",
    "hypervisor",
    "id",
    "name",
    "power_state",
    "project_id",
    "status",
    "task_state",
)


def _info(instance: Instance) -> tuple[str, ...]:
    return (
        ",".join([address.ip for address in instance.addresses]),
        instance.availability_zone,
        instance.hypervisor,
        instance.id,
        instance.name,
        instance.power_state,
        instance.project_id,
        instance.status,
        instance.task_state,
    )


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    return ",".join([f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)])


def _escape_each(values: list[str]) -> list[str]:
    joined = "".join(values)
    return list(map(_escape, values)) if _escape(joined) != joined else values


def _escape(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value


def _number(value: float) -> str:
    if 0 <= value < _FIRST_EXPONENT:  # most are: floatToGoString takes three times as long, for the same text
        return repr(float(value) + 0.0)
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


_FIRST_EXPONENT = 1e6
"""From here on Go writes an exponent."""

INSTANCE_FAMILIES: tuple[InstanceFamily[Any], ...] = (
    InstanceFamily(
        "instance_alive",
        "1 if any probed address of the instance answered in the last sweep (cached), else 0; absent "
        "where none could be asked, or an answer could be somebody else's.",
        _each("alive"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_layer2_alive",
        "1 if the kernel of an instance that is silent to pings answered at layer 2 (ARP or IPv6 "
        "neighbour discovery) in the last sweep (cached), else 0; absent where it was not asked or is "
        "not believed.",
        _each("layer2_alive"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_hypervisor_active",
        "1 if Nova reports the instance as ACTIVE (cached), else 0.",
        _each("instance.active"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_state_mismatch",
        "1 if an ACTIVE instance is silent, or one answers that Nova calls off, paused, suspended or "
        "shelved (cached), else 0.",
        _each("mismatch"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_silent",
        "1, with the one reason why the instance is not alive (cached).",
        _reasons,
        _reason_lines,
    ),
    InstanceFamily(
        "instance_missed",
        "1 if an ACTIVE instance that answered within a day before is silent, and nothing explained that "
        "when it began, until it answers or Nova calls it off (cached); absent otherwise.",
        _is_in("missed"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_never_answered",
        "1 if an ACTIVE instance that was launched between 15 minutes and a day ago, while this exporter "
        "watched, has not answered since, and nothing explains it (cached); absent otherwise.",
        _is_in("never_answered"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_rtt_seconds",
        "Best round trip to any address of the instance in the last sweep (cached), in seconds.",
        _each("rtt"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_packet_loss_ratio",
        "Lost / sent packets of the instance's best address in the last sweep (cached), 0 to 1.",
        _each("loss"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_last_reply_timestamp_seconds",
        "Unix time of the last sweep in which the instance answered this exporter, in seconds.",
        _each("last_reply_at"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_silent_since_timestamp_seconds",
        "Unix time of the first sweep since which the instance has not answered this exporter (cached), in "
        "seconds: it is silent since then at least, and longer if nobody asked it before; absent where it "
        "answers or could not be asked.",
        _silent_since,
        _number_lines,
    ),
    InstanceFamily(
        "instance_launched_timestamp_seconds",
        "Unix time when Nova launched the instance (cached), in seconds; absent until then.",
        _each("instance.launched_at"),
        _number_lines,
    ),
    InstanceFamily(
        "instance_address_alive",
        "1 if the address answered in the last sweep (cached), else 0; with probe.per_address only.",
        _addresses,
        _address_lines,
    ),
)
"""Those that every exporter has, beside :func:`info_family`."""


def ping_families(counts: PingCounts) -> Iterator[InstanceFamily[int]]:
    """Yield the counters of packets."""
    for name, field, documentation in (
        ("instance_pings_sent_total", "sent", "Echo requests sent to the instance's best address"),
        ("instance_pings_lost_total", "lost", "Echo requests to the instance's best address without a reply"),
    ):
        get = attrgetter(field)

        def values(group: Group, get: Callable[[Pings], int] = get) -> list[int | None]:
            found = [counts.instances.get(id_) for id_ in group.owners[0]]
            return [None if pings is None else get(pings) for pings in found]

        text = f"{documentation}, in all sweeps since this exporter was started (cached)."
        yield InstanceFamily(name, text, values, _number_lines, "counter")


def round_trips(counts: PingCounts) -> HistogramFamily:
    """Return the histogram of round trips."""
    return HistogramFamily(
        "hypervisor_rtt_seconds",
        "Best round trips to the instances of a hypervisor, in all sweeps since this exporter was started "
        "(cached), in seconds.",
        counts.hypervisors,
    )
