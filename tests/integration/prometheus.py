"""A real Prometheus that scrapes what a test gives it."""

import json
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from tests.integration.process import Process, eventually, free_port

__all__ = ["Prometheus"]


class Prometheus(Process):
    """Debian's Prometheus on a free port of loopback, with a storage of its own; it can be started again."""

    def __init__(
        self,
        directory: Path,
        *targets: str,
        https: Sequence[str] = (),
        ca_file: Path | None = None,
        rules: Path | None = None,
    ) -> None:
        """Prepare to scrape every two seconds, and to evaluate a file of rules as often.

        `targets` and `https` are HOST:PORT; those in `https` have certificates of `ca_file`.
        """
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        config = directory / "prometheus.yml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {
                        "scrape_interval": "2s",
                        "scrape_timeout": "2s",
                        "evaluation_interval": "2s",
                    },
                    "rule_files": [str(rules)] if rules else [],
                    "scrape_configs": [
                        {
                            "job_name": "fping-exporter",
                            "static_configs": [
                                {"targets": list(targets)},
                                {"targets": list(https), "labels": {"__scheme__": "https"}},
                            ],
                            "tls_config": {"ca_file": str(ca_file)} if ca_file else {},
                        }
                    ],
                }
            ),
            encoding="utf-8",
        )
        super().__init__(
            [
                "/usr/bin/prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            log=directory / "prometheus.log",
        )

    def __enter__(self) -> Self:
        super().__enter__()
        self.wait_for("Server is ready to receive web requests")
        eventually(self._assert_scraped, timeout=20)
        return self

    def _assert_scraped(self) -> None:
        assert self.query("up")

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the instant vector that `expression` gives now: labels and value of each element."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310, the scheme is ours
            answer: dict[str, Any] = json.load(response)
        return [(element["metric"], float(element["value"][1])) for element in answer["data"]["result"]]
