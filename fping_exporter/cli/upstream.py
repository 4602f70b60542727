"""Where a configuration has its list from: a cloud, or the centrals of an agent."""
# ruff: noqa: PLC0415, an agent does not import openstacksdk, which would cost it 20 MiB

from collections.abc import Callable

from fping_exporter.config import Config
from fping_exporter.lister import Upstream

__all__ = ["Observe", "connect_upstream"]

Observe = Callable[[str, int], object]
"""Is called with the service (``compute``, ..., ``central``) and the status code of every answer."""


def connect_upstream(settings: Config, observe: Observe = lambda _service, _code: None) -> Upstream:
    """Return what `settings` names; nothing is sent yet.

    Raises ConfigError if no credentials are configured, or files cannot be read.
    """
    if settings.inventory:
        from fping_exporter.fleet.central import Centrals

        return Centrals(settings, observe=observe)
    from fping_exporter.cloud import Cloud

    return Cloud(settings, observe=observe)
