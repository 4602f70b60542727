"""The command line: ``serve`` (the default), ``list`` and ``demo``."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from fping_exporter import __version__, config, log
from fping_exporter.config import Config
from fping_exporter.errors import CloudError, FpingExporterError

__all__ = ["COMMANDS", "main", "make_parser"]

COMMANDS = ("serve", "list", "demo")

EXIT_USAGE = 2
EXIT_CLOUD = 3

TAKEN = frozenset({"-", "config", "instance", "os-fping", "sd", "static", "v2", "v2.1"})
"""First segments of the paths that mean something already, so that the metrics cannot be there."""
_LISTEN = ":10605"
_DEMO_LISTEN = "127.0.0.1:10605"
_LEAST_INSTANCES = 4  # the well-known case
_MOST_INSTANCES = 100_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (None: that of the process) names; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "serve"
    parser = make_parser(command)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)} (commands, which go first, are {', '.join(COMMANDS)})")
    try:
        settings = Config()
        if command != "demo":
            args.config_file = config.find(args.config_file)
            settings = config.load(args.config_file)
        # openstacksdk takes a second to import: --help, --version and mistakes need not wait for it.
        commands = importlib.import_module("fping_exporter.cli.commands")
        if command == "serve" and args.config_check:
            commands.check(args, settings)
            print(f"{args.config_file or 'No file, so the defaults'}: the configuration is right.")
            return 0
        log.set_up(level=args.log_level, style=args.log_format)
        return int(getattr(commands, command)(args, settings))
    except FpingExporterError as error:
        print(f"fping-exporter: {error}", file=sys.stderr)
        return EXIT_CLOUD if isinstance(error, CloudError) else EXIT_USAGE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def make_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of one command's flags."""
    parser = argparse.ArgumentParser(
        prog="fping-exporter" if command == "serve" else f"fping-exporter {command}",
        usage="fping-exporter [serve] [flags]" if command == "serve" else f"fping-exporter {command} [flags]",
        description=_DESCRIPTIONS[command],
        epilog=_EPILOGS.get(command),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=32, width=100
        ),
        allow_abbrev=False,
        add_help=False,
    )
    flag = parser.add_argument_group("flags").add_argument
    flag("--help", "-h", action="help", help="Show this and exit.")
    flag(
        "--version",
        action="version",
        version=f"fping-exporter {__version__}",
        help="Show the version and exit.",
    )
    if command == "demo":
        flag("--instances", type=_count, default=4, metavar="N", help="Instances of the demo's cloud. [4]")
    else:
        flag(
            "--config.file",
            dest="config_file",
            type=Path,
            metavar="FILE",
            help=f"Configuration. [{config.DEFAULT_FILE} if there is one, else defaults]",
        )
    if command == "serve":
        flag(
            "--config.check",
            dest="config_check",
            action="store_true",
            help="Read the configuration, say what is wrong with it, and exit.",
        )
    if command == "list":
        flag("--json", action="store_true", help="Print JSON instead of a table.")
        flag("--silent", action="store_true", help="Print only ACTIVE instances that do not answer.")
    else:
        listen = _DEMO_LISTEN if command == "demo" else _LISTEN
        flag(
            "--web.listen-address",
            dest="listen",
            action="append",
            metavar="ADDRESS",
            help=f"Where to listen: HOST:PORT, :PORT, [IPV6]:PORT or unix:PATH; repeatable. [{listen}]",
        )
        flag(
            "--web.config.file",
            dest="web_config_file",
            type=Path,
            metavar="FILE",
            help="TLS, passwords and headers, as the Prometheus exporter-toolkit has them. [none]",
        )
        flag(
            "--web.telemetry-path",
            dest="telemetry_path",
            type=_path,
            default="/metrics",
            metavar="PATH",
            help="Where the metrics are. [/metrics]",
        )
        flag(
            "--web.enable-lifecycle",
            dest="enable_lifecycle",
            action="store_true",
            help="Let POST /-/reload read the configuration again, as SIGHUP does, and POST /-/quit end it.",
        )
        parser.set_defaults(default_listen=listen)
    flag(
        "--log.level", dest="log_level", choices=log.LEVELS, default="info", help="Least level to log. [info]"
    )
    flag("--log.format", dest="log_format", choices=log.FORMATS, default="logfmt", help="[logfmt]")
    return parser


_DESCRIPTIONS = {
    "serve": "Ping the instances of an OpenStack cloud when Prometheus asks, and set the answer\n"
    "beside Nova's word.",
    "list": "Ping the instances once and print what answered.\n\n"
    "Exit code: 0 all ACTIVE instances answer, 1 some are silent, 2 usage or configuration,\n"
    "3 the cloud could not be listed.",
    "demo": "Serve a small cloud of the exporter's own on loopback, and the exporter for it.\n"
    "No packet leaves the machine.",
}
_EPILOGS = {
    "serve": "commands:\n"
    "  serve                         what runs when no command is given\n"
    "  list                          ping once, print a table or JSON (fping-exporter list --help)\n"
    "  demo                          a first look, without a cloud (fping-exporter demo --help)"
}


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and _LEAST_INSTANCES <= int(text) <= _MOST_INSTANCES):
        raise argparse.ArgumentTypeError(
            f"expected a whole number from {_LEAST_INSTANCES} to {_MOST_INSTANCES}, got {text!r}"
        )
    return int(text)


def _path(text: str) -> str:
    if not text.startswith("/") or text == "/" or set(text) & set("<>?# "):
        raise argparse.ArgumentTypeError(f"expected a path such as /metrics, got {text!r}")
    if text.split("/")[1] in TAKEN:
        raise argparse.ArgumentTypeError(f"expected a path such as /metrics, got {text!r}, which is taken")
    return text
