"""What the commands do."""

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from tqdm import tqdm

from fping_exporter import __version__, config
from fping_exporter.cli import report
from fping_exporter.cloud import Cloud
from fping_exporter.cloud.session import Observe
from fping_exporter.config import Config
from fping_exporter.demo import Demo
from fping_exporter.errors import FpingExporterError
from fping_exporter.httpd.listen import ListenAddress, parse_listen_address
from fping_exporter.httpd.middleware import WebConfigMiddleware
from fping_exporter.httpd.server import HttpServer
from fping_exporter.httpd.web_config import WebConfig
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.os_fping import api as os_fping
from fping_exporter.probe import check_permission, make_prober
from fping_exporter.service import Service, check_exposure
from fping_exporter.snapshot import take_snapshot
from fping_exporter.systemd import notify, watchdog_interval
from fping_exporter.verdict.selection import select
from fping_exporter.web import create_app
from fping_exporter.web.lifecycle import Controls

__all__ = ["check", "demo", "list", "serve"]

logger = logging.getLogger("fping_exporter")

EXIT_SILENT = 1
"""The exit code of ``list`` when instances that Nova calls ACTIVE do not answer."""

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_LAST_REQUESTS_SECONDS = 10.0
"""How long a scrape may go on after SIGTERM; longer than one waits as a rule."""


def serve(args: argparse.Namespace, settings: Config) -> int:
    """Serve the metrics of the configured cloud until SIGTERM or SIGINT."""
    _hold_signals()
    return _run(
        args,
        settings,
        read=lambda: config.load(config.find(args.config_file)),  # one may have come since the start
        connect=lambda settings, observe: Cloud(settings, observe=observe),
    )


def check(args: argparse.Namespace, settings: Config) -> None:
    """Raise ConfigError for what ``serve`` would refuse before it asks a cloud or opens a port."""
    check_exposure(settings.os_fping, _listen_addresses(args))
    if args.web_config_file:
        WebConfig(args.web_config_file)


def _listen_addresses(args: argparse.Namespace) -> tuple[ListenAddress, ...]:
    return tuple(parse_listen_address(text) for text in args.listen or [args.default_listen])


def demo(args: argparse.Namespace, settings: Config) -> int:
    """Serve the metrics of an embedded cloud until SIGTERM or SIGINT."""
    _hold_signals()
    check_permission()
    with Demo(instances=args.instances) as stand_in:
        return _run(
            args,
            settings,
            read=lambda: settings,
            connect=lambda settings, observe: Cloud(settings, observe=observe, region=stand_in.region()),
            greeting=_GREETING,
        )


_GREETING = """\
fping-exporter shows a cloud of its own. Nova calls its instances ACTIVE, but selenium-0, text-0 and
perhaps more do not answer; selenium-1 does.

  http://{address}/         the instances, silent ones first
  http://{address}/metrics  what Prometheus reads

In the metrics, compare instance_hypervisor_active, Nova's word, with instance_alive, the
ping's; instance_silent has the reason. End this with Ctrl-C.
"""


def _run(
    args: argparse.Namespace,
    settings: Config,
    *,
    read: Callable[[], Config],
    connect: Callable[[Config, Observe], Cloud],
    greeting: str = "",
) -> int:
    """Serve until SIGTERM or SIGINT; read the configuration again at SIGHUP."""
    _give_memory_back()
    _share_the_interpreter()
    logger.info("starting", extra={"version": __version__, "sockets": check_permission()})
    listen = _listen_addresses(args)
    telemetry = Telemetry()
    service = Service(
        settings,
        read=read,
        check=lambda settings: check_exposure(settings.os_fping, listen),
        connect=lambda settings: connect(settings, telemetry.observe_request),
        telemetry=telemetry,
    )
    controls = Controls(reload=service.reload, quit=lambda: os.kill(os.getpid(), signal.SIGTERM))
    app = create_app(
        service.monitor,
        telemetry=telemetry,
        telemetry_path=args.telemetry_path,
        others=[os_fping.blueprint(lambda: service.desk, telemetry=telemetry)],
        controls=controls if args.enable_lifecycle else None,
    )
    web = WebConfig(args.web_config_file) if args.web_config_file else None
    server = HttpServer(
        WebConfigMiddleware(app, settings=web.settings, is_public=_is_public) if web else app,
        listen=listen,
        tls=web.tls if web else None,
    )
    service.monitor.warm_up()
    server.start()
    for address in server.addresses:
        logger.info("listening", extra={"address": str(address)})
    if greeting:
        print(greeting.format(address=server.addresses[0]), flush=True)
    notify("READY=1")
    while _next_signal(server) is signal.SIGHUP:
        with contextlib.suppress(FpingExporterError):  # the log has it
            service.reload()
    notify("STOPPING=1")
    server.stop(_LAST_REQUESTS_SECONDS)
    return 0


def _hold_signals() -> None:
    """Keep signals until they are waited for, in all threads, which inherit this from the first.

    A handler would run between any two steps of the main thread, or, if the signal came just before the
    thread began to wait, not until the wait was over.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _next_signal(server: HttpServer) -> signal.Signals:
    """Wait for a signal, with signs of life for systemd meanwhile."""
    interval = watchdog_interval()
    while not (
        received := signal.sigtimedwait(_SIGNALS, interval) if interval else signal.sigwaitinfo(_SIGNALS)
    ):
        if server.alive:
            notify("WATCHDOG=1")
    number = signal.Signals(received.si_signo)
    logger.info("reloading" if number is signal.SIGHUP else "stopping", extra={"signal": number.name})
    return number


def _is_public(path: str) -> bool:
    """Whether a path is for everyone, passwords or not: os-fping asks for tokens of its own."""
    return path == "/-/healthy" or os_fping.is_os_fping(path)


def _give_memory_back() -> None:
    """Have glibc return blocks to the system, from 64 KiB on, when they are freed.

    Left alone, it raises that threshold to the size of the first page of servers that it sees
    freed, and keeps the holes of pages and texts from then on: 25 MiB at 10,000 instances.
    """
    with contextlib.suppress(AttributeError):  # musl has neither the function nor the habit
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 64 * 1024)


def _share_the_interpreter() -> None:
    """Keep a scrape from waiting for other threads' work.

    It takes the interpreter's lock some eight times, and waits 5 ms each time, as Python has it,
    for a thread that lists servers for a caller. A full garbage collection holds everybody up for
    40 ms, unless it leaves out the objects that the libraries have made by now, which stay anyway.
    """
    sys.setswitchinterval(0.0005)
    gc.freeze()


_M_MMAP_THRESHOLD = -3
"""From glibc's malloc.h."""


def list(args: argparse.Namespace, settings: Config) -> int:  # noqa: A001, commands are named as users call them
    """Ping the instances once and print what answered."""
    check_permission()
    with _bar("listing", unit=" answers") as bar:
        cloud = Cloud(settings, observe=lambda _service, _code: bar.update())
        inventory = select(cloud.inventory(), settings.instances)
    addresses = sum(len(instance.addresses) for instance in inventory.instances)
    with _bar("pinging", unit=" replies", total=addresses * settings.probe.count) as bar:
        snapshot = take_snapshot(
            inventory,
            prober=make_prober(settings.probe, progress=bar.update),
            probe=settings.probe,
            instances=settings.instances,
        )
    silent = report.silent(snapshot.verdicts)
    shown = silent if args.silent else snapshot.verdicts
    print(report.as_json(snapshot, shown) if args.json else report.as_table(snapshot, shown))
    return EXIT_SILENT if silent else 0


def _bar(what: str, *, unit: str, total: int | None = None) -> "tqdm[NoReturn]":
    """Return a progress bar on standard error, if that is a terminal and the work takes a second or more."""
    return tqdm(desc=what, unit=unit, total=total, leave=False, delay=1, disable=None)
