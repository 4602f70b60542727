"""The command ``serve``: the exporter, from its start to the signal that ends it."""

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable

from fping_exporter import __version__, open_files
from fping_exporter.cli.site import make_site
from fping_exporter.cli.upstream import Connector
from fping_exporter.cloud_unit import Connect
from fping_exporter.config import Config, locate
from fping_exporter.errors import ConfigError, FpingExporterError
from fping_exporter.fleet.prometheus import Prometheus
from fping_exporter.fleet.share import Share
from fping_exporter.httpd.listen import ListenAddress, parse_listen_address
from fping_exporter.httpd.middleware import WebConfigMiddleware
from fping_exporter.httpd.prefix import PathPrefix
from fping_exporter.httpd.server import HttpServer, Limits
from fping_exporter.httpd.web_config import WebConfig
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.probe import check_permission
from fping_exporter.service import Service, check_exposure
from fping_exporter.storage import NOTHING_STORED, StateDirectory, check_named_directory, open_state
from fping_exporter.systemd import notify, watchdog_interval
from fping_exporter.web.lifecycle import Controls

__all__ = ["block_signals", "check", "run_server", "serve"]

logger = logging.getLogger("fping_exporter")

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_LAST_REQUESTS_SECONDS = 10.0
"""How long requests may go on after SIGTERM; most scrapes end sooner."""
_LAST_WRITE_SECONDS = 5.0
"""How long what is to outlive the process may still be written after that."""


def serve(args: argparse.Namespace, settings: Config, *, read: Callable[[], Config]) -> int:
    """Serve the metrics of the configured cloud until SIGTERM or SIGINT; `read` is called at a reload."""
    if args.storage_path:
        check_named_directory(args.storage_path)
    block_signals()
    return run_server(
        args,
        settings,
        read=read,
        connect=Connector(),
        open_state=lambda: open_state(args.storage_path),
    )


def check(args: argparse.Namespace, settings: Config) -> None:
    """Raise ConfigError for everything that ``serve`` refuses before it asks the cloud or opens a port.

    That includes the entry of clouds.yaml, or the OS_* variables: their credentials are not tried. Of an
    agent, it includes the files with its credentials.
    """
    web = WebConfig(args.web_config_file) if args.web_config_file else None
    connect = Connector()
    for name, own in settings.by_cloud().items():
        try:
            check_exposure(own, _listen_addresses(args), web.settings() if web else None)
            connect(own)
            if own.fleet:
                Prometheus(own.fleet)
            if own.share:
                Share(own.share, observer=Telemetry(), exports=bool)
        except ConfigError as error:
            if not settings.clouds:
                raise
            raise ConfigError(locate(name, error)) from error
    if args.storage_path:
        check_named_directory(args.storage_path)


def _listen_addresses(args: argparse.Namespace) -> tuple[ListenAddress, ...]:
    return tuple(parse_listen_address(text) for text in args.listen or [args.default_listen])


def run_server(
    args: argparse.Namespace,
    settings: Config,
    *,
    read: Callable[[], Config],
    connect: Connect,
    open_state: Callable[[], StateDirectory] = lambda: NOTHING_STORED,
    reload_on_hangup: bool = True,
    greet: Callable[[str], str] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT.

    SIGHUP reloads the configuration with `read`, or ends the server if not `reload_on_hangup`.
    `open_state` returns where to store what outlives a restart, if anywhere. `greet` is called when the
    server listens, with its URL, which has no slash at its end; it returns what is printed then.
    """
    _return_memory_to_os()
    _reduce_gil_latency()
    limit = open_files.raise_limit()
    logger.info(
        "starting", extra={"version": __version__, "sockets": check_permission(), "open_files": limit}
    )
    listen = _listen_addresses(args)
    web = WebConfig(args.web_config_file) if args.web_config_file else None
    telemetry = ProcessTelemetry()
    state = open_state()
    service = Service(
        settings,
        read=read,
        check=lambda settings: check_exposure(settings, listen, web.settings() if web else None),
        connect=connect,
        telemetry=telemetry,
        state=state,
    )
    controls = Controls(reload=service.reload, quit=lambda: os.kill(os.getpid(), signal.SIGTERM))
    site = make_site(
        service,
        process=telemetry,
        telemetry_path=args.telemetry_path,
        controls=controls if args.enable_lifecycle else None,
        listen=listen,
    )
    prefixed = PathPrefix(site.app, external_url=args.external_url, route_prefix=args.route_prefix)
    server = HttpServer(
        WebConfigMiddleware(
            prefixed,
            settings=web.settings,
            is_public=lambda path: (inner := prefixed.inner_path(path)) is not None and site.is_public(inner),
        )
        if web
        else prefixed,
        listen=listen,
        tls=web.tls if web else None,
        limits=Limits(connections=open_files.shares().connections),
    )
    service.start()
    server.start()
    for address in server.addresses:
        logger.info("listening", extra={"address": str(address)})
    if greet:
        url = args.external_url or f"http://{server.addresses[0]}{prefixed.route_prefix}"
        print(greet(url), flush=True)
    notify("READY=1")
    while _wait_for_signal(server) is signal.SIGHUP and reload_on_hangup:
        logger.info("reloading")
        with contextlib.suppress(FpingExporterError):  # the log has it
            service.reload()
    logger.info("stopping")
    notify("STOPPING=1")
    service.close()
    state.write()  # while requests end: a container has ten seconds in all
    server.stop(_LAST_REQUESTS_SECONDS)
    state.close(_LAST_WRITE_SECONDS)
    return 0


def block_signals() -> None:
    """Block the signals that the main thread waits for, in all threads: they inherit the mask.

    A handler could run between any two steps of the main thread. It would also be late by one wait if
    the signal came just before the wait began.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _wait_for_signal(server: HttpServer) -> signal.Signals:
    """Return the next signal; while the server is alive, send watchdog notifications to systemd meanwhile."""
    interval = watchdog_interval()
    while not (
        received := signal.sigtimedwait(_SIGNALS, interval) if interval else signal.sigwaitinfo(_SIGNALS)
    ):
        if server.alive:
            notify("WATCHDOG=1")
    return signal.Signals(received.si_signo)


def _return_memory_to_os() -> None:
    """Make glibc return freed blocks of 64 KiB and more to the operating system (M_MMAP_THRESHOLD).

    By default glibc raises this threshold to the size of the largest block freed so far, here a page
    of servers. It then keeps all smaller blocks: 25 MiB at 10,000 instances.

    By default threads also have heaps of their own, and what one has freed serves no other. One heap for
    all saves 3 MiB at 10,000 instances.
    """
    with contextlib.suppress(AttributeError):  # musl has no mallopt, and returns memory anyway
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 64 * 1024)
        libc.mallopt(_M_ARENA_MAX, 1)


def _reduce_gil_latency() -> None:
    """Shorten the time that a scrape waits for the global interpreter lock (GIL).

    A scrape takes the GIL some forty times. While another thread computes, for example decodes a list of
    servers, each time costs up to one switch interval, which is 5 ms by default.

    A full garbage collection holds the GIL for 40 ms. Freezing exempts the objects that the libraries
    have created by now, which are never freed. Higher thresholds make collections rare: a refresh creates
    hundreds of thousands of objects, none of them in a cycle. At 100,000 instances it spent a sixth of its
    time in collections of up to 120 ms.
    """
    sys.setswitchinterval(0.0001)
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""From glibc's malloc.h."""
