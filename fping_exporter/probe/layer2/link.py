"""A packet socket on one Ethernet interface, and what has to be known of the interface to ask from it."""

import ctypes
import errno
import fcntl
import hashlib
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from fping_exporter.probe.layer2 import frames
from fping_exporter.probe.layer2.arrivals import Arrival, FrameReceiver
from fping_exporter.probe.layer2.interfaces import Subnet
from fping_exporter.probe.socket_options import BOOKED_BYTES, Instruction, attach_filter, enlarge_buffers
from fping_exporter.probe.timestamps import SO_TIMESTAMPNS

__all__ = ["Link"]

# From Linux's linux/if_packet.h, linux/if_ether.h, linux/if_arp.h, linux/sockios.h, linux/if.h and
# linux/ethtool.h; the socket module lacks them.
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA = 263, 6, 8
_PACKET_OTHERHOST, _PACKET_OUTGOING = 3, 4
_ETH_P_ALL = 3
_ARPHRD_ETHER = 1
_SIOCGIFFLAGS, _SIOCGIFHWADDR, _SIOCGIFINDEX, _SIOCETHTOOL = 0x8913, 0x8927, 0x8933, 0x8946
_ETHTOOL_GLINK = 0xA
_IFF_UP = 1
_IFREQ = struct.Struct("16s24s")
_LINK_LOCAL = bytes.fromhex("fe80" + "00" * 14)


class Link:
    """A packet socket that gets answers to ARP and neighbour discovery, and sees the kernel's own questions.

    Whatever thread uses it, it stays in the network namespace in which it was opened.
    """

    def __init__(
        self, vantage: str, index: int, addresses: Sequence[Subnet], *, carrier_changes: int | None = None
    ) -> None:
        """Open a socket on the interface with this index in the current network namespace; raises OSError.

        `addresses` are those of the interface, and `carrier_changes` is how often it has lost or found its
        carrier, None if that is not known. Errors are EPERM without CAP_NET_RAW, and EPROTONOSUPPORT where
        the interface is not Ethernet.
        """
        self.vantage = vantage
        self.name = socket.if_indextoname(index)
        self.index = index
        self.carrier_changes = carrier_changes
        self.addresses = addresses
        self._subnets = [
            (
                len(address),
                shift := 8 * len(address) - length,
                int.from_bytes(address, "big") >> shift,
                address,
            )
            for address, length in addresses
        ]
        self._forwards = _forwards_ipv6(self.name)
        self.sock = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
        )  # deaf until bound
        try:
            self.sock.settimeout(0)
            enlarge_buffers(self.sock)
            self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            attach_filter(self.sock, _PROGRAM)
            self.sock.bind((self.name, _ETH_P_ALL))
            _, _, _, hardware, self.mac = self.sock.getsockname()
        except OSError:
            self.sock.close()
            raise
        if hardware != _ARPHRD_ETHER:
            self.sock.close()
            raise OSError(errno.EPROTONOSUPPORT, f"{self.name} is not an Ethernet interface")
        self._nobody6 = _LINK_LOCAL[:8] + hashlib.sha256(self.mac).digest()[:8]
        self.room = max(1, self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // BOOKED_BYTES)
        """Frames that the receive buffer certainly holds."""

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def fileno(self) -> int:
        """Return the file descriptor, for a selector."""
        return self.sock.fileno()

    def source(self, ip: bytes) -> bytes:
        """Return the address to ask `ip` from.

        For IPv4 it is ours in the same subnet, else 0.0.0.0: a guest that checks senders against its routes
        would not answer a foreign one. For IPv6 it is a link-local address that nobody has, the same in each
        sweep. A guest verifies whom it has answered five seconds later; if our kernel had the address, it
        would gain an entry in its neighbour table for each guest. Where this namespace is a router it has to
        be our own all the same, as answers to the other one would be forwarded.
        """
        if len(ip) == frames.IPV4_BYTES:
            return self._own(ip) or _NOBODY4
        return (self._own(ip) or self._own(_LINK_LOCAL) if self._forwards else None) or self._nobody6

    def _own(self, ip: bytes) -> bytes | None:
        number, size = int.from_bytes(ip, "big"), len(ip)
        for length, shift, prefix, address in self._subnets:
            if length == size and number >> shift == prefix:
                return address
        return None

    def fault(self) -> str:
        """Return why frames would be lost just now, or the empty text if nothing is wrong.

        Without a carrier the kernel takes frames and drops them without a word. IFF_RUNNING may lag a second
        behind, ethtool's word does not.
        """
        try:
            if _number(self._ioctl(_SIOCGIFINDEX), "=i") != self.index:
                return "the interface was replaced"
            if self._ioctl(_SIOCGIFHWADDR)[2:8] != self.mac:
                return "the interface's MAC address changed"
            if not _number(self._ioctl(_SIOCGIFFLAGS), "=H") & _IFF_UP:
                return "the interface is down"
            return "" if self._has_carrier() else "the interface has no carrier"
        except OSError as error:
            return os.strerror(error.errno or 0)

    def _ioctl(self, request: int) -> bytes:
        answer = fcntl.ioctl(self.sock, request, _IFREQ.pack(self.name.encode(), b""))
        return bytes(_IFREQ.unpack(answer)[1])

    def _has_carrier(self) -> bool:
        value = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_GLINK, 0), 8)
        pointer = struct.pack("@P", ctypes.addressof(value))
        try:
            fcntl.ioctl(self.sock, _SIOCETHTOOL, _IFREQ.pack(self.name.encode(), pointer))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # a driver that cannot tell
                return True
            raise
        return bool(_number(value.raw[4:], "=I"))

    def receive(self, receiver: FrameReceiver) -> tuple[list[Arrival], str]:
        """Return what has come, as much as the receiver holds, and why there will be no more, if so."""
        try:
            return receiver.receive(self.sock), ""
        except OSError as error:
            quiet = error.errno in {errno.EAGAIN, errno.EINTR}
            return [], "" if quiet else os.strerror(error.errno or 0)

    def lost(self) -> int:
        """Return for how many frames there was no room since this was last called."""
        try:
            counts = self.sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        except OSError:
            return 0
        return int(struct.unpack("=II", counts)[1])


_NOBODY4 = bytes(4)


def _number(data: bytes, layout: str) -> int:
    return int(struct.unpack_from(layout, data)[0])


def _forwards_ipv6(name: str) -> bool:
    """Whether the current network namespace forwards IPv6 packets that come in on an interface."""
    try:
        return Path("/proc/sys/net/ipv6/conf", name, "forwarding").read_text().strip() != "0"
    except OSError:  # without IPv6
        return False


def _build_filter() -> list[Instruction]:
    """Build the BPF program: ARP replies and advertisements that come in, and questions that go out."""
    packet_type = 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PKTTYPE
    load_byte, load_half, jump_equal, give = 0x30, 0x28, 0x15, 0x06
    drop, keep = (give, 0, 0, 0), (give, 0, 0, frames.FRAME_BYTES)
    return [  # a jump is as many lines as it skips
        (load_byte, 0, 0, packet_type),
        (jump_equal, 17, 0, _PACKET_OTHERHOST),
        (jump_equal, 9, 0, _PACKET_OUTGOING),
        (load_half, 0, 0, 12),
        (jump_equal, 0, 2, frames.ETHERTYPE_ARP),
        (load_half, 0, 0, 20),
        (jump_equal, 13, 12, frames.OPERATION_REPLY),
        (jump_equal, 0, 11, frames.ETHERTYPE_IPV6),
        (load_byte, 0, 0, 20),
        (jump_equal, 0, 9, socket.IPPROTO_ICMPV6),
        (load_byte, 0, 0, 54),
        (jump_equal, 8, 7, frames.NEIGHBOUR_ADVERTISEMENT),
        (load_half, 0, 0, 12),
        (jump_equal, 0, 2, frames.ETHERTYPE_ARP),
        (load_half, 0, 0, 20),
        (jump_equal, 4, 3, frames.OPERATION_REQUEST),
        (jump_equal, 0, 2, frames.ETHERTYPE_IPV6),
        (load_byte, 0, 0, 54),
        (jump_equal, 1, 0, frames.NEIGHBOUR_SOLICITATION),
        drop,
        keep,
    ]


_PROGRAM = _build_filter()
