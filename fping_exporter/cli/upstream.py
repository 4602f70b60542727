"""Where a configuration has its list from: a cloud, or the centrals of an agent."""
# ruff: noqa: PLC0415, an agent does not import openstacksdk, which would cost it 20 MiB

from collections.abc import Callable
from typing import TYPE_CHECKING

from fping_exporter.config import Config
from fping_exporter.lister import Upstream

if TYPE_CHECKING:
    from fping_exporter.cloud.tokens import SharedTokens

__all__ = ["Connector", "Observe", "connect_upstream"]

Observe = Callable[[str, int], object]
"""Is called with the service (``compute``, ..., ``central``) and the status code of every answer."""


class Connector:
    """Connects one configuration after the other. Clouds with the same credentials share their tokens."""

    def __init__(self) -> None:
        """Begin with no token."""
        self._tokens: SharedTokens | None = None

    def __call__(self, settings: Config, observe: Observe = lambda _service, _code: None) -> Upstream:
        """Return what `settings` name; nothing is sent yet.

        Raises ConfigError if no credentials are configured, or files cannot be read.
        """
        if settings.inventory:
            from fping_exporter.fleet.central import Centrals

            return Centrals(settings, observe=observe)
        from fping_exporter.cloud import Cloud
        from fping_exporter.cloud.tokens import SharedTokens

        self._tokens = self._tokens or SharedTokens()
        return Cloud(settings, observe=observe, tokens=self._tokens)


def connect_upstream(settings: Config, observe: Observe = lambda _service, _code: None) -> Upstream:
    """Return what `settings` name, as a :class:`Connector` does."""
    return Connector()(settings, observe)
