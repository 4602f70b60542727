"""ARP and neighbour discovery as bytes: what is built is right, and what is not right is not taken."""

import struct

from hypothesis import assume, given
from hypothesis import strategies as st

from fping_exporter.model import Layer2Rejection
from fping_exporter.probe.layer2.frames import Asker, parse_answer, parse_question
from tests.probe.layer2.guests import advertisement, arp
from tests.probe.wire import checksum

macs = st.binary(min_size=6, max_size=6).filter(lambda mac: not mac[0] & 1 and any(mac))
ips4 = st.binary(min_size=4, max_size=4)
ips6 = st.binary(min_size=16, max_size=16)
pairs = st.one_of(st.tuples(ips4, ips4), st.tuples(ips6, ips6)).filter(lambda pair: pair[0] != pair[1])
"""Our address and the guest's."""


def answer(me: bytes, source: bytes, mac: bytes, ip: bytes, *, option: bool = True) -> bytes:
    if len(ip) == 4:
        return arp(to=me, sender=mac, owner=mac, ip=ip, asker=me, recipient=source)
    owner = mac if option else b""
    return advertisement(to=me, sender=mac, owner=owner, ip=ip, asker=me, recipient=source)


@given(macs, macs, ips4, ips4)
def test_an_arp_request(me: bytes, mac: bytes, source: bytes, ip: bytes) -> None:
    """RFC 826, in an Ethernet frame to one guest."""
    frame = Asker(me, source).question(mac, ip)
    assert frame == mac + me + bytes.fromhex("0806 0001 0800 06 04 0001") + me + source + bytes(6) + ip


@given(macs, macs, ips6, ips6)
def test_a_neighbour_solicitation(me: bytes, mac: bytes, source: bytes, ip: bytes) -> None:
    """RFC 4861, 4.3: with our MAC as its option, to the address itself."""
    frame = Asker(me, source).question(mac, ip)
    assert frame[:14] == mac + me + b"\x86\xdd"
    assert frame[14:54] == struct.pack("!IHBB", 6 << 28, 32, 58, 255) + source + ip
    message = frame[54:]
    assert message[:2] + message[4:] == b"\x87\0" + bytes(4) + ip + b"\1\1" + me
    # The sum over a message with the right checksum is 0xffff, of which the complement is 0.
    assert checksum(source + ip + struct.pack("!II", len(message), 58) + message) == 0


@given(macs, macs, pairs)
def test_a_question_is_seen_for_what_it_is(me: bytes, mac: bytes, pair: tuple[bytes, bytes]) -> None:
    source, ip = pair
    frame = Asker(me, source).question(mac, ip)
    assert parse_question(frame) == (ip, False)
    assert parse_question(b"\xff" * 6 + frame[6:]) == (ip, True)
    assert parse_question(answer(me, source, mac, ip)) is None


@given(macs, macs, pairs, st.booleans())
def test_the_right_answer(me: bytes, mac: bytes, pair: tuple[bytes, bytes], option: bool) -> None:  # noqa: FBT001
    source, ip = pair
    frame = answer(me, source, mac, ip, option=option)
    assert parse_answer(frame, me=me) == (ip, mac, mac, source)
    assert parse_answer(frame + bytes(18), me=me) == (ip, mac, mac, source), "padding does no harm"


@given(macs, macs, ips4, ips4)
def test_the_whole_arp_reply_is_known_beforehand(me: bytes, mac: bytes, source: bytes, ip: bytes) -> None:
    assert Asker(me, source).arp_reply(mac, ip) == answer(me, source, mac, ip)


@given(macs, macs, pairs, st.data())
def test_no_other_byte_is_the_same_answer(
    me: bytes, mac: bytes, pair: tuple[bytes, bytes], data: st.DataObject
) -> None:
    """Each bit counts but for those that RFC 8200 and RFC 4861 leave to the sender."""
    source, ip = pair
    frame = bytearray(answer(me, source, mac, ip))
    place = data.draw(st.integers(0, len(frame) - 1))
    if len(ip) == 16:
        # Class and flow label. The checksum covers all that follows the payload's length.
        assume(place not in {14, 15, 16, 17})
    frame[place] ^= data.draw(st.integers(1, 255))
    assert parse_answer(bytes(frame), me=me) != (ip, mac, mac, source)


@given(macs, macs, pairs, st.data())
def test_no_part_of_an_answer_is_one(
    me: bytes, mac: bytes, pair: tuple[bytes, bytes], data: st.DataObject
) -> None:
    source, ip = pair
    frame = answer(me, source, mac, ip)
    part = frame[: data.draw(st.integers(0, len(frame) - 1))]
    assert isinstance(parse_answer(part, me=me), Layer2Rejection)
    parse_question(part)


@given(st.binary(max_size=128), macs)
def test_noise_is_no_answer(noise: bytes, me: bytes) -> None:
    assert isinstance(parse_answer(noise, me=me), Layer2Rejection)
    assert isinstance(parse_answer(me + noise[6:], me=me), Layer2Rejection)
    assert parse_question(noise) is None


@given(macs, macs, ips6, ips6, st.binary(max_size=40))
def test_odd_options_are_no_answer_or_another_owners(
    me: bytes, mac: bytes, source: bytes, ip: bytes, options: bytes
) -> None:
    """However they end, they are read to the end and not beyond it."""
    frame = bytearray(answer(me, source, mac, ip, option=False) + options)
    frame[18:20] = (24 + len(options)).to_bytes(2, "big")
    got = parse_answer(bytes(frame), me=me, summed=False)
    sizes, at = [], 0
    while at < len(options):
        sizes.append(8 * options[at + 1] if at + 1 < len(options) else 0)
        if not 0 < sizes[-1] <= len(options) - at:
            assert got is Layer2Rejection.MALFORMED
            return
        at += sizes[-1]
    assert got[0::2] == (ip, mac)


@given(macs, macs, ips6, ips6)
def test_a_checksum_that_nobody_has_filled_in_yet(me: bytes, mac: bytes, source: bytes, ip: bytes) -> None:
    frame = bytearray(answer(me, source, mac, ip))
    frame[56] ^= 1
    assert parse_answer(bytes(frame), me=me) is Layer2Rejection.CHECKSUM
    assert parse_answer(bytes(frame), me=me, summed=False) == (ip, mac, mac, source)
