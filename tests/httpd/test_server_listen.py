"""Listen addresses: the text of the flag, and the sockets that come of it."""

import ipaddress
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fping_exporter.errors import ConfigError
from fping_exporter.httpd.listen import TcpAddress, UnixAddress, open_listener, parse_listen_address

PORTS = st.integers(0, 65535)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z])?(\.[a-z]{2,5})?", fullmatch=True).filter(
    lambda name: not name.isdigit()
)
HOSTS = st.just("") | NAMES | st.ip_addresses().map(str)
PATHS = st.from_regex(r"(/[a-zA-Z0-9 ._:@-]{1,12}){1,4}", fullmatch=True)
ADDRESSES = st.builds(TcpAddress, HOSTS, PORTS) | st.builds(UnixAddress, PATHS)


@given(ADDRESSES)
@example(TcpAddress("", 10605))
@example(TcpAddress("::", 0))
def test_what_is_written_is_read_back(address: TcpAddress | UnixAddress) -> None:
    assert parse_listen_address(str(address)) == address


@given(st.text(alphabet="[]:.0123456789abcfx/%unix\0é ", max_size=130) | st.text())
def test_any_other_text_is_one_error_of_ours(text: str) -> None:
    try:
        address = parse_listen_address(text)
    except ConfigError as error:
        assert "\n" not in str(error)
        assert repr(text) in str(error)
    else:
        assert parse_listen_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected [host]:port with a port from 0 to 65535, such as :10605, or unix:/path"),
        ("10605", "expected [host]:port with a port from 0 to 65535, such as :10605, or unix:/path"),
        (":65536", "expected [host]:port with a port from 0 to 65535, such as :10605, or unix:/path"),
        (":http", "expected [host]:port with a port from 0 to 65535, such as :10605, or unix:/path"),
        (":\u0661", "expected [host]:port with a port from 0 to 65535, such as :10605, or unix:/path"),
        ("::1:10605", "an IPv6 address stands in brackets, such as [::1]:10605"),
        ("[::g]:1", "Only hex digits permitted in 'g' in '::g'"),
        ("[127.0.0.1]:1", "At least 3 parts expected in '127.0.0.1'"),
        ("127.0.0.256:1", "Octet 256 (> 255) not permitted in '127.0.0.256'"),
        ("no spaces:1", "'no spaces' is neither an address nor a host name"),
        ("unix:", "expected the absolute path of a socket, such as unix:/run/fping-exporter.sock"),
        ("unix:x.sock", "expected the absolute path of a socket, such as unix:/run/fping-exporter.sock"),
        ("unix:/" + "x" * 107, "the path is longer than the 107 bytes that a socket's may have"),
    ],
)
def test_a_bad_address_is_told_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_listen_address(text)
    assert str(caught.value) == f"listen address {text!r}: {message}"


def test_a_port_in_use_is_one_clear_line() -> None:
    with open_listener(TcpAddress("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            open_listener(TcpAddress("127.0.0.1", port))
        assert str(caught.value) == (
            f"cannot listen on 127.0.0.1:{port}: Address already in use; "
            "--web.listen-address takes another address"
        )


def test_a_name_that_does_not_resolve_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r"^cannot listen on no-such-host\.invalid:1: \w"):
        open_listener(TcpAddress("no-such-host.invalid", 1))


def test_a_name_prefers_ipv4() -> None:
    with open_listener(TcpAddress("localhost", 0)) as listener:
        assert ipaddress.ip_address(listener.getsockname()[0]).is_loopback
        assert listener.family == socket.AF_INET


def test_an_ipv4_mapped_address_is_bound_as_ipv4() -> None:
    with open_listener(parse_listen_address("[::ffff:127.0.0.1]:0")) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_unix_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with open_listener(UnixAddress(str(path))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    with open_listener(UnixAddress(str(path))), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "http.sock"))
    with open_listener(address):  # noqa: SIM117, the error is of the second one
        with pytest.raises(ConfigError, match="Address already in use"):
            open_listener(address)


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="Address already in use"):
        open_listener(UnixAddress(str(path)))
    assert path.read_text() == "data"


def test_a_connection_has_a_bounded_send_buffer() -> None:
    with open_listener(TcpAddress("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
    with accepted:
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 262_144  # Linux doubles it
