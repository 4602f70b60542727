"""A proxy in front of the lab's Nova, whose lists a test holds, narrows or empties."""

import threading
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

import requests

from fping_exporter.demo.http import Answer, LoopbackServer, Request

__all__ = ["NovaProxy"]

_SECONDS = 60.0
"""How long Nova may be silent, and the longest that a request is held."""
_MANY = 1000
_FORWARDED = ("Host", "X-Auth-Token", "OpenStack-API-Version", "Accept")
"""Nova builds the links of its version document from Host, so that clients stay with the proxy."""


class NovaProxy:
    """Passes GET requests on to Nova. The first page of each list passes last what a test has set."""

    def __init__(self, upstream: str) -> None:
        """Prepare a proxy of Nova, which is at the URL `upstream`."""
        url = urlsplit(upstream)
        self._upstream, self._path = f"{url.scheme}://{url.netloc}", url.path
        self._server = LoopbackServer(self._answer)
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._empty = 0
        self._held = False
        self._passes = threading.Semaphore(0)
        self.lists = 0
        """How many lists were asked for."""
        self.hanging = False
        """Whether lists are held, which are answered with 404 in the end."""
        self.only: Mapping[str, str] = {}
        """Filters that are added to each list."""

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.stop()

    @property
    def url(self) -> str:
        """The endpoint of Nova's API behind it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    def empty_next(self, lists: int) -> None:
        """Answer the next `lists` lists with no server."""
        with self._lock:
            self._empty = lists

    def hold(self, *, after: int = 0) -> None:
        """Let lists wait until they may pass, but for the next `after`."""
        self._passes = threading.Semaphore(after)
        self._held = True

    def let_one_pass(self) -> None:
        """Let one list pass, which waits or is the next."""
        self._passes.release()

    def release(self) -> None:
        """Hold lists no more, and end the requests that wait."""
        self._held = False
        self._passes.release(_MANY)
        self._released.set()

    def _answer(self, request: Request) -> Answer:
        is_list = request.path.endswith("/servers/detail")
        if is_list and "marker" not in request.query:
            with self._lock:
                self.lists += 1
                empty, self._empty = self._empty > 0, max(0, self._empty - 1)
            if self.hanging:
                self._released.wait(_SECONDS)
                return Answer(404)
            if self._held:
                self._passes.acquire(timeout=_SECONDS)
            if empty:
                return Answer(200, {"servers": []})
        response = requests.request(
            request.method,
            self._upstream + request.path,
            params={**request.query, **(self.only if is_list else {})},
            headers={name: request.headers[name] for name in _FORWARDED if name in request.headers},
            timeout=_SECONDS,
        )
        passed = ("Content-Type", "OpenStack-API-Version", "Vary")
        return Answer(
            response.status_code,
            response.content,
            {name: response.headers[name] for name in passed if name in response.headers},
        )
