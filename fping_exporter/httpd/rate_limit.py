"""The rate limit of a web configuration: a token bucket for all requests together."""

import threading
import time

from fping_exporter.httpd.web_config import RateLimit

__all__ = ["TokenBucket"]


class TokenBucket:
    """A token bucket that starts full, as in golang.org/x/time/rate; without a limit it is never empty."""

    def __init__(self, limit: RateLimit | None) -> None:
        """Fill it."""
        self.limit = limit
        self._lock = threading.Lock()
        self._tokens = float(limit.burst or 0) if limit else 0.0
        self._refilled_at = time.monotonic()

    def take(self) -> bool:
        """Take a token for a request; False where there is none."""
        if not self.limit or not self.limit.interval:
            return True
        with self._lock:
            now = time.monotonic()
            tokens = self._tokens + (now - self._refilled_at) / self.limit.interval
            self._tokens = min(tokens, float(self.limit.burst or 0))
            self._refilled_at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
