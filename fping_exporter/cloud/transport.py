"""HTTP whose responses end: within a time in all, and within a size.

The time is bounded by :mod:`fping_exporter.http_deadline`.
"""

import time
from collections.abc import Iterator
from typing import Any

import requests
from keystoneauth1.session import TCPKeepAliveAdapter

from fping_exporter.cloud.faults import redact
from fping_exporter.cloud.time_limit import time_left
from fping_exporter.errors import CloudError
from fping_exporter.http_deadline import TooLateError, pools

__all__ = ["MAX_BODY_BYTES", "RESPONSE_SECONDS", "BoundedAdapter"]

CONNECT_SECONDS = 10.0
RESPONSE_SECONDS = 120.0
"""How long a response may take from the request to its last byte."""
MAX_BODY_BYTES = 64 << 20
"""How large a body may be once it is decompressed. A page of 1,000 servers has 2 to 5 MB, and the role
assignments of 100,000 users some 40 MB."""


class BoundedAdapter(TCPKeepAliveAdapter):
    """Sends the requests of a requests.Session.

    A response that takes too long or is too large raises CloudError.
    """

    def __init__(self, *, response_seconds: float = RESPONSE_SECONDS) -> None:
        """`response_seconds` is how long a response may take from the request to its last byte."""
        self._response_seconds = response_seconds
        self._pools = pools(lambda: min(time_left(), response_seconds))
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, as the library has it
        """Use connections whose responses have a deadline."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401, as the library has it
        """Use such connections through a proxy, too."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def close(self) -> None:
        """Close the connections that are not in use.

        urllib3 leaves them open as long as a response of theirs is in memory, such as that in an error, which
        only a garbage collection frees.
        """
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118, it has no other iterator
                if pool := manager.pools.get(key):
                    pool.close()
        super().close()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401, likewise
        """Send a request and return the response, whose body is still to be read."""
        url, began = redact(request.url or ""), time.monotonic()
        left = time_left()
        if left <= 0:
            raise CloudError(f"{url}: not asked, there is no time left")
        timeout = kwargs.get("timeout")
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        most = min(left, self._response_seconds)
        kwargs["timeout"] = (min(connect or most, most, CONNECT_SECONDS), min(read or most, most))
        try:
            response = super().send(request, *args, **kwargs)
        except TooLateError:
            raise _too_late(url, began) from None
        response.raw = _BoundedBody(response.raw, url=url, began=began)
        return response


def _too_late(url: str, began: float) -> CloudError:
    return CloudError(f"{url}: no complete response within {time.monotonic() - began:.0f} s")


class _BoundedBody:
    """The body of a response as urllib3 has it, up to a size."""

    def __init__(self, raw: Any, *, url: str, began: float) -> None:  # noqa: ANN401, urllib3's or a test's
        self._raw = raw
        self._url = url
        self._began = began

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401, whatever it has
        return getattr(self._raw, name)

    def stream(self, amt: int, *, decode_content: bool) -> Iterator[bytes]:
        """Yield the body in pieces; requests reads it so, and calls nothing else."""
        size = 0
        try:
            for piece in self._raw.stream(amt, decode_content=decode_content):
                size += len(piece)
                if size > MAX_BODY_BYTES:
                    self._raw.close()
                    break
                yield piece
        except TooLateError:
            raise _too_late(self._url, self._began) from None
        if size > MAX_BODY_BYTES:
            raise CloudError(f"{self._url}: the body is larger than {MAX_BODY_BYTES >> 20} MiB")
