"""The section ``share``: where several exporters agree on who pings what."""

from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from fping_exporter.config.strict_yaml import Section

__all__ = ["Share"]

_SCHEMES = ("redis", "etcd3+http", "etcd3+https", "zookeeper", "file")
"""Drivers of tooz that notice when a member is gone; ``file``, for tests on one host, does not."""


class Share(Section, frozen=True):
    """The members of a group divide the instances among themselves, hypervisor by hypervisor."""

    url: str
    """The coordinator, as tooz has it, such as ``redis://redis.example.com:6379``."""
    password_file: str | None = None
    """Redis only."""
    group: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "fping-exporter"
    """Exporters of different clouds that use one coordinator need a group each."""
    replicas: Annotated[int, Meta(ge=1, le=10)] = 1
    """How many members ping each instance."""

    def __post_init__(self) -> None:
        """Refuse a URL that tooz has no driver for, and one with a password, which pages would show."""
        try:
            url = urlsplit(self.url)
            valid = url.scheme in _SCHEMES and (url.hostname or url.scheme == "file") and url.port != 0
        except ValueError:
            valid, url = False, urlsplit("")
        if not valid:
            raise ValueError(
                f"url: expected {'://, '.join(_SCHEMES[:-2])}:// or {_SCHEMES[-2]}:// and a host, such as "
                "redis://redis.example.com:6379"
            )
        if "@" in url.netloc or "password" in url.query:
            raise ValueError("url: a URL with a password; use password_file")
        if self.password_file is not None and url.scheme != "redis":
            raise ValueError("password_file: is for redis:// only")
