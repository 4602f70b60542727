import struct
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.model import Family
from fping_exporter.probe.packet import (
    EchoError,
    EchoReply,
    echo_request,
    ipv4_header_length,
    parse,
    parse_request,
)
from tests.probe.wire import Request, checksum

FAMILIES: tuple[Family, ...] = (4, 6)
ERROR_TYPE_AND_CODE = {4: (3, 1), 6: (1, 3)}
"""Of the host unreachable that the wire of these tests sends."""
words = st.integers(0, 0xFFFF)
even_bytes = st.lists(words, max_size=32).map(lambda some: struct.pack(f"!{len(some)}H", *some))
families = st.sampled_from(FAMILIES)


def requested(family: Literal[4, 6], ident: int, sequence: int, payload: bytes) -> Request:
    message = echo_request(family, ident, sequence, payload)
    if family == 4:
        header = bytes.fromhex("4500000000000000400100000a0000010a000002")
    else:
        header = struct.pack("!IHBB", 6 << 28, len(message), 58, 64) + bytes.fromhex(
            "fd000000000000000000000000000001fd000000000000000000000000000002"
        )
    request = Request.read(header + message)
    assert request is not None
    return request


@given(words, words, even_bytes)
def test_the_checksum_of_a_request_is_what_rfc_1071_says(ident: int, sequence: int, payload: bytes) -> None:
    message = echo_request(4, ident, sequence, payload)
    zeroed = message[:2] + b"\0\0" + message[4:]
    assert struct.unpack_from("!H", message, 2) == (checksum(zeroed),)


def test_a_sum_that_folds_to_all_ones_gives_a_checksum_of_zero() -> None:
    message = echo_request(4, 0xF7FF, 0, b"")
    assert message[2:4] == b"\0\0"
    assert checksum(message) == 0


@given(families, words, words, even_bytes)
def test_the_reply_to_a_request_is_read_back(
    family: Family, ident: int, sequence: int, payload: bytes
) -> None:
    packet = requested(family, ident, sequence, payload).reply()
    start = ipv4_header_length(packet) if family == 4 else 40
    assert parse(family, packet, start) == EchoReply(ident, sequence, payload)


@given(families, words, words, even_bytes)
def test_an_error_that_quotes_a_request_is_read_back(
    family: Family, ident: int, sequence: int, payload: bytes
) -> None:
    request = requested(family, ident, sequence, payload)
    found = parse(family, request.error(), 20 if family == 4 else 40)
    kind, code = ERROR_TYPE_AND_CODE[family]
    assert found == EchoError(request.destination, ident, sequence, payload, kind, code)


def test_an_error_may_quote_no_more_than_the_header_of_icmp() -> None:
    request = requested(4, 7, 8, b"cookie")
    assert parse(4, request.error(quote=request.packet[:28]), 20) == EchoError("10.0.0.2", 7, 8, b"", 3, 1)


def test_ip_options_in_front_of_a_message_and_in_a_quote_are_skipped() -> None:
    request = requested(4, 7, 8, b"cookie")
    with_options = b"\x46" + request.packet[1:20] + bytes(4) + request.packet[20:]
    assert ipv4_header_length(with_options) == 24
    found = parse(4, request.error(quote=with_options), 20)
    assert found == EchoError("10.0.0.2", 7, 8, b"cookie", 3, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_error_about_another_protocol_is_none_of_ours(family: Family) -> None:
    request = requested(family, 7, 8, b"cookie")
    protocol = 9 if family == 4 else 6
    udp = request.packet[:protocol] + b"\x11" + request.packet[protocol + 1 :]
    assert parse(family, request.error(quote=udp), 20 if family == 4 else 40) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_request_is_no_reply(family: Family) -> None:
    assert parse(family, echo_request(family, 1, 2, b"")) is None


@given(families, st.binary(max_size=120), st.integers(0, 60))
def test_any_bytes_are_read_without_an_error(family: Family, data: bytes, start: int) -> None:
    assert parse(family, data, start) is None or len(data) >= start + 8
    assert parse_request(family, data, destination="", start=start) is None or len(data) >= start + 8
    assert 0 <= ipv4_header_length(data) <= 60


@given(families, st.data())
def test_any_damage_to_a_real_message_is_read_without_an_error(family: Family, data: st.DataObject) -> None:
    request = requested(family, 7, 8, bytes(16))
    packet = bytearray(data.draw(st.sampled_from([request.reply(), request.error()])))
    for place in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=4)):
        packet[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packet)))
    found = parse(family, bytes(packet[:cut]), ipv4_header_length(bytes(packet)) if family == 4 else 40)
    assert found is None or isinstance(found, EchoReply | EchoError)
