"""A real Prometheus and Alertmanager with the shipped rules and routes, sixty times as fast.

A minute of the shipped files is a second here: every duration of the rules (``for``,
``keep_firing_for``, ranges) and of the routes is divided by `SPEED`, and so is
Prometheus's lookback delta. Everything else is used as shipped. All servers listen on
loopback only, and are stopped by their process ids.
"""

import contextlib
import email
import email.policy
import json
import re
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.integration.process import Process, eventually, free_port

__all__ = [
    "ALERTMANAGER_URL",
    "SPEED",
    "Mail",
    "Sink",
    "alerting",
    "alertmanager",
    "post",
    "prometheus",
    "query",
    "quicken",
    "tell",
]

ROOT = Path(__file__).parents[2]
SPEED = 60
ALERTMANAGER_URL = "https://alertmanager.example.org"
"""The external URL, which mails link to."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def quicken(text: str) -> str:
    """Divide every duration of a rule or route file by `SPEED`.

    A duration is a whole value (``for: 3m``) or a range (``[15m]``, ``[30m:1m]``). A number of seconds
    in an expression is compared with wall-clock times, and stays.
    """
    return re.sub(
        r"(?<=: |.\[|m:)(\d+)([smhd])(?=\]|:\d| *$| +#)",
        lambda found: f"{int(found[1]) * _UNITS[found[2]] * 1000 // SPEED}ms",
        text,
        flags=re.MULTILINE,
    )


class Mail(NamedTuple):
    """A mail that the server has received."""

    recipients: tuple[str, ...]
    """Of the envelope: where it really goes."""
    message: EmailMessage

    def part(self, subtype: str) -> str:
        """Return the text of the MIME part ``text/<subtype>``."""
        part = self.message.get_body((subtype,))
        assert part is not None
        return str(part.get_content())


class Sink:
    """An SMTP server and a pager's webhook that keep what they receive."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.mails: list[Mail] = []
        self.accepts_mail = True
        """Whether the SMTP server knows its recipients."""
        self.pages: list[dict[str, Any]] = []
        """What the pager has received, each as Alertmanager's webhook has it."""

    def __str__(self) -> str:
        """Return all mails in full, for the message of a failed assertion."""
        return "\n".join(str(mail.message) for mail in self.mails)

    def to(self, address: str) -> list[Mail]:
        """Return the mails to `address`, the oldest first."""
        return [mail for mail in self.mails if address in mail.recipients]

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802, aiosmtpd's name
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        self.mails.append(Mail(tuple(envelope.rcpt_tos), message))
        return "250 OK"

    async def handle_RCPT(  # noqa: N802, as above
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if not self.accepts_mail:
            return "550 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


class Pager(ThreadingHTTPServer):
    """The pager's webhook, which adds each message to `pages`."""

    def __init__(self, pages: list[dict[str, Any]]) -> None:
        """Listen on a free port of loopback."""

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """The webhook's URL."""
        return f"http://127.0.0.1:{self.server_port}/"


@contextlib.contextmanager
def alerting(directory: Path, *, target: str) -> Iterator[Sink]:
    """Run Alertmanager, and Prometheus, which scrapes `target` (HOST:PORT); yield the SMTP server.

    Prometheus takes five seconds to discover its first target, and at this speed an exporter
    that is missing for five seconds is FpingExporterGone. So Alertmanager is started after that.
    """
    address = f"127.0.0.1:{free_port()}"
    with (
        prometheus(directory / "prometheus", target=target, alertmanager=address),
        alertmanager(directory / "alertmanager", address=address) as sink,
    ):
        yield sink


@contextlib.contextmanager
def alertmanager(directory: Path, *, address: str) -> Iterator[Sink]:
    """Run Alertmanager on `address` (HOST:PORT) with the shipped routes; yield the SMTP server."""
    sink = Sink()
    mail = Controller(sink, hostname="127.0.0.1", port=free_port(), ready_timeout=30)
    mail.start()
    pager = Pager(sink.pages)
    thread = threading.Thread(target=pager.serve_forever)
    thread.start()
    try:
        smarthost = f"127.0.0.1:{mail.port}"
        with _alertmanager(directory, address=address, smarthost=smarthost, pager=pager.url):
            yield sink
    finally:
        mail.stop()
        pager.shutdown()
        pager.server_close()
        thread.join()


def tell(address: str, *alerts: Mapping[str, str]) -> None:
    """Post firing alerts, given by their labels, to the Alertmanager at `address`."""
    post(address, *({"labels": labels} for labels in alerts))


def post(address: str, *alerts: Mapping[str, object]) -> None:
    """Post alerts as Alertmanager's API has them: ``labels``, ``annotations``, ``startsAt``, ``endsAt``."""
    body = json.dumps(alerts).encode()
    request = urllib.request.Request(f"http://{address}/api/v2/alerts", body)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310, loopback
        pass


@contextlib.contextmanager
def _alertmanager(directory: Path, *, address: str, smarthost: str, pager: str) -> Iterator[None]:
    shipped = ROOT / "deploy" / "alertmanager"
    directory.mkdir()
    config = yaml.safe_load(quicken((shipped / "alertmanager.yml").read_text(encoding="utf-8")))
    config["global"]["smtp_smarthost"] = smarthost
    for receiver in config["receivers"]:
        for webhook in receiver.get("webhook_configs", ()):
            webhook["url"] = pager
    config["templates"] = [str(shipped / pattern) for pattern in config["templates"]]
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with Process(
        [
            "/usr/bin/prometheus-alertmanager",
            f"--config.file={directory / 'alertmanager.yml'}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={address}",
            f"--web.external-url={ALERTMANAGER_URL}",
            "--cluster.listen-address=",
        ],
        log=directory / "log",
    ) as process:
        process.wait_for("Listening on")
        yield


@contextlib.contextmanager
def prometheus(
    directory: Path,
    *,
    target: str,
    alertmanager: str,
    jobs: str = "prometheus.yml",
    calm: bool = True,
) -> Iterator[str]:
    """Run Prometheus, which scrapes `target` (HOST:PORT) every second; yield its own HOST:PORT.

    `jobs` is the shipped file with the jobs that scrape the exporter. When it is yielded and `calm`, the
    target has been scraped once, and no alert is firing. In a directory that it ran in before, it goes on
    with what it recorded then.
    """
    shipped = ROOT / "deploy" / "prometheus"
    directory.mkdir(exist_ok=True)
    config = yaml.safe_load((shipped / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [alertmanager]}]
    text = (shipped / jobs).read_text(encoding="utf-8").replace("localhost:10605", target)
    config["scrape_configs"] = [
        job | {"scrape_interval": "1s", "scrape_timeout": "1s"}
        for job in yaml.safe_load(text.replace("localhost:9093", alertmanager))["scrape_configs"]
    ]
    for job in config["scrape_configs"]:
        for discovery in job.get("http_sd_configs", ()):
            discovery["refresh_interval"] = "1s"
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
            "--rules.alert.for-grace-period=1s",
        ],
        log=directory / "log",
    ) as process:
        process.wait_for("Server is ready to receive web requests")
        if calm:
            eventually(lambda: _assert_calm(address))
        yield address


def query(address: str, expr: str) -> list[dict[str, Any]]:
    """Return the current result of an instant query at `address`; an invalid query raises HTTPError."""
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
    with urllib.request.urlopen(url, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def _assert_calm(address: str) -> None:
    assert query(address, 'up{job="fping-exporter"} == 1 unless on () ALERTS{alertstate="firing"}')
