"""Every error that this package raises on purpose.

    FpingExporterError
    ├── ConfigError            the configuration or a flag is wrong; exit code 2
    ├── CloudError             the request to the cloud failed, or its response is unusable; exit code 3
    │   ├── AuthError          Keystone did not accept the credentials
    │   ├── ForbiddenError     the credentials lack a right; the message names it
    │   ├── BadRequestError    the service does not accept a parameter of the request
    │   ├── NotFoundError      the resource does not exist, or these credentials may not see it
    │   └── ListingError       a list ended early: no part of it may be used
    ├── CentralError           no central gave this agent a list; exit code 3
    ├── ProbeError             no packet at all could be sent or received; exit code 2
    │   ├── SocketPermissionError  this user may not open ICMP sockets
    │   ├── VantageError           a network namespace cannot be entered
    │   └── OpenFilesError         this process may open no further file
    ├── FleetError             Prometheus did not say what the other exporters see
    ├── ResourceError          this machine refused a thread
    ├── StorageError           what is to outlive a restart cannot be stored or read
    │   └── StorageInUseError  another process stores its state in the directory
    ├── InstanceLookupError    no single instance is meant by an id, a name or an address; exit code 2
    │   ├── UnknownInstanceError    none is
    │   └── AmbiguousInstanceError  several are
    ├── NoResultsError         no snapshot is young enough to be served
    └── RateLimitError         a client sends more requests than it may

Errors of libraries are translated to these in one place each: those of keystoneauth and
openstacksdk in ``cloud.faults``, ``OSError`` and icmplib's in ``probe``. The message is
one line that an operator can act on, without secrets.
"""

from typing import ClassVar

__all__ = [
    "AmbiguousInstanceError",
    "AuthError",
    "BadRequestError",
    "CentralError",
    "CloudError",
    "ConfigError",
    "FleetError",
    "ForbiddenError",
    "FpingExporterError",
    "InstanceLookupError",
    "ListingError",
    "NoResultsError",
    "NotFoundError",
    "OpenFilesError",
    "ProbeError",
    "RateLimitError",
    "ResourceError",
    "SocketPermissionError",
    "StorageError",
    "StorageInUseError",
    "UnknownInstanceError",
    "VantageError",
]


class FpingExporterError(Exception):
    """Base of all errors of this package."""

    exit_code: ClassVar[int] = 2
    """Exit code of a process that this error ends: 2 for what the operator has to change here."""


class ConfigError(FpingExporterError):
    """The configuration or a flag is wrong. The message says what, where, and what would be right."""


class CloudError(FpingExporterError):
    """The request to the cloud failed, or its response cannot be used."""

    exit_code = 3


class AuthError(CloudError):
    """Keystone did not accept the credentials."""


class ForbiddenError(CloudError):
    """The credentials lack a right; the message names it."""


class BadRequestError(CloudError):
    """The service does not accept a parameter of the request, such as the marker of a page."""


class NotFoundError(CloudError):
    """The resource does not exist, or these credentials may not see it."""


class ListingError(CloudError):
    """A list ended early: no part of it may be used."""


class CentralError(FpingExporterError):
    """No central gave this agent a list of instances, or the list cannot be used."""

    exit_code = 3


class ProbeError(FpingExporterError):
    """No packet at all could be sent or received."""

    vantages: frozenset[str] = frozenset()
    """The vantages from which a sweep was to be sent, where it was one that failed."""


class SocketPermissionError(ProbeError):
    """This user may not open ICMP sockets, neither raw nor datagram."""


class VantageError(ProbeError):
    """A network namespace cannot be entered, or what it has cannot be used."""

    def __init__(self, name: str, why: str) -> None:
        """`why` goes on where the sentence about the namespace `name` has begun."""
        super().__init__(f"the network namespace {name} {why}")
        self.why = why


class OpenFilesError(ProbeError):
    """This process may open no further file."""

    def __init__(self) -> None:
        """Name the remedy."""
        super().__init__(
            "this process may open no more files: raise the limit (LimitNOFILE= of a systemd unit, ulimit -n)"
        )


class FleetError(FpingExporterError):
    """Prometheus did not say what the other exporters see, or its answer cannot be used."""

    exit_code = 3


class ResourceError(FpingExporterError):
    """This machine refused a thread: a limit of processes is reached."""


class StorageError(FpingExporterError):
    """What is to outlive a restart cannot be stored or read."""


class StorageInUseError(StorageError):
    """Another process stores its state in the directory."""


class InstanceLookupError(FpingExporterError):
    """An id, a name or an address does not mean exactly one instance."""


class UnknownInstanceError(InstanceLookupError):
    """No instance has the id, the name or the address."""


class AmbiguousInstanceError(InstanceLookupError):
    """Several instances have the name or the address."""

    def __init__(self, message: str, *, ids: tuple[str, ...]) -> None:
        """`ids` are those of the instances that the message names, in its order."""
        super().__init__(message)
        self.ids = ids


class NoResultsError(FpingExporterError):
    """There is no snapshot that is young enough to be served."""


class RateLimitError(FpingExporterError):
    """A client sends more requests than it may."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        """`retry_after`: the seconds after which a request is allowed again."""
        super().__init__(message)
        self.retry_after = retry_after
