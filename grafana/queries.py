"""Queries that several dashboards put together.

No panel reads a recording rule, so the dashboards work without them. Several exporters may
see the same instance, so every query first brings what they say down to one series for
each instance: it is alive if any exporter got a reply.
"""

from typing import NamedTuple

__all__ = ["Scope", "count"]


class Scope(NamedTuple):
    """The instances that a dashboard is about, as label matchers."""

    matchers: str
    """Of labels that every metric of an instance has."""
    info: str = ""
    """Of labels that only instance_info has."""

    def of(self, metric: str, *, matchers: str = "", by: str = "id", how: str = "max") -> str:
        """Reduce a metric of instances to one series for each set of the labels `by`."""
        selected = f"{metric}{{{self.matchers}{',' * bool(matchers)}{matchers}}}"
        if self.info:
            selected += f" and on (id) instance_info{{{self.matchers},{self.info}}}"
        return f"{how} by ({by}) ({selected})"

    def info_by(self, *labels: str) -> str:
        """Reduce instance_info to one series for each instance, with its id and `labels`."""
        matchers = f"{self.matchers}{',' * bool(self.info)}{self.info}"
        return f"max by ({', '.join(['id', *labels])}) (topk by (id) (1, instance_info{{{matchers}}}))"

    @property
    def alive(self) -> str:
        """1 or 0, by id; absent for what no exporter can reach."""
        return self.of("instance_alive")

    @property
    def active(self) -> str:
        """1 or 0, by id."""
        return self.of("instance_hypervisor_active")

    @property
    def dead(self) -> str:
        """0 for each instance that is ACTIVE and does not answer, by id."""
        return f"{self.alive} == 0 and on (id) {self.active} == 1"

    @property
    def haunted(self) -> str:
        """1 for each instance that is not ACTIVE and answers, by id."""
        return f"{self.alive} == 1 and on (id) {self.active} == 0"

    def state(self, *labels: str) -> str:
        """Return 2 * Nova's word + the ping's, by id, with `labels` of instance_info."""
        return (
            f"({self.alive} + on (id) 2 * {self.active})"
            f" + on (id) group_left ({', '.join(labels)}) 0 * {self.info_by(*labels)}"
        )

    def reasons(self, *, by: str = "id, reason") -> str:
        """1 for each instance that no exporter hears, with the reasons that they give."""
        return f"({self.of('instance_silent', by=by)} unless on (id) {self.alive} == 1)"


def count(of: str) -> str:
    """Count series; 0 where there is none."""
    return f"count({of}) or vector(0)"
