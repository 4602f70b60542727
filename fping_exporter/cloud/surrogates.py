"""Lone surrogates in JSON, which Python writes and reads, but strict decoders refuse."""

import re

__all__ = ["replace_lone_surrogates"]

_ESCAPES = re.compile(
    rb"""\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}   # a pair: one character
           |(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})
           |.)""",  # any other escape, so that an escaped backslash is not taken for the start of one
    re.VERBOSE | re.DOTALL,
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def replace_lone_surrogates(body: bytes) -> bytes:
    r"""Return the JSON text with U+FFFD in place of each ``\ud800`` to ``\udfff`` that is not part of a pair.

    A tenant may put one into the name of a server. Nova's ``json.dumps`` passes it on, and msgspec would
    refuse the whole page for it.
    """
    if not _SURROGATE.search(body):
        return body
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found["lone"] else found[0], body)
