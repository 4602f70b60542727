"""What was learned of an address at layer 2, in words."""

from fping_exporter.explanation.values import Layer2Facts
from fping_exporter.model import (
    AddressKind,
    Layer2Doubt,
    Layer2Sweep,
    Layer2Target,
    Probed,
    Topology,
    Verdict,
)
from fping_exporter.verdict.layer2 import layer2_targets

__all__ = ["explain_layer2"]


def explain_layer2(
    verdict: Verdict, probed: Probed | None, sweep: Layer2Sweep | None, topology: Topology
) -> Layer2Facts:
    """Explain what the `sweep` says of an address; None: nobody was asked at layer 2."""
    targets = layer2_targets(verdict.instance, (probed,) if probed else (), topology)
    target = next((each for each, _ in targets), None)
    mac = target.mac if target else None
    if sweep and target and target in sweep.alive:
        alive = sweep.alive[target]
        return Layer2Facts(asked=True, alive=alive, mac=mac, text="its kernel answers" if alive else "silent")
    if sweep and target and target in sweep.doubtful:
        doubt = sweep.doubtful[target]
        asked = doubt not in {Layer2Doubt.IMPERSONATED, Layer2Doubt.UNTESTED}
        return Layer2Facts(asked=asked, alive=None, mac=mac, text=f"not known: {_DOUBTS[doubt]}")
    why = _why_not_asked(verdict, probed, sweep, target)
    return Layer2Facts(asked=False, alive=None, mac=mac, text=f"not asked: {why}")


def _why_not_asked(
    verdict: Verdict, probed: Probed | None, sweep: Layer2Sweep | None, target: Layer2Target | None
) -> str:
    if verdict.alive:
        return "the instance answers pings"
    if sweep is None:
        return "nobody was (probe.layer2)"
    if probed is None or probed.target is None:
        return "there is no place to ask it from"
    if probed.address.kind is AddressKind.FLOATING:
        return "a floating address has no MAC of its own"
    if target is None:
        return "the MAC of its port is not known"
    return f"no interface of {target.vantage} is on its link"


_DOUBTS = {
    Layer2Doubt.IMPERSONATED: "somebody answers even at a MAC that nobody has, as OVN before 24.09 does",
    Layer2Doubt.UNTESTED: "whether somebody answers in its place could not be tested",
    Layer2Doubt.LINK: "the link does not carry frames, or was not steady",
    Layer2Doubt.LATE: "an answer came too late, or may have been one to this machine's kernel",
    Layer2Doubt.OTHER_MAC: "another MAC than its port's answers for the address",
    Layer2Doubt.UNFINISHED: "it was not asked to the end",
    Layer2Doubt.DEAF: "not even guests that answer pings answer there, so questions do not arrive",
}
