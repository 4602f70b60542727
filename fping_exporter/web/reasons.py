"""The reasons for silence as the pages explain them: a sentence each, and the command to begin with."""

from typing import NamedTuple

from fping_exporter.model import Reason, Verdict

__all__ = ["REASONS", "Explanation", "first_step"]


class Explanation(NamedTuple):
    """What a reason means, and what to look at first."""

    meaning: str
    command: str
    """Of python-openstackclient; ``{id}`` stands for the instance's id, ``{ip}`` for an address that is
    ambiguous."""


def first_step(verdict: Verdict) -> str:
    """Return the command to begin with; empty if the instance is alive."""
    if verdict.reason is None:
        return ""
    ip = next((each.address.ip for each in verdict.probed if each.ambiguous), "")
    return REASONS[verdict.reason].command.format(id=verdict.instance.id, ip=ip)


_CONSOLE = "openstack console log show {id} --lines 50"
_PORTS = "openstack port list --server {id}"

REASONS = {
    Reason.NO_REPLY: Explanation("Nothing came back, or an error from some addresses only.", _CONSOLE),
    Reason.UNREACHABLE: Explanation("An ICMP error came back from every address that was asked.", _PORTS),
    Reason.ICMP_BLOCKED: Explanation(
        "No security group of its ports lets a ping in.", "openstack server show {id} -c security_groups"
    ),
    Reason.ICMP_IGNORED: Explanation(
        "Its kernel answers at layer 2, and no security group that is known blocks pings.", _CONSOLE
    ),
    Reason.AMBIGUOUS_ADDRESS: Explanation(
        "Somebody else may have its address as well, so it is not asked.",
        "openstack port list --fixed-ip ip-address={ip}",
    ),
    Reason.NO_VANTAGE: Explanation(
        "No place here reaches its networks, or nothing could be sent to it.", _PORTS
    ),
    Reason.NO_ADDRESS: Explanation(
        "It has no address that the configuration asks for and a guest can have.", _PORTS
    ),
    Reason.NOT_ACTIVE: Explanation("Nova does not call it ACTIVE.", "openstack server event list {id}"),
}
"""In the order of the legend: what needs attention first."""
