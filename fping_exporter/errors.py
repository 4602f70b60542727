"""Every error that this package raises on purpose.

    FpingExporterError
    ├── ConfigError            the configuration or a flag is wrong; exit code 2
    ├── CloudError             the cloud could not be asked, or its answer could not be used
    │   ├── AuthError          Keystone did not accept the credentials
    │   ├── ForbiddenError     the credentials lack a right; the message names it
    │   ├── NotFoundError      what was asked for is not there, or not for these credentials
    │   └── ListingError       a list was broken off: nothing of it may be used
    └── ProbeError             no packet could be sent or received at all
        └── SocketPermissionError  this user may not open ICMP sockets

Errors of libraries are mapped to these at one border each: keystoneauth and
openstacksdk in ``cloud.session``, ``OSError`` and icmplib in ``probe``. The text
of each is one line that an operator can act on; none carries a secret.
"""

__all__ = [
    "AuthError",
    "CloudError",
    "ConfigError",
    "ForbiddenError",
    "FpingExporterError",
    "ListingError",
    "NotFoundError",
    "ProbeError",
    "SocketPermissionError",
]


class FpingExporterError(Exception):
    """Any error of this package."""


class ConfigError(FpingExporterError):
    """The configuration or a flag is wrong: what, where, and what would be right."""


class CloudError(FpingExporterError):
    """The cloud could not be asked, or its answer could not be used."""


class AuthError(CloudError):
    """Keystone did not accept the credentials."""


class ForbiddenError(CloudError):
    """The credentials lack a right; the message names it."""


class NotFoundError(CloudError):
    """What was asked for is not there, or the credentials may not see it."""


class ListingError(CloudError):
    """A list was broken off in the middle: nothing of it may be used."""


class ProbeError(FpingExporterError):
    """No packet could be sent or received at all."""


class SocketPermissionError(ProbeError):
    """This user may not open ICMP sockets, neither raw nor datagram."""
