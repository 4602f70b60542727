"""The exporter as an operator starts it, and what a scrape of it says."""

import signal
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.process import Process, eventually

__all__ = ["Exporter", "Scrape", "write_config"]

_PATIENCE = 5
"""Seconds by which a busy machine may be late. What hangs in the tests does so for much longer."""
_READ_AGAIN = "the configuration was read again"


def write_config(directory: Path, **settings: object) -> Path:
    """Write a configuration file of these settings."""
    path = directory / "config.yml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


class Scrape:
    """One exposition, parsed."""

    def __init__(self, text: str) -> None:
        """Parse `text`, in format 0.0.4."""
        self.text = text
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the metric's values by their labels, which must be exactly `labels`, each once."""
        found: dict[tuple[str, ...], float] = {}
        for given, value in self._samples.get(name, []):
            assert set(given) == set(labels), f"{name} has the labels {sorted(given)}"
            key = tuple(given[label] for label in labels)
            assert key not in found, f"{name}{given} is there twice"
            found[key] = value
        return found

    def value(self, name: str, **labels: str) -> float:
        """Return the value of one sample; LookupError if there is none."""
        return self.by(name, *labels)[tuple(labels.values())]


class Exporter(Process):
    """``python -m fping_exporter`` on a free port of loopback."""

    def __init__(self, config: Path, *, clouds: Path, log: Path) -> None:
        """Prepare to serve with the configuration `config` and the credentials in `clouds`."""
        super().__init__(
            [
                sys.executable,
                "-m",
                "fping_exporter",
                "--config.file",
                config,
                "--web.listen-address",
                "127.0.0.1:0",
            ],
            log=log,
            environment={"OS_CLIENT_CONFIG_FILE": str(clouds)},
        )

    def __enter__(self) -> Self:
        super().__enter__()
        self.address = self.wait_for(r"msg=listening\b.* address=(\S+)")[1]
        return self

    def reload(self) -> None:
        """Let it read its configuration again with SIGHUP; returns when it has."""
        read = self.log.count(_READ_AGAIN)
        self.send_signal(signal.SIGHUP)
        eventually(lambda: self._assert_read(read + 1))

    def _assert_read(self, times: int) -> None:
        assert self.log.count(_READ_AGAIN) >= times, self.log

    def scrape(self, *, timeout: float = 10) -> Scrape:
        """Scrape it as Prometheus would with this scrape timeout, in seconds, but for a little patience."""
        request = urllib.request.Request(
            f"http://{self.address}/metrics",
            headers={"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)},
        )
        with urllib.request.urlopen(request, timeout=timeout + _PATIENCE) as response:  # noqa: S310
            return Scrape(response.read().decode())
