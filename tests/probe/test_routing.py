"""What the kernel tells of this host's addresses, which needs no right."""

import ipaddress
import socket

from fping_exporter.probe.netlink import open_netlink
from fping_exporter.probe.routing import RoutingTable, read_routing_table


def test_this_hosts_own_addresses() -> None:
    with open_netlink() as sock:
        table = read_routing_table(sock, routes=False, macs=False)
    assert all(table.is_own(ip) for ip in ("127.0.0.1", "127.255.255.255", "::1"))
    assert not table.is_own("192.0.2.200")
    assert (table.routes, table.macs) == (None, frozenset())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", 9))
        assert table.is_own(sock.getsockname()[0])


def test_one_socket_reads_twice_the_same() -> None:
    with open_netlink() as sock:
        assert read_routing_table(sock, routes=True, macs=True) == read_routing_table(
            sock, routes=True, macs=True
        )


def test_the_longest_prefix_decides() -> None:
    near, wide = ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("10.0.0.0/8")
    table = RoutingTable(routes=((near, False), (wide, True)))
    assert not table.has_route("10.0.0.5")
    assert table.has_route("10.0.1.5")
    assert not table.has_route("192.0.2.1")
    assert not table.has_route("fd00::1")


def test_nothing_is_held_against_what_is_not_known() -> None:
    assert RoutingTable().has_route("10.0.0.5")
    assert not RoutingTable().is_own("10.0.0.5")
