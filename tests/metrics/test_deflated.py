"""Pieces of deflated text: any choice of them makes up one gzip file that inflates to their texts."""

import gzip
import zlib
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.metrics.deflated import Deflater, deflate, gzip_file, join

TEXT = st.binary(max_size=40) | st.builds(bytes.__mul__, st.binary(max_size=40), st.integers(1, 300))


@given(texts=st.lists(TEXT, max_size=12), order=st.randoms(use_true_random=False), end=TEXT)
def test_pieces_make_up_one_gzip_file_in_any_order(texts: list[bytes], order: Random, end: bytes) -> None:
    deflater = Deflater()
    pieces = [deflater.deflate(text) for text in texts]
    chosen = [order.randrange(len(texts)) for _ in texts]
    whole = b"".join(gzip_file([pieces[number] for number in chosen], end=end))
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert inflater.decompress(whole) == b"".join(texts[number] for number in chosen) + end
    assert inflater.eof, "the checksum and the size were reached, which zlib compares"
    assert not inflater.unused_data, "one member"


@given(texts=st.lists(st.lists(TEXT, max_size=5), max_size=5))
def test_joined_pieces_are_a_piece_of_all_their_text(texts: list[list[bytes]]) -> None:
    joined = [join([deflate(text) for text in each]) for each in texts]
    for piece, parts in zip(joined, texts, strict=True):
        text = b"".join(parts)
        assert piece.inflate() == text
        assert piece.checksum == deflate(text).checksum
    assert gzip.decompress(b"".join(gzip_file(joined, end=b""))) == b"".join(map(b"".join, texts))


@given(texts=st.lists(TEXT, min_size=1, max_size=5))
def test_each_piece_is_inflated_without_those_before(texts: list[bytes]) -> None:
    deflater = Deflater()
    assert [deflater.deflate(text).inflate() for text in (*texts, *texts)] == [*texts, *texts]
