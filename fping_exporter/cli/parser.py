"""The commands and their flags, in argparse.

``--help``, the man page and the completions of shells are made of what stands here.
"""

import argparse
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from fping_exporter import __version__, config, log
from fping_exporter.cli import commands
from fping_exporter.config.duration import Duration
from fping_exporter.httpd.prefix import parse_external_url, parse_prefix
from fping_exporter.os_fping.paths import FIRST_SEGMENTS as OS_FPING_SEGMENTS

__all__ = ["build_parser", "parse_arguments"]

_T = TypeVar("_T")

RESERVED = OS_FPING_SEGMENTS | {
    "-",
    "clouds",
    "config",
    "hypervisors",
    "instance",
    "probe",
    "sd",
    "static",
    "v1",
}
"""First segments of paths that other pages use, so that the metrics cannot be there."""
_SHELLS = ("bash", "tcsh", "zsh")
_COLUMN = 32  # at which the text of a flag or command begins in --help
_WIDTH = 100
_MIN_INSTANCES = 14  # the demo's scene
_MAX_INSTANCES = 100_000


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. The command goes first; without one it is ``serve``.

    `run` of the result is a function that takes the result and returns the exit code. Raises SystemExit
    after --help and --version, and with code 2 on a mistake.
    """
    if not arguments or arguments[0].startswith("-"):
        arguments = ["serve", *arguments]
    return build_parser().parse_args(arguments)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line.

    It has the flags of ``serve`` itself as well, where the man page and the completions show them, since
    ``serve`` may be left out. `parse_arguments` puts it in, so that none of them is parsed there.
    """
    parser = argparse.ArgumentParser(
        prog="fping-exporter",
        description=_SERVE,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    _add_serve_flags(parser)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = _add_serve(subparsers)
    _add_list(subparsers)
    _add_explain(subparsers)
    _add_wait(subparsers)
    _add_demo(subparsers)
    _add_print(subparsers)
    parser.usage = f"fping-exporter [{'|'.join(subparsers.choices)}] [flags]"
    serve.epilog = _listing("commands (fping-exporter COMMAND --help has more)", subparsers)
    return parser


_Subparsers = argparse._SubParsersAction  # noqa: SLF001, argparse has no public name for it

_SERVE = """\
Ping the instances of an OpenStack cloud when Prometheus scrapes, and export the
result beside Nova's status."""


def _add_serve(subparsers: "_Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = _add_command(
        subparsers,
        "serve",
        summary="the default when no command is given",
        usage="fping-exporter [serve] [flags]",
        description=_SERVE,
    )
    _add_serve_flags(parser)
    parser.set_defaults(run=commands.serve)
    return parser


def _add_serve_flags(parser: argparse.ArgumentParser) -> None:
    flags = _add_flags(parser)
    _add_config_file(flags)
    flags.add_argument(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="Check the configuration without a request to the cloud, print what is wrong, and exit.",
    )
    _add_storage_path(
        flags, "Directory for the last list of instances and their last replies. A restart goes on with them."
    )
    _add_web_flags(flags, listen=":10605")
    _add_log_flags(flags)


def _add_list(subparsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        subparsers,
        "list",
        summary="ping once, print a table or JSON",
        usage="fping-exporter list [flags]",
        description="Ping the instances once and print the result.\n\n"
        "Exit code: 0 all ACTIVE instances answer, 1 some are silent, 2 usage, configuration or the\n"
        "permission to ping, 3 the cloud could not be listed, 4 none is silent but some ACTIVE ones\n"
        "could not be asked. With several clouds, 2 and 3 are for one of which nothing is known, if no\n"
        "instance of the others is silent.",
    )
    flags = _add_flags(parser)
    _add_config_file(flags)
    flags.add_argument(
        "--cloud",
        dest="clouds",
        action="append",
        default=[],
        metavar="NAME",
        help="Only this one of several clouds in the configuration; repeatable. [all]",
    )
    flags.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    flags.add_argument(
        "--silent",
        action="store_true",
        help="Print only ACTIVE instances that do not answer, or could not be asked.",
    )
    _add_storage_path(
        flags,
        "Directory in which a running exporter stores what it knows, to be read for the column SINCE.",
    )
    _add_log_flags(flags)
    parser.set_defaults(run=commands.list_instances)


def _add_explain(subparsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        subparsers,
        "explain",
        summary="say why one instance answers or not, and what to do next",
        usage="fping-exporter explain ID|NAME|ADDRESS [flags]",
        description="Ping one instance, and say why it answers or not: Nova's word, its addresses and\n"
        "whose they are, security groups, packets, layer 2, and what to do next.\n\n"
        "Exit code: 0 it answers, or is not ACTIVE, 1 it is silent, 2 usage, configuration, the\n"
        "permission to ping, or a name that no instance has, or several have, 3 the cloud could not be\n"
        "listed, 4 it could not be asked.",
    )
    parser.add_argument("instance", metavar="INSTANCE", help="Id, name or address of the instance.")
    flags = _add_flags(parser)
    _add_config_file(flags)
    _add_cloud(flags)
    flags.add_argument(
        "--cached",
        action="store_true",
        help="List and ping nothing: say what a running exporter stored last, which is whether it "
        "answered, and neither packets nor why it is silent.",
    )
    flags.add_argument("--json", action="store_true", help="Print JSON instead of a text.")
    _add_storage_path(
        flags,
        "Directory in which a running exporter stores what it knows, to be read for its last reply and for "
        "--cached.",
    )
    _add_log_flags(flags)
    parser.set_defaults(run=commands.explain)


def _add_wait(subparsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        subparsers,
        "wait",
        summary="ping some instances until all answer",
        usage="fping-exporter wait ID|NAME|ADDRESS... [flags]",
        description="Ping some instances until each has answered, and print a line for each as it does.\n"
        "Others are not pinged.\n\n"
        "Exit code: 0 all have answered (with --down: all are down or deleted), 1 the time is up, and\n"
        "some have not, or were deleted, 2 usage, configuration, the permission to ping, or a name that\n"
        "no instance has, or several have, 3 the cloud could not be listed.",
    )
    parser.add_argument(
        "instances", nargs="+", metavar="INSTANCE", help="Id, name or address of an instance."
    )
    flags = _add_flags(parser)
    _add_config_file(flags)
    _add_cloud(flags)
    flags.add_argument(
        "--timeout",
        type=_checked(Duration.parse),
        default=Duration(300),
        metavar="DURATION",
        help="How long to wait, such as 90s or 1h30m. A sweep that has begun is finished. [5m]",
    )
    flags.add_argument(
        "--down",
        action="store_true",
        help="Wait until each is down: it was asked and is silent, and nothing else explains that. One "
        "that could not be asked is not down.",
    )
    flags.add_argument(
        "--json", action="store_true", help="Print a JSON object on each line instead of a text."
    )
    _add_log_flags(flags)
    parser.set_defaults(run=commands.wait)


def _add_demo(subparsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        subparsers,
        "demo",
        summary="a first look, without a cloud",
        usage="fping-exporter demo [flags]",
        description="Serve a small embedded cloud on loopback, and the exporter for it.\n"
        "No packet leaves the machine.",
    )
    flags = _add_flags(parser)
    flags.add_argument(
        "--instances",
        type=_count,
        default=_MIN_INSTANCES,
        metavar="N",
        help="Number of instances in the demo's cloud. [%(default)s]",
    )
    _add_web_flags(flags, listen="127.0.0.1:10605")
    _add_log_flags(flags)
    parser.set_defaults(run=commands.demo)


def _add_print(subparsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add_command(
        subparsers,
        "print",
        summary="print the sample configuration, alert rules, dashboards, man page or completions",
        description="Print a file that belongs to this version of the exporter.",
    )
    _add_flags(parser)
    files = parser.add_subparsers(required=True)
    config_parser = _add_command(
        files,
        "config",
        summary="the sample configuration: all keys, defaults and comments",
        usage="fping-exporter print config",
        description="Print the sample configuration: all keys with their defaults and comments.",
    )
    _add_flags(config_parser)
    config_parser.set_defaults(run=commands.print_config)
    rules_parser = _add_command(
        files,
        "rules",
        summary="the alert rules for Prometheus",
        usage="fping-exporter print rules",
        description="Print the alert rules, a rule file for Prometheus.",
    )
    _add_flags(rules_parser)
    rules_parser.set_defaults(run=commands.print_rules)
    dashboards_parser = _add_command(
        files,
        "dashboards",
        summary="the Grafana dashboards, which are written to files in a DIRECTORY",
        usage="fping-exporter print dashboards DIRECTORY",
        description="Write the Grafana dashboards into DIRECTORY, a JSON file each, over older ones,\n"
        "and print the paths of the files.",
    )
    _add_flags(dashboards_parser)
    dashboards_parser.add_argument(
        "directory", type=Path, metavar="DIRECTORY", help="Directory for the dashboards."
    )
    dashboards_parser.set_defaults(run=commands.print_dashboards)
    man_parser = _add_command(
        files,
        "man",
        summary="the man page",
        usage="fping-exporter print man",
        description="Print the man page. To read it: fping-exporter print man | man -l -",
    )
    _add_flags(man_parser)
    man_parser.set_defaults(run=commands.print_man)
    completion_parser = _add_command(
        files,
        "completion",
        summary=f"the completions for a shell: {', '.join(_SHELLS)}",
        usage=f"fping-exporter print completion {'|'.join(_SHELLS)}",
        description="Print a script that completes commands, flags and paths in a shell. It belongs into\n"
        "/usr/share/bash-completion/completions/fping-exporter (bash),\n"
        "/usr/local/share/zsh/site-functions/_fping-exporter (zsh) or ~/.tcshrc (tcsh).",
    )
    _add_flags(completion_parser)
    completion_parser.add_argument("shell", choices=_SHELLS, help="Shell that completes.")
    completion_parser.set_defaults(run=commands.print_completion)
    files.metavar = "|".join(files.choices)
    parser.usage = f"fping-exporter print {files.metavar} [flags]"
    parser.epilog = _listing("what to print", files)


def _add_command(
    subparsers: "_Subparsers[argparse.ArgumentParser]",
    name: str,
    *,
    summary: str,
    usage: str | None = None,
    description: str,
) -> argparse.ArgumentParser:
    """Add a command; `summary` is its line in the --help of its parent."""
    return subparsers.add_parser(
        name,
        prog="fping-exporter",
        usage=usage,
        help=summary,
        description=description,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves out the commands, which `_listing` shows in the columns of the flags."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_COLUMN, width=_WIDTH)

    def add_argument(self, action: argparse.Action) -> None:
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            super().add_argument(action)


def _listing(title: str, subparsers: "_Subparsers[argparse.ArgumentParser]") -> str:
    """Return the list of the commands, with their summaries, for the --help of the parser above them."""
    lines = [f"{title}:"]
    for command in subparsers._get_subactions():  # noqa: SLF001, from which argparse makes its own list
        lines += textwrap.wrap(
            f"{command.dest:{_COLUMN - 4}}  {command.help}",
            _WIDTH - 2,
            initial_indent="  ",
            subsequent_indent=" " * _COLUMN,
        )
    return "\n".join(lines)


def _add_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the flags that every command has; return the group that the others are added to."""
    flags = parser.add_argument_group("flags")
    flags.add_argument("--help", "-h", action="help", help="Show this help and exit.")
    flags.add_argument(
        "--version",
        action="version",
        version=f"fping-exporter {__version__}",
        help="Show the version and exit.",
    )
    return flags


def _add_config_file(flags: argparse._ArgumentGroup) -> None:
    flags.add_argument(
        "--config.file",
        dest="config_file",
        type=Path,
        metavar="FILE",
        help=f"Configuration file. [{config.DEFAULT_FILE} if it exists, else the defaults]",
    )


def _add_storage_path(flags: argparse._ArgumentGroup, purpose: str) -> None:
    flags.add_argument(
        "--storage.path",
        dest="storage_path",
        type=Path,
        metavar="DIR",
        help=f"{purpose} [$STATE_DIRECTORY, else none]",
    )


def _add_cloud(flags: argparse._ArgumentGroup) -> None:
    flags.add_argument(
        "--cloud",
        dest="cloud",
        metavar="NAME",
        help="Which one of several clouds in the configuration. [the only one]",
    )


def _add_web_flags(flags: argparse._ArgumentGroup, *, listen: str) -> None:
    flags.add_argument(
        "--web.listen-address",
        dest="listen",
        action="append",
        metavar="ADDRESS",
        help=f"Address to listen on: HOST:PORT, :PORT, [IPV6]:PORT or unix:PATH; repeatable. [{listen}]",
    )
    flags.add_argument(
        "--web.config.file",
        dest="web_config_file",
        type=Path,
        metavar="FILE",
        help="TLS, passwords and headers, in the format of the Prometheus exporter-toolkit. [none]",
    )
    flags.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        type=_telemetry_path,
        default="/metrics",
        metavar="PATH",
        help="Path of the metrics. [/metrics]",
    )
    flags.add_argument(
        "--web.external-url",
        dest="external_url",
        type=_checked(parse_external_url),
        metavar="URL",
        help="URL at which people reach the exporter, such as that of a reverse proxy. Its path precedes "
        "every path that is served, including health checks and os-fping. [none]",
    )
    flags.add_argument(
        "--web.route-prefix",
        dest="route_prefix",
        type=_checked(parse_prefix),
        metavar="PATH",
        help="Prefix of the paths that are served: / if the proxy removes that of --web.external-url. "
        "[path of --web.external-url]",
    )
    flags.add_argument(
        "--web.enable-lifecycle",
        dest="enable_lifecycle",
        action="store_true",
        help="Enable POST /-/reload, which reloads the configuration as SIGHUP does, and POST /-/quit.",
    )
    flags.set_defaults(default_listen=listen)


def _add_log_flags(flags: argparse._ArgumentGroup) -> None:
    flags.add_argument(
        "--log.level",
        dest="log_level",
        choices=log.LEVELS,
        default="info",
        help="Lowest level to log. [info]",
    )
    flags.add_argument(
        "--log.format",
        dest="log_format",
        choices=log.FORMATS,
        default="logfmt",
        help="Format of log lines. [logfmt]",
    )


def _checked(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return a function as `parse` whose ValueError argparse shows as it is."""

    def checked(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and _MIN_INSTANCES <= int(text) <= _MAX_INSTANCES):
        raise argparse.ArgumentTypeError(
            f"expected a whole number from {_MIN_INSTANCES} to {_MAX_INSTANCES}, got {text!r}"
        )
    return int(text)


def _telemetry_path(text: str) -> str:
    """Check a path as it stands in a URL; return it without percent-encoding, as the router needs it."""
    path = unquote(text)
    if not text.startswith("/") or text == "/" or set(text) & set("?# ") or not _is_plain(path):
        raise argparse.ArgumentTypeError(f"expected a path such as /metrics, got {text!r}")
    if path.split("/")[1] in RESERVED:
        raise argparse.ArgumentTypeError(f"expected a path such as /metrics, got {text!r}, which is taken")
    return path


def _is_plain(path: str) -> bool:
    """Return whether the path is readable text, without what Flask reads as a variable (``<name>``)."""
    return path.isprintable() and not set(path) & set("<>\N{REPLACEMENT CHARACTER}")
