"""Scrapes that a benchmark answers itself."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["serving"]


@contextmanager
def serving(answer: Callable[[str], bytes]) -> Iterator[int]:
    """Serve what `answer` returns for the path of a request, on a port of loopback; yield the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
