"""The settings ``inventory`` of an agent and ``agents`` of a central."""

from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta

from fping_exporter.config.strict_yaml import Section
from fping_exporter.hosts import is_loopback

__all__ = ["Agents", "CentralInventory"]

Text = Annotated[str, Meta(min_length=1)]


class Agents(Section, frozen=True):
    """How a central serves its list to agents."""

    match_san: bool = False
    """Whether an agent gets only the instances of hosts that its client certificate names."""


class CentralInventory(Section, frozen=True):
    """Where an agent gets its list of instances from, in place of a cloud."""

    central: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=16)]
    """URLs of exporters that have ``agents: true``."""
    host: Text | None = None
    """Only the instances on this nova-compute host; ``self`` is the host that the agent runs on."""
    network: tuple[Text, ...] = ()
    """Names or ids: only the instances that have a port in one of these networks."""
    ca_file: Text | None = None
    """The CAs that may sign the centrals' certificates; None: those of the system."""
    cert_file: Text | None = None
    key_file: Text | None = None
    username: Text | None = None
    password_file: Text | None = None

    def __post_init__(self) -> None:
        """Refuse URLs over which names or passwords would travel in the clear, and halves of pairs."""
        for url in self.central:
            if fault := _fault(url):
                message = f'central: {fault}, such as https://central.example.com:10605, got "{url}"'
                raise ValueError(message)
        if bool(self.host) is bool(self.network):
            message = "give either host, such as self, or network: they choose the instances to ping"
            raise ValueError(message)
        for one, other in (("cert_file", "key_file"), ("username", "password_file")):
            if (getattr(self, one) is None) is not (getattr(self, other) is None):
                message = f"{one} and {other} are given together or not at all"
                raise ValueError(message)
        if self.username and ":" in self.username:
            message = "username: a colon ends the name in basic authentication (RFC 7617)"
            raise ValueError(message)


def _fault(url: str) -> str:
    """Return what would be right where a central's URL is wrong; else an empty text."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        valid = bool(parts.hostname) and (parts.port or 1) > 0 and parts.path.isascii()
    except ValueError:  # http://[, a port that is no number, or a host name with an empty part
        return "expected a URL"
    if not valid or parts.scheme not in {"http", "https"} or not url.isprintable() or " " in url:
        return "expected a URL"
    if parts.query or parts.fragment or "@" in parts.netloc:
        return "expected a URL without user, query and fragment"
    return "" if _is_safe(parts) else "expected an https URL"


def _is_safe(parts: SplitResult) -> bool:
    return parts.scheme == "https" or is_loopback(parts.hostname or "")
