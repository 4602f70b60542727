"""``/sd``: the instances as targets for Prometheus's http_sd, with the labels of its openstack_sd.

Sources: https://prometheus.io/docs/prometheus/latest/http_sd/ and the role ``instance`` of
Prometheus's discovery/openstack/instance.go.
"""

import re
from collections.abc import Callable, Iterator

import msgspec
from flask import Blueprint, Response, abort, request
from werkzeug.datastructures import MultiDict

from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.model import Address, AddressKind, Instance, Snapshot
from fping_exporter.web.metrics import stop_waiting, time_to_wait

__all__ = ["Selection", "blueprint", "parse", "target_groups"]

_PREFIX = "__meta_openstack_"


def blueprint(monitor: Callable[[], Snapshots]) -> Blueprint:
    """Serve the targets.

    Without a fresh snapshot the answer is 503: Prometheus then keeps the targets that it has.
    """
    bp = Blueprint("sd", __name__)

    @bp.get("/sd")
    def targets() -> Response:
        try:
            selection = parse(request.args)
        except ValueError as error:
            abort(_error(str(error), status=400))
        snapshot = monitor().snapshot(
            # Prometheus gives up a request after its refresh interval.
            timeout=time_to_wait(request.headers.get("X-Prometheus-Refresh-Interval-Seconds")),
            stop_waiting=stop_waiting(request.environ),
        )
        if snapshot is None:
            abort(_error("no results are fresh enough", status=503))
        body = msgspec.json.encode(list(target_groups(snapshot, selection)))
        return Response(body, content_type="application/json")

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


def target_groups(snapshot: Snapshot, selection: Selection) -> Iterator[dict[str, object]]:
    """Yield a target group for each fixed address, as openstack_sd does.

    A floating address becomes the label ``public_ip`` of its fixed address. Neutron tells which one that is;
    without its word, Nova's list does where only one is possible.
    """
    topology = snapshot.inventory.topology
    for verdict in snapshot.verdicts:
        instance = verdict.instance
        if selection.alive not in {None, verdict.alive}:
            continue
        project = {instance.project_id, snapshot.inventory.project_name(instance.project_id)}
        if selection.projects and not selection.projects & project:
            continue
        common = _labels(instance)
        for address in instance.addresses:
            if address.kind is AddressKind.FIXED:
                host = f"[{address.ip}]" if address.family == _IPV6 else address.ip
                labels = common | {
                    f"{_PREFIX}address_pool": address.network,
                    f"{_PREFIX}private_ip": address.ip,
                }
                if topology.floating:
                    public = topology.public.get(instance.id, {}).get(address.ip)
                else:
                    public = _floating_ip(instance, address)
                if public:
                    labels[f"{_PREFIX}public_ip"] = public
                yield {"targets": [f"{host}:{selection.port}"], "labels": labels}


_IPV6 = 6


def _labels(instance: Instance) -> dict[str, str]:
    """Return the labels that all targets of an instance have; to Prometheus an empty label is none."""
    labels = {
        "instance_flavor": instance.flavor,
        "instance_id": instance.id,
        "instance_image": instance.image,
        "instance_name": instance.name,
        "instance_status": instance.status,
        "project_id": instance.project_id,
        "user_id": instance.user_id,
    } | {f"tag_{re.sub('[^a-zA-Z0-9_]', '_', key)}": value for key, value in instance.metadata.items()}
    return {_PREFIX + name: value for name, value in labels.items() if value}


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
