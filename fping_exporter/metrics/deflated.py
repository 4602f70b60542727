"""Pieces of text, each deflated on its own, that any choice of makes up one gzip file (RFC 1951 and 1952).

A piece ends at a byte and refers to nothing before it. So pieces are put together in any order and number
without inflating or compressing anything, and as one member: a file of several members is as legal, but
browsers and curl stop at the end of the first.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

__all__ = ["Checksum", "Deflater", "Piece", "deflate", "gzip_file", "join"]


class Checksum(NamedTuple):
    """The checksum of a text, with what it takes to compute that of two texts from those of each."""

    crc: int = 0
    """CRC-32, as in :func:`zlib.crc32`."""
    shift: int = 1 << 31
    """The factor by which the text moves the checksum of what precedes it: x to the power of its bits."""
    size: int = 0
    """Bytes."""

    @classmethod
    def of(cls, text: bytes) -> "Checksum":
        """Compute it."""
        zeros = bytes(len(text))
        return cls(zlib.crc32(text), zlib.crc32(zeros, 1 << 31) ^ zlib.crc32(zeros), len(text))

    def append(self, other: "Checksum") -> "Checksum":
        """Return the checksum of this text followed by the other one.

        As zlib's crc32_combine() does, which Python's zlib module lacks.
        """
        if not other.size:
            return self
        return Checksum(
            _multiply(self.crc, other.shift) ^ other.crc,
            _multiply(self.shift, other.shift),
            self.size + other.size,
        )


def _multiply(a: int, b: int) -> int:
    """Multiply two polynomials over GF(2) modulo that of CRC-32; bit 31 is the coefficient of x to the 0.

    A loop over the bits takes three to four times as long. Here each coefficient becomes a byte of a long
    integer. A byte of the product is 32 at most, so that no byte is carried into the next, and its lowest bit
    is the sum modulo 2.
    """
    product = _spread(a) * _spread(b) & _LOWEST_BITS
    digits = (product | _DIGITS).to_bytes(64, "big")
    low_powers, high_powers = divmod(int(digits, 2) << 1, 1 << 32)
    # To continue a checksum with four zeros is to multiply it by x to the power of 32.
    return low_powers ^ zlib.crc32(_FOUR_ZEROS, high_powers) ^ zlib.crc32(_FOUR_ZEROS)


def _spread(bits: int) -> int:
    """Return an integer of which each byte is one of 32 bits."""
    return int.from_bytes(f"{bits:032b}".encode(), "big") & _LOWEST_BITS


_LOWEST_BITS = int.from_bytes(b"\1" * 64, "big")
_DIGITS = int.from_bytes(b"0" * 64, "big")
"""Makes ASCII of bytes that are 0 or 1."""
_FOUR_ZEROS = bytes(4)


class Piece(NamedTuple):
    """A deflated text."""

    deflated: bytes
    checksum: Checksum
    """Of the text as it was before."""

    def inflate(self) -> bytes:
        """Return the text."""
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.deflated)


class Deflater:
    """Compresses texts, each on its own. Threads may not share it.

    zlib takes as long to allocate its memory as to compress some kilobytes. So one compresses many texts.
    """

    def __init__(self) -> None:
        """Allocate what zlib needs, some 260 kB."""
        self._stream = _stream()

    def deflate(self, text: bytes) -> Piece:
        """Compress a text; an empty one takes no byte."""
        if not text:
            return Piece(b"", Checksum())
        # A full flush ends at a byte, and what follows refers to nothing before it.
        return Piece(self._stream.compress(text) + self._stream.flush(zlib.Z_FULL_FLUSH), Checksum.of(text))


def deflate(text: bytes) -> Piece:
    """Compress a single text; an empty one takes no byte."""
    return Deflater().deflate(text)


def join(pieces: Sequence[Piece]) -> Piece:
    """Return the one piece that these make up."""
    checksum = reduce(Checksum.append, [piece.checksum for piece in pieces], Checksum())
    return Piece(b"".join([piece.deflated for piece in pieces]), checksum)


def gzip_file(pieces: Iterable[Piece], *, end: bytes) -> list[bytes]:
    """Return a gzip file of the pieces and then the text `end`, in parts: those of the pieces as they are."""
    pieces = [piece for piece in pieces if piece.deflated]
    crc = size = 0
    for piece in pieces:
        crc = _multiply(crc, piece.checksum.shift) ^ piece.checksum.crc
        size += piece.checksum.size
    trailer = struct.pack("<LL", zlib.crc32(end, crc), (size + len(end)) % 2**32)
    stream = _stream()
    return [_HEADER, *[piece.deflated for piece in pieces], stream.compress(end) + stream.flush() + trailer]


def _stream() -> "zlib._Compress":
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


_LEVEL = 1
"""Level 6 takes three times as long for a text that is a quarter smaller."""
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""Deflated, without a name or a time, by an unknown system."""
