"""What a reason for silence means, and what to do next: a sentence, a command, a section of the runbook."""

import shlex
from typing import NamedTuple

from fping_exporter.model import Reason, Verdict
from fping_exporter.nova_status import contradicts

__all__ = ["REASONS", "Advice", "ReasonText", "advise", "anchor_of"]


class Advice(NamedTuple):
    """What to do next."""

    sentence: str
    command: str = ""
    """The one to begin with, of python-openstackclient; empty if there is nothing to do."""
    section: str = ""
    """The heading of a section of ``deploy/runbook.md``; empty if there is nothing to do."""


class ReasonText(NamedTuple):
    """A reason in words."""

    meaning: str
    advice: Advice
    """In its command, ``{id}`` stands for the instance's id, ``{ip}`` for an address that is ambiguous."""


def advise(verdict: Verdict, *, hypervisor_up: bool | None = None, remembered: bool = True) -> Advice:
    """Return what to do next about an instance.

    `hypervisor_up` is Nova's word, None if it is not known. Unless earlier sweeps are `remembered`, nobody
    knows whether it has ever answered.
    """
    instance = verdict.instance
    if verdict.alive:
        return _advise_on_answering(verdict)
    if hypervisor_up is False and instance.active:
        advice = _HYPERVISOR_DOWN
    elif (
        verdict.reason is Reason.NOT_ACTIVE
        and verdict.layer2_alive
        and contradicts(instance.status, alive=True)
    ):
        advice = _ANSWERS_THOUGH_OFF
    elif verdict.reason is Reason.NOT_ACTIVE:
        advice = _BY_STATUS.get(instance.status, REASONS[Reason.NOT_ACTIVE].advice)
    elif verdict.reason is None and verdict.alive is None:
        advice = Advice("Ask anew: whether it answers is not known.")
    elif verdict.reason is None:
        advice = _UNKNOWN_REASON
    else:
        advice = REASONS[verdict.reason].advice
        if verdict.reason in _UNEXPLAINED and remembered and verdict.last_reply_at is None:
            advice = advice._replace(section="InstanceNeverAnswered")
    ip = next((each.address.ip for each in verdict.probed if each.ambiguous), "")
    return advice._replace(command=advice.command.format(id=shlex.quote(instance.id), ip=shlex.quote(ip)))


def _advise_on_answering(verdict: Verdict) -> Advice:
    if verdict.mismatch:
        advice = _ANSWERS_THOUGH_OFF
    elif verdict.loss:
        advice = _LOSES_PACKETS
    else:
        return Advice("Nothing: it answers.")
    return advice._replace(command=advice.command.format(id=shlex.quote(verdict.instance.id)))


def anchor_of(section: str) -> str:
    """Return the fragment by which a page made of the runbook links to one of its headings."""
    return "#" + section.lower().replace(" ", "-")


_CONSOLE = "openstack console log show {id} --lines 50"
_PORTS = "openstack port list --server {id}"
_EVENTS = "openstack server event list {id}"
_UNEXPLAINED = frozenset({Reason.UNREACHABLE, Reason.NO_REPLY})

_HYPERVISOR_DOWN = Advice(
    "Nova calls its hypervisor down: find out whether the host is, before anything else.",
    "openstack server show {id} -c OS-EXT-SRV-ATTR:host -c OS-EXT-SRV-ATTR:hypervisor_hostname",
    "HypervisorDown",
)
_ANSWERS_THOUGH_OFF = Advice(
    "It answers though Nova calls it off: find out where it runs, or who else has its address.",
    "openstack server show {id} -c status -c OS-EXT-STS:power_state -c OS-EXT-SRV-ATTR:hypervisor_hostname",
    "InstanceAnsweringThoughOff",
)
_LOSES_PACKETS = Advice(
    "It answers, but packets were lost: see whether others on its hypervisor lose some too.",
    "openstack server show {id} -c OS-EXT-SRV-ATTR:host -c addresses",
    "InstancePacketLoss",
)
_UNKNOWN_REASON = Advice("Ask anew: why it is silent is not known.", _CONSOLE, "InstanceSilent")
_STUCK_BUILDING = Advice(
    "Nova is building it: if that takes more than a few minutes, find the step that hangs.",
    _EVENTS,
    "InstanceStuckBuilding",
)
_STUCK_MOVING = Advice(
    "Nova is moving it: if that takes more than ten minutes, look at the migration.",
    "openstack server migration list --server {id}",
    "InstanceStuckMoving",
)
_BY_STATUS = {
    "BUILD": _STUCK_BUILDING,
    "REBUILD": _STUCK_BUILDING,
    "MIGRATING": _STUCK_MOVING,
    "RESIZE": _STUCK_MOVING,
    "REVERT_RESIZE": _STUCK_MOVING,
}

REASONS = {
    Reason.NO_REPLY: ReasonText(
        "Nothing came back, or an error from some addresses only.",
        Advice("Read its console: has it booted, has it an address?", _CONSOLE, "InstanceSilent"),
    ),
    Reason.UNREACHABLE: ReasonText(
        "An ICMP error came back from every address that was asked.",
        Advice("See whether its ports are ACTIVE, and on its host.", _PORTS, "InstanceSilent"),
    ),
    Reason.ICMP_BLOCKED: ReasonText(
        "No security group of its ports lets a ping in.",
        Advice(
            "Add a rule that lets ICMP in, or leave it: only its owner knows whether pings are wanted.",
            "openstack server show {id} -c security_groups",
            "icmp_blocked",
        ),
    ),
    Reason.ICMP_IGNORED: ReasonText(
        "Its kernel answers at layer 2, and no security group that is known blocks pings.",
        Advice("Ask its owner whether a firewall in the guest drops pings.", _CONSOLE, "InstanceIgnoresPing"),
    ),
    Reason.AMBIGUOUS_ADDRESS: ReasonText(
        "Somebody else may have its address as well, so it is not asked.",
        Advice(
            "Find out who has the address, and from where only this instance is reached.",
            "openstack port list --fixed-ip ip-address={ip}",
            "ambiguous_address",
        ),
    ),
    Reason.NO_VANTAGE: ReasonText(
        "No place here reaches its networks, or nothing could be sent to it.",
        Advice("See in which networks it is, and ping from a host that reaches them.", _PORTS, "no_vantage"),
    ),
    Reason.NO_ADDRESS: ReasonText(
        "It has no address that the configuration asks for and a guest can have.",
        Advice("See whether it has a port with an address.", _PORTS, "no_address"),
    ),
    Reason.NOT_ACTIVE: ReasonText(
        "Nova does not call it ACTIVE.",
        Advice("See who did what to it last.", _EVENTS, "not_active"),
    ),
}
"""In the order of the legend: what needs attention first."""
