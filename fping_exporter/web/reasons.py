"""The reasons for silence in a sentence each, as the pages explain them."""

from fping_exporter.model import Reason

__all__ = ["REASONS"]

REASONS = {
    Reason.NO_REPLY: "Nothing came back, or an error from some addresses only.",
    Reason.UNREACHABLE: "An ICMP error came back from every address that was asked.",
    Reason.ICMP_BLOCKED: "No security group of its ports lets a ping in.",
    Reason.ICMP_IGNORED: "Its kernel answers at layer 2, and no security group that is known blocks pings.",
    Reason.AMBIGUOUS_ADDRESS: "Somebody else may have its address as well, so it is not asked.",
    Reason.NO_VANTAGE: "No place here reaches its networks, or nothing could be sent to it.",
    Reason.NO_ADDRESS: "It has no address that the configuration asks for and a guest can have.",
    Reason.NOT_ACTIVE: "Nova does not call it ACTIVE.",
}
"""In the order of the legend: what needs attention first."""
