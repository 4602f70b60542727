"""What the security groups of a port do with a ping, in words: the rule that decides, or which is missing."""

from fping_exporter.explanation.values import Group, SecurityFacts
from fping_exporter.model import Port, SecurityRule, Topology, family_of
from fping_exporter.verdict.security_groups import Decision, Filtering, decide

__all__ = ["explain_security"]


def explain_security(port: Port | None, source: str | None, topology: Topology) -> SecurityFacts:
    """Explain what becomes of a ping from the address `source` to a port; None: that is not known."""
    if port is None:
        return SecurityFacts(
            decision=Filtering.UNKNOWN,
            groups=(),
            rule_id=None,
            text="not known: Neutron does not tell which port has the address",
        )
    groups = tuple([Group(id_, topology.group_names.get(id_) or None) for id_ in port.security_groups or ()])
    if source is None:
        text = _NO_FILTER if port.security_groups is None else _NO_SOURCE
        return SecurityFacts(decision=Filtering.UNKNOWN, groups=groups, rule_id=None, text=text)
    decision = decide(port, sender=source, topology=topology)
    admits = decision.rule if decision.filtering is Filtering.ADMITTED else None
    return SecurityFacts(
        decision=decision.filtering,
        groups=groups,
        rule_id=(admits.id if admits else "") or None,
        text=_describe(decision, port, source, topology),
    )


_NO_FILTER = "not known: port security is off, or Neutron does not tell the port's groups"
_NO_SOURCE = "not known: it depends on the address that pings come from"


def _describe(decision: Decision, port: Port, source: str, topology: Topology) -> str:
    rule, group = decision.rule, _named(decision.group, topology)
    if decision.filtering is Filtering.BLOCKED:
        return _describe_missing(port, source, topology)
    if decision.filtering is Filtering.ADMITTED and rule:
        which = f"rule {rule.id}" if rule.id else "a rule"
        return f"{which} of {group} lets pings in {_senders(rule, topology)}"
    if port.security_groups is None:
        return _NO_FILTER
    if rule is None:
        return f"not known: the rules of {group} could not be read"
    return f"not known: a rule of {group} lets pings in {_senders(rule, topology)}, and these are not known"


def _describe_missing(port: Port, source: str, topology: Topology) -> str:
    protocol = _PROTOCOL[family_of(source)]
    if not port.security_groups:
        return f"no ping gets in: the port is in no security group, so that no rule lets {protocol} in"
    groups = ", ".join(_named(id_, topology) for id_ in port.security_groups)
    return f"no ping gets in: an ingress rule for {protocol} from {source} is missing in {groups}"


_PROTOCOL = {4: "ICMP", 6: "ICMPv6"}
_EVERYBODY = {4: "0.0.0.0/0", 6: "::/0"}


def _senders(rule: SecurityRule, topology: Topology) -> str:
    if rule.group:
        return f"from members of {_named(rule.group, topology)}"
    if rule.address_group:
        return f"from address group {rule.address_group}"
    return f"from {rule.prefix or _EVERYBODY[rule.family]}"


def _named(group: str, topology: Topology) -> str:
    name = topology.group_names.get(group)
    return f"{name} ({group})" if name else f"group {group}"
