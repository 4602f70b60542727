"""The shipped Prometheus rules and Alertmanager routes, running for real and sixty times as fast.

A minute of the shipped files is a second here: every duration of the rules (``for``,
``keep_firing_for``, ranges) and of the routes is divided by `SPEED`, and so is
Prometheus's look-back. Everything else is used as it is shipped. All of it listens on
loopback alone, and is stopped by the process that was started.
"""

import contextlib
import email
import email.policy
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.integration.process import Process, eventually, free_port

__all__ = ["SPEED", "Mail", "Sink", "alerting", "alertmanager", "prometheus", "query", "quicken", "tell"]

ROOT = Path(__file__).parents[2]
SPEED = 60
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def quicken(text: str) -> str:
    """Divide by `SPEED` every duration of a rule or route file.

    A duration is a whole value (``for: 3m``) or a range (``[15m]``). Numbers of seconds
    within an expression are ages of wall-clock times, and stay.
    """
    return re.sub(
        r"(?<=: |.\[)(\d+)([smhd])(?=\]| *$| +#)",
        lambda found: f"{int(found[1]) * _UNITS[found[2]] * 1000 // SPEED}ms",
        text,
        flags=re.MULTILINE,
    )


class Mail(NamedTuple):
    """One mail as the server took it."""

    recipients: tuple[str, ...]
    """Of the envelope: where it really goes."""
    message: EmailMessage

    def part(self, subtype: str) -> str:
        """Return the text of the part ``text/<subtype>``."""
        part = self.message.get_body((subtype,))
        assert part is not None
        return str(part.get_content())


class Sink:
    """A mail server that keeps what it gets."""

    def __init__(self) -> None:
        """Start empty."""
        self.mails: list[Mail] = []

    def __str__(self) -> str:
        """Show all mails in full, for an assertion's message."""
        return "\n".join(str(mail.message) for mail in self.mails)

    def to(self, address: str) -> list[Mail]:
        """Return what came for `address` so far, the oldest first."""
        return [mail for mail in self.mails if address in mail.recipients]

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802, aiosmtpd's name
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        self.mails.append(Mail(tuple(envelope.rcpt_tos), message))
        return "250 OK"


@contextlib.contextmanager
def alerting(directory: Path, *, target: str) -> Iterator[Sink]:
    """Scrape `target` (HOST:PORT) every second, judge, alert, and yield where the mail arrives.

    Prometheus takes five seconds to find its first target, which on this clock is an exporter
    gone for five minutes. So Alertmanager is started when that is over.
    """
    address = f"127.0.0.1:{free_port()}"
    with (
        prometheus(directory / "prometheus", target=target, alertmanager=address),
        alertmanager(directory / "alertmanager", address=address) as sink,
    ):
        yield sink


@contextlib.contextmanager
def alertmanager(directory: Path, *, address: str) -> Iterator[Sink]:
    """Listen on `address` (HOST:PORT), route as it is shipped, and yield where the mail arrives."""
    sink = Sink()
    mail = Controller(sink, hostname="127.0.0.1", port=free_port())
    mail.start()
    try:
        with _alertmanager(directory, address=address, smarthost=f"127.0.0.1:{mail.port}"):
            yield sink
    finally:
        mail.stop()


def tell(address: str, *alerts: Mapping[str, str]) -> None:
    """Tell the Alertmanager at `address` of alerts, by their labels, that fire."""
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(f"http://{address}/api/v2/alerts", body)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310, loopback
        pass


@contextlib.contextmanager
def _alertmanager(directory: Path, *, address: str, smarthost: str) -> Iterator[None]:
    shipped = ROOT / "deploy" / "alertmanager"
    directory.mkdir()
    config = yaml.safe_load(quicken((shipped / "alertmanager.yml").read_text(encoding="utf-8")))
    config["global"]["smtp_smarthost"] = smarthost
    config["templates"] = [str(shipped / pattern) for pattern in config["templates"]]
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with Process(
        [
            "/usr/bin/prometheus-alertmanager",
            f"--config.file={directory / 'alertmanager.yml'}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ],
        log=directory / "log",
    ) as process:
        process.wait_for("Listening on")
        yield


@contextlib.contextmanager
def prometheus(directory: Path, *, target: str, alertmanager: str) -> Iterator[str]:
    """Scrape `target` (HOST:PORT) every second by the shipped rules; yield the HOST:PORT to query.

    It has scraped once by then, and no alert is firing.
    """
    shipped = ROOT / "deploy" / "prometheus"
    directory.mkdir()
    config = yaml.safe_load((shipped / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [alertmanager]}]
    (job,) = config["scrape_configs"]
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{"targets": [target]}]}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for name in config["rule_files"]:
        (directory / name).write_text(quicken((shipped / name).read_text(encoding="utf-8")), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    with Process(
        [
            "/usr/bin/prometheus",
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={address}",
            "--query.lookback-delta=5s",
            "--rules.alert.resend-delay=1s",
        ],
        log=directory / "log",
    ) as process:
        process.wait_for("Server is ready to receive web requests")
        eventually(lambda: _assert_calm(address))
        yield address


def query(address: str, expr: str) -> list[dict[str, Any]]:
    """Ask the Prometheus at `address` for the instant vector of now; a wrong query raises HTTPError."""
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
    with urllib.request.urlopen(url, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def _assert_calm(address: str) -> None:
    assert query(address, 'up == 1 unless on () ALERTS{alertstate="firing"}')
