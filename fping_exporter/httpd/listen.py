"""Listen addresses: ``:10605``, ``127.0.0.1:10605``, ``[::1]:10605``, ``unix:/run/fping.sock``."""

import contextlib
import ipaddress
import os
import re
import socket
import stat
from typing import NamedTuple

from fping_exporter.errors import ConfigError
from fping_exporter.hosts import is_loopback

__all__ = ["ListenAddress", "TcpAddress", "UnixAddress", "is_local", "open_listener", "parse_listen_address"]

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)
_SEND_BUFFER_BYTES = 262_144
"""Send buffer of a connection in the kernel, which would grow to some MiB each, and hide a stalled client."""
_SUN_PATH_BYTES = 107
"""The longest path in Linux's ``struct sockaddr_un``, without its terminator."""


class TcpAddress(NamedTuple):
    """A host and a port; an empty host means all addresses of the machine, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as :func:`parse_listen_address` reads it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """A unix socket in the file system."""

    path: str

    def __str__(self) -> str:
        """Write it as :func:`parse_listen_address` reads it."""
        return f"unix:{self.path}"


ListenAddress = TcpAddress | UnixAddress


def is_local(address: ListenAddress) -> bool:
    """Whether none but this machine's users reach the address; of host names only ``localhost`` counts."""
    return isinstance(address, UnixAddress) or is_loopback(address.host)


def parse_listen_address(text: str) -> ListenAddress:
    """Parse one address; raise ConfigError that says what would be right."""
    try:
        return _parse_unix(text) if text.startswith("unix:") else _parse_tcp(text)
    except ValueError as error:
        raise ConfigError(f"listen address {text!r}: {error}") from None


def _parse_unix(text: str) -> UnixAddress:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        message = "expected the absolute path of a socket, such as unix:/run/fping-exporter.sock"
        raise ValueError(message)
    if len(os.fsencode(path)) > _SUN_PATH_BYTES:
        message = f"the path is longer than the {_SUN_PATH_BYTES} bytes that a socket's may have"
        raise ValueError(message)
    return UnixAddress(path)


def _parse_tcp(text: str) -> TcpAddress:
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:  # noqa: PLR2004, the last port
        message = "expected [host]:port with a port from 0 to 65535, such as :10605, or unix:/path"
        raise ValueError(message)
    if host.startswith("[") and host.endswith("]"):
        return TcpAddress(str(ipaddress.IPv6Address(host[1:-1])), int(port))
    if ":" in host:
        message = "an IPv6 address stands in brackets, such as [::1]:10605"
        raise ValueError(message)
    if re.fullmatch(r"[0-9.]+", host):
        host = str(ipaddress.IPv4Address(host))
    elif host and not _NAME.fullmatch(host):
        message = f"{host!r} is neither an address nor a host name"
        raise ValueError(message)
    return TcpAddress(host, int(port))


def open_listener(address: ListenAddress) -> socket.socket:
    """Listen on `address`, without blocking; raise ConfigError where that is not possible.

    A host name is bound at its first IPv4 address, or its first IPv6 address if it has no other. An
    IPv4-mapped address, such as ``[::ffff:127.0.0.1]``, is bound as the IPv4 address within.
    A unix socket is for its owner and group; a stale one, on which nobody listens, is replaced.
    """
    try:
        listener = _listen_unix(address) if isinstance(address, UnixAddress) else _listen_tcp(address)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(
            f"cannot listen on {address}: {reason or error}; --web.listen-address takes another address"
        ) from None
    listener.settimeout(0)
    return listener


def _listen_tcp(address: TcpAddress) -> socket.socket:
    listener = _bind_tcp(address)
    # Accepted connections inherit both.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    return listener


def _bind_tcp(address: TcpAddress) -> socket.socket:
    if address.host in {"", "::"}:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("::", address.port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", address.port))
    host = _ipv4_of(address.host) or address.host
    found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, name = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return socket.create_server(name, family=family)


def _ipv4_of(host: str) -> str | None:
    """Return the IPv4 address within an IPv4-mapped IPv6 address, which no IPv6 socket is bound to alone."""
    try:
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
    except ValueError:
        return None
    return str(mapped) if mapped else None


def _listen_unix(address: UnixAddress) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(address.path).st_mode) and not _answers(address):  # noqa: PTH116, a plain path is enough
            os.unlink(address.path)  # noqa: PTH108, as above
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(address.path)
        os.chmod(address.path, 0o660)  # noqa: PTH101, as above
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _answers(address: UnixAddress) -> bool:
    """Whether a process listens on the socket."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0)
        try:
            caller.connect(address.path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue is full
            pass
        return True
