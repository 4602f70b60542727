"""PromQL that several dashboards share.

No panel reads a recording rule, so the dashboards work without the rules. Several exporters may export
the same instance. So each query first aggregates to one series for each instance, which is alive if any
exporter got a reply.
"""

from typing import NamedTuple

__all__ = ["ANY", "EXPORTERS_HEALTHY", "PROCESS", "Scope", "count"]

ANY = 'job=~"$job",cloud=~"$cloud"'
"""Label matchers of every dashboard. Series have a label `cloud` where exporters have several clouds."""
PROCESS = 'job=~"$job|fping-exporter-process"'
"""For the metrics of an exporter's process, which an exporter of several clouds has in /metrics only."""


class Scope(NamedTuple):
    """Label matchers that select the instances of a dashboard."""

    matchers: str
    """On labels that every metric of an instance has."""
    info: str = ""
    """On labels that only instance_info has."""

    def of(self, metric: str, *, matchers: str = "", by: str = "id", how: str = "max") -> str:
        """Aggregate a metric of instances to one series for each set of the labels `by`."""
        selected = f"{metric}{{{self.matchers}{',' * bool(matchers)}{matchers}}}"
        if self.info:
            selected += f" and on (id) instance_info{{{self.matchers},{self.info}}}"
        return f"{how} by ({by}) ({selected})"

    def info_by(self, *labels: str) -> str:
        """Aggregate instance_info to one series for each instance, with its id and `labels`."""
        matchers = f"{self.matchers}{',' * bool(self.info)}{self.info}"
        return f"max by ({', '.join(['id', *labels])}) (topk by (id) (1, instance_info{{{matchers}}}))"

    @property
    def alive(self) -> str:
        """1 or 0, by id; absent for an instance that no exporter could ask."""
        return self.of("instance_alive")

    @property
    def active(self) -> str:
        """1 or 0, by id."""
        return self.of("instance_hypervisor_active")

    @property
    def silent(self) -> str:
        """0 for each instance that is ACTIVE and does not answer, by id."""
        return f"{self.alive} == 0 and on (id) {self.active} == 1"

    @property
    def stopped_answering(self) -> str:
        """0 for each instance that is ACTIVE, answered before and does not answer, by id."""
        return f"{self.silent} and on (id) {self.of('instance_last_reply_timestamp_seconds')}"

    @property
    def never_answered(self) -> str:
        """0 for each instance that is ACTIVE and has not answered any exporter yet, by id."""
        return f"{self.silent} unless on (id) {self.of('instance_last_reply_timestamp_seconds')}"

    @property
    def answering_though_off(self) -> str:
        """1 for each instance that answers though Nova says it is off, by id."""
        return (
            f"{self.alive} == 1 and on (id) {self.active} == 0"
            f" and on (id) {self.of('instance_state_mismatch')} == 1"
        )

    def lossy(self, over: str, *, at: str = "") -> str:
        """Return the share of the sweeps of the range `over` that an instance answered with a loss, by id.

        `at` is an ``@`` modifier. Not the share of packets: retries are sent only after a loss, so they
        would hide it. Of several exporters, the one with the fewest losses.
        """
        lost = (
            f"instance_packet_loss_ratio{{{self.matchers}}} > bool 0"
            f" and on (job, instance, cloud, id) instance_alive{{{self.matchers}}} == 1"
        )
        share = f"avg_over_time(({lost})[{over}:]{at})"
        if self.info:
            share += f" and on (id) instance_info{{{self.matchers},{self.info}}}"
        return f"min by (id) ({share})"

    def state(self, *labels: str) -> str:
        """Return 2 * (ACTIVE) + (answering), by id, with `labels` of instance_info."""
        return (
            f"({self.alive} + on (id) 2 * {self.active})"
            f" + on (id) group_left ({', '.join(labels)}) 0 * {self.info_by(*labels)}"
        )

    def reasons(self, *, by: str = "id, reason") -> str:
        """1 for each instance that answers no exporter, with the reasons that the exporters give."""
        return f"({self.of('instance_silent', by=by)} unless on (id) {self.alive} == 1)"


def count(of: str) -> str:
    """Count series: 0 if there is none, and no data if no exporter has results."""
    return f"count({of}) or 0 * count(fping_exporter_up{{{ANY}}} == 1)"


EXPORTERS_HEALTHY = (
    f"min(up{{{ANY}}} == 0"
    f" or fping_exporter_up{{{ANY}}} == 0"
    f" or fping_exporter_inventory_success{{{ANY}}} == 0"
    f" or fping_exporter_sweep_success{{{ANY}}} == 0"
    f" or 0 * (fping_exporter_blind{{{ANY}}} == 1)"
    f" or up{{{ANY}}})"
)
"""1 if each is scraped, has results, completed its last listing and sweep, and is not blind; else 0."""
