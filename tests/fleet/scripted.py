"""A server that answers the first request with the bytes that a test gives, right or wrong."""

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

__all__ = ["Scripted"]


class Scripted:
    """Answers one request on a loopback port, and hangs up; or goes on with a byte every `drip` seconds.

    It takes `delay` seconds before it answers.
    """

    def __init__(self, answer: bytes, *, drip: float | None = None, delay: float = 0) -> None:
        self._answer, self._drip, self._delay = answer, drip, delay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.request = b""
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, contextlib.suppress(OSError):
            while not self.request.endswith(b"\r\n\r\n"):
                self.request += client.recv(4096)
            time.sleep(self._delay)
            client.sendall(self._answer)
            while self._drip:
                time.sleep(self._drip)
                client.sendall(b"x")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(5)
        self._listener.close()
