"""The URL paths of os-fping, stated once: those under which Nova had it."""

import re

__all__ = ["EXPLAIN_PATH", "FIRST_SEGMENTS", "LIST_PATHS", "SHOW_PATHS", "is_os_fping"]

_PREFIXES = ("", "/v2", "/v2/<project_id>", "/v2.1", "/v2.1/<project_id>")

LIST_PATHS = tuple(f"{prefix}/os-fping" for prefix in _PREFIXES)
"""Flask's URL rules of the list of servers."""
SHOW_PATHS = tuple(f"{path}/<server_id>" for path in LIST_PATHS)
"""Flask's URL rules of one server."""

EXPLAIN_PATH = "/v1/explain/<server_id>"
"""Flask's URL rule of the explanation of one server, which Nova never had."""

FIRST_SEGMENTS = frozenset(path.split("/")[1] for path in LIST_PATHS)
"""Below these, every answer has Nova's form, 404 included; no other page of the exporter is there."""

_ANY = re.compile(
    "|".join(
        re.sub("<[a-z_]+>", "[^/]+", re.escape(path)) for path in (*LIST_PATHS, *SHOW_PATHS, EXPLAIN_PATH)
    )
)


def is_os_fping(path: str) -> bool:
    """Return whether `path` (percent-decoded) is os-fping's, which asks for tokens instead of passwords."""
    return bool(_ANY.fullmatch(path))
