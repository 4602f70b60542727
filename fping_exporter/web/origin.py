"""Which cloud a page is about, and from which host it was pinged."""

from typing import NamedTuple

__all__ = ["Origin"]


class Origin(NamedTuple):
    """Where the results come from. A field is empty if it is not known."""

    cloud: str
    """Entry of clouds.yaml, or the host name of Keystone."""
    region: str
    host: str
    """Name of the host that the exporter runs on."""

    def __str__(self) -> str:
        """Return cloud, region and host, with dots in between, for a title."""
        return " · ".join(filter(None, self))
