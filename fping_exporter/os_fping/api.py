"""os-fping: which servers of a caller answer a ping, as Nova's API told it until 2.35.

Sources: nova/api/openstack/compute/fping.py of Nova 13 to 17, and novaclient/v2/fping.py of 7.1.2.
"""

import logging
from collections.abc import Callable, Collection, Mapping

from fping_exporter import config
from fping_exporter.errors import (
    AuthError,
    CloudError,
    ForbiddenError,
    NoResultsError,
    NotFoundError,
    ProbeError,
    RateLimitError,
)
from fping_exporter.explanation.values import Explanation
from fping_exporter.log_limit import LogLimit
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Instance, Verdict
from fping_exporter.os_fping.callers import Caller, Callers
from fping_exporter.os_fping.explainer import Explainer
from fping_exporter.os_fping.nova_http import Fault, Version
from fping_exporter.os_fping.on_demand import OnDemand, why_unasked
from fping_exporter.os_fping.rate_limit import RateLimits

__all__ = ["OsFpingApi"]

logger = logging.getLogger(__name__)


class OsFpingApi:
    """The API under one configuration. Every method raises the Fault that the caller gets."""

    def __init__(
        self,
        settings: config.OsFping,
        *,
        callers: Callers,
        on_demand: OnDemand,
        explainer: Explainer,
        rate_limits: RateLimits,
        telemetry: Telemetry,
    ) -> None:
        """Answer `callers` with the verdicts of `on_demand` and the explanations of `explainer`.

        `rate_limits` outlives the configuration: a reload does not forget what users have asked.
        """
        self._settings = settings
        self._callers = callers
        self._on_demand = on_demand
        self._explainer = explainer
        self._telemetry = telemetry
        self._rate_limits = rate_limits
        self._log_limit = LogLimit(60)  # callers, who may be many, choose how often something fails

    def authenticate(self, token: str, *, client: str) -> Caller:
        """Return the user of `token`, whose request counts, whatever becomes of it (as in Nova of 2012).

        `client` is the IP address that the request came from.
        """
        try:
            caller = self._callers.authenticate(token, client=client)
            if self._settings.rate_limit != "unlimited":
                self._rate_limits.count(self._settings.rate_limit, caller.user_id, what="This request")
        except AuthError as error:
            raise self._unauthorized() from error
        except CloudError as error:
            raise self._unavailable("Keystone", error) from error
        except RateLimitError as error:
            raise Fault(429, str(error), {"Retry-After": str(error.retry_after)}) from error
        return caller

    def max_microversion(self) -> Version | None:
        """Return Nova's highest microversion; None where that is unknown just now."""
        try:
            text = self._callers.max_microversion()
        except CloudError:
            return None
        return Version.parse(text) if text else None

    def check_project(self, caller: Caller, project_id: str | None) -> None:
        """Check that the project in the path, if any, is the caller's."""
        if self._settings.auth == "keystone" and project_id not in (None, caller.project_id):
            raise Fault(
                400,
                f"Malformed request URL: URL's project_id '{project_id}' doesn't match "
                f"Context's project_id '{caller.project_id}'",
            )

    def list_servers(self, caller: Caller, query: Mapping[str, str]) -> dict[str, object]:
        """Return the servers that `query` selects; those that could not be asked are left out."""
        all_tenants = "all_tenants" in query
        policy = "os_compute_api:os-fping" + (":all_tenants" if all_tenants else "")
        instances = self._look_up(lambda: caller.list(all_tenants=all_tenants), policy)
        chosen = _filter(instances, query)
        verdicts = self._judge(chosen)
        return {
            "servers": [
                _entry(instance, verdicts[instance.id])
                for instance in chosen
                if not self._why_unasked(instance, verdicts[instance.id])
            ]
        }

    def show_server(self, caller: Caller, server_id: str) -> dict[str, object]:
        """Return one server; Fault 503 where it could not be asked."""
        found = self._look_up(lambda: [caller.find(server_id)], "os_compute_api:os-fping", missing=server_id)
        [instance] = found
        verdict = self._judge(found)[instance.id]
        if why := self._why_unasked(instance, verdict):
            raise Fault(
                503,
                f"Whether instance {server_id} is alive is not known: {why}.",
                {"Retry-After": str(self._on_demand.retry_after)},
            )
        return {"server": _entry(instance, verdict)}

    def explain_server(self, caller: Caller, server_id: str, *, cached: bool) -> Explanation:
        """Explain one server, asked anew unless `cached`: then as the newest sweep found it.

        A caller sees of Nova's word what Nova shows to him, and nobody else who has an address.
        """
        [shown] = self._look_up(
            lambda: [caller.find(server_id)], "os_compute_api:os-fping", missing=server_id
        )
        try:
            explanation = self._explainer.explain(
                shown, cached=cached, to_tenant=self._settings.auth != "none"
            )
        except NoResultsError as error:
            raise self._no_results(error) from error
        except ProbeError as error:
            raise self._cannot_ping(error) from error
        if explanation is None:
            raise Fault(404, f"Instance {server_id} was not in the last sweep.")
        return explanation

    def _look_up(
        self, ask: Callable[[], Collection[Instance]], policy: str, *, missing: str = ""
    ) -> Collection[Instance]:
        """Return the instances from `ask`. The errors come in the order of Nova: 403, no ping, 404."""
        try:
            found: Collection[Instance] | None = ask()
        except NotFoundError as error:
            if not missing:  # Nova itself is not where the catalog has it
                raise self._unavailable("Nova", error) from error
            found = None
        except AuthError as error:
            raise self._unauthorized() from error
        except ForbiddenError as error:
            raise Fault(403, f"Policy doesn't allow {policy} to be performed.") from error
        except CloudError as error:
            raise self._unavailable("Nova", error) from error
        except NoResultsError as error:
            raise self._no_results(error) from error
        try:
            self._on_demand.check_permission()
        except ProbeError as error:
            raise self._cannot_ping(error) from error
        if found is None:
            raise Fault(404, f"Instance {missing} could not be found.")
        return found

    def _judge(self, instances: Collection[Instance]) -> Mapping[str, Verdict]:
        try:
            return self._on_demand.judge(instances)
        except NoResultsError as error:
            raise self._no_results(error) from error
        except ProbeError as error:
            raise self._cannot_ping(error) from error

    def _why_unasked(self, instance: Instance, verdict: Verdict) -> str | None:
        why = why_unasked(instance, verdict)
        if why:
            self._telemetry.observe_os_fping_unasked()
        return why

    def _unavailable(self, service: str, error: CloudError) -> Fault:
        if self._log_limit.allows(service):
            logger.warning("os-fping: %s could not be asked for a caller: %s", service, error)
        return Fault(503, f"{service} cannot be asked at the moment. Please try again later.")

    def _cannot_ping(self, error: ProbeError) -> Fault:
        self._warn(error)
        return Fault(503, "This server cannot ping at the moment: its log says why.")

    def _no_results(self, error: NoResultsError) -> Fault:
        self._warn(error)
        return Fault(503, "This server has no recent results: its log says why.")

    def _warn(self, error: ProbeError | NoResultsError) -> None:
        if self._log_limit.allows(str(error)):
            logger.warning("os-fping: %s", error)

    def _unauthorized(self) -> Fault:
        uri = self._callers.keystone_url
        return Fault(
            401,
            "The request you have made requires authentication.",
            {"WWW-Authenticate": f'Keystone uri="{uri}"'},
        )


def _filter(instances: Collection[Instance], query: Mapping[str, str]) -> Collection[Instance]:
    if include := query.get("include"):
        included = set(include.split(","))
        return [instance for instance in instances if instance.id in included]
    excluded = set(query.get("exclude", "").split(","))
    return [instance for instance in instances if instance.id not in excluded]


def _entry(instance: Instance, verdict: Verdict) -> dict[str, object]:
    return {"id": instance.id, "project_id": instance.project_id, "alive": verdict.alive}
