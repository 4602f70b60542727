"""``/sd``: the instances as targets for Prometheus's http_sd, with the labels of its openstack_sd.

Sources: https://prometheus.io/docs/prometheus/latest/http_sd/ and the role ``instance`` of
Prometheus's discovery/openstack/instance.go.
"""

import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice

import msgspec
from cachetools import LRUCache
from flask import Blueprint, Response, abort, request
from werkzeug.datastructures import MultiDict

from fping_exporter.config.labels import label_reader
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.model import Address, AddressKind, Instance, Inventory, Snapshot
from fping_exporter.web.compression import GzippedBody
from fping_exporter.web.metrics import stop_waiting, time_to_wait
from fping_exporter.web.once import OncePer

__all__ = ["Selection", "blueprint", "pack", "parse"]

_PREFIX = "__meta_openstack_"


def blueprint(monitor: Callable[[], Snapshots]) -> Blueprint:
    """Serve the targets.

    Without a fresh snapshot the answer is 503: Prometheus then keeps the targets that it has.
    """
    bp = Blueprint("sd", __name__)
    answers = _Answers()

    @bp.get("/sd")
    def targets() -> Response:
        try:
            selection = parse(request.args)
        except ValueError as error:
            abort(_error(str(error), status=400))
        current = monitor()
        snapshot = current.snapshot(
            # Prometheus gives up a request after its refresh interval.
            timeout=time_to_wait(request.headers.get("X-Prometheus-Refresh-Interval-Seconds")),
            stop_waiting=stop_waiting(request.environ),
        )
        if snapshot is None:
            abort(_error("no results are fresh enough", status=503))
        return answers.find(snapshot, selection, current.settings.labels).respond("application/json")

    return bp


def _error(text: str, *, status: int) -> Response:
    return Response(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The query parameters: which instances, and which port of them."""

    port: int = 80
    """The default is openstack_sd's."""
    alive: bool | None = None
    projects: frozenset[str] = frozenset()
    """Names or ids; empty: all projects."""


def parse(args: MultiDict[str, str]) -> Selection:
    """Read the query parameters; raises ValueError with a message that names the accepted values."""
    for name, values in args.lists():
        if name not in _PARAMETERS:
            message = f"{name!r}: unknown parameter; known are {', '.join(_PARAMETERS)}"
            raise ValueError(message)
        if len(values) > 1 and name != "project":
            message = f"{name}: given {len(values)} times"
            raise ValueError(message)
        if not values[-1]:
            message = f"{name}: empty"
            raise ValueError(message)
    port, alive = args.get("port", "80"), args.get("alive")
    if not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= _LAST_PORT:
        message = f"port: expected a number from 1 to {_LAST_PORT}, got {port!r}"
        raise ValueError(message)
    if alive not in {None, "0", "1"}:
        message = f"alive: expected 1 or 0, got {alive!r}"
        raise ValueError(message)
    return Selection(
        port=int(port),
        alive=None if alive is None else alive == "1",
        projects=frozenset(args.getlist("project")),
    )


_PARAMETERS = ("port", "alive", "project")
_LAST_PORT = 65_535


class _Answers:
    """The bodies for the selections that were asked last, each rendered once and kept compressed.

    Those for other chosen labels are of an earlier configuration.

    The first who asks has it rendered. Where nobody asks, nothing is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: LRUCache[tuple[Selection, tuple[tuple[str, str], ...]], _Answer] = LRUCache(
            _KEPT_SELECTIONS
        )

    def find(self, snapshot: Snapshot, selection: Selection, labels: Mapping[str, str]) -> GzippedBody:
        key = selection, tuple(labels.items())
        with self._lock:
            answer = self._answers.get(key)
            if answer is None:
                answer = self._answers[key] = _Answer(selection, labels)
        return answer.body(snapshot)


_KEPT_SELECTIONS = 8
"""A body takes some 4 MB at 100,000 instances."""


class _Answer:
    """The body for one selection. It changes with each sweep if pings select, else with each list."""

    def __init__(self, selection: Selection, labels: Mapping[str, str]) -> None:
        self._alive = selection.alive
        self._of_snapshot = OncePer[Snapshot, GzippedBody](
            lambda snapshot: pack(
                [v.instance for v in snapshot.verdicts if v.alive is selection.alive],
                snapshot.inventory,
                selection,
                labels,
            )
        )
        self._of_list = OncePer[Inventory, GzippedBody](
            lambda inventory: pack(inventory.instances, inventory, selection, labels)
        )

    def body(self, snapshot: Snapshot) -> GzippedBody:
        return self._of_list(snapshot.inventory) if self._alive is None else self._of_snapshot(snapshot)


def pack(
    instances: Iterable[Instance],
    inventory: Inventory,
    selection: Selection,
    labels: Mapping[str, str] = {},
) -> GzippedBody:
    """Render the targets of the instances and compress them; the whole plain text is never in memory.

    `labels` are the chosen ones; they come without a prefix, so that Prometheus keeps them.
    """
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed, size = [], 0
    for part in _render(_target_groups(instances, inventory, selection, labels)):
        packed.append(stream.compress(part))
        size += len(part)
    packed.append(stream.flush())
    return GzippedBody.from_gzip(b"".join(packed), size=size)


_LEVEL = 3
"""Of 35 MB, level 1 leaves 4.0 MB in 93 ms, level 3 3.8 MB in 100 ms, level 6 3.4 MB in 230 ms."""


class _Labels(msgspec.Struct, kw_only=True, omit_defaults=True, rename=_PREFIX.__add__, gc=False):
    """Labels of a target, tags and chosen ones apart. An empty one is left out: to Prometheus it is none."""

    instance_flavor: str = ""
    instance_id: str = ""
    instance_image: str = ""
    instance_name: str = ""
    instance_status: str = ""
    project_id: str = ""
    user_id: str = ""
    address_pool: str = ""
    private_ip: str = ""
    public_ip: str = ""


class _TargetGroup(msgspec.Struct, gc=False):
    """What http_sd calls a target group; here each has one target."""

    targets: tuple[str]
    labels: _Labels | msgspec.Raw


def _target_groups(
    instances: Iterable[Instance],
    inventory: Inventory,
    selection: Selection,
    chosen: Mapping[str, str],
) -> Iterator[_TargetGroup]:
    """Yield a target group for each fixed address, as openstack_sd does.

    A floating address becomes the label ``public_ip`` of its fixed address. Neutron tells which one that is;
    without its word, Nova's list does where only one is possible.
    """
    topology = inventory.topology
    readers = [(name, label_reader(source)) for name, source in chosen.items()]
    if selection.projects:
        instances = _of_projects(instances, inventory, selection.projects)
    for instance in instances:
        added = _tags(instance.metadata) | {name: read(instance) for name, read in readers}
        more = _encode({name: value for name, value in added.items() if value}) if added else b"{}"
        for address in instance.addresses:
            if address.kind is not AddressKind.FIXED:
                continue
            if topology.floating:
                public = topology.public.get(instance.id, {}).get(address.ip)
            else:
                public = _floating_ip(instance, address)
            labels = _Labels(
                instance_flavor=instance.flavor,
                instance_id=instance.id,
                instance_image=instance.image,
                instance_name=instance.name,
                instance_status=instance.status,
                project_id=instance.project_id,
                user_id=instance.user_id,
                address_pool=address.network,
                private_ip=address.ip,
                public_ip=public or "",
            )
            host = f"[{address.ip}]" if address.family == _IPV6 else address.ip
            yield _TargetGroup(
                (f"{host}:{selection.port}",),
                labels if more == b"{}" else msgspec.Raw(_encode(labels)[:-1] + b"," + more[1:]),
            )


_IPV6 = 6


def _of_projects(
    instances: Iterable[Instance], inventory: Inventory, projects: frozenset[str]
) -> list[Instance]:
    """Return the instances of these projects, given by name or id."""
    ids = {
        id_
        for id_ in {instance.project_id for instance in inventory.instances}
        if id_ in projects or inventory.project_name(id_) in projects
    }
    return [instance for instance in instances if instance.project_id in ids]


def _tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an instance's metadata."""
    return {_tag_label(key): value for key, value in metadata.items()}


@lru_cache(maxsize=1024)
def _tag_label(key: str) -> str:
    return f"{_PREFIX}tag_{re.sub('[^a-zA-Z0-9_]', '_', key)}"


def _floating_ip(instance: Instance, fixed: Address) -> str | None:
    """Return the floating address that maps to this fixed address; None if that is not certain.

    Nova lists a floating address with its port, not with its fixed address. If the port has several IPv4
    addresses, the mapping is unknown.
    """
    port = [
        a
        for a in instance.addresses
        if (a.network, a.mac, a.family) == (fixed.network, fixed.mac, fixed.family)
    ]
    floating = [a.ip for a in port if a.kind is AddressKind.FLOATING]
    return floating[0] if floating and len(port) - len(floating) == 1 else None


def _render(groups: Iterator[_TargetGroup]) -> Iterator[bytes]:
    """Yield a JSON array in parts of some 200 KB; other threads run while one is compressed."""
    before = b"["
    while batch := list(islice(groups, _BATCH)):
        yield before + _encode(batch)[1:-1]
        before = b","
    yield b"]" if before == b"," else b"[]"


_BATCH = 500
_encode = msgspec.json.Encoder().encode
