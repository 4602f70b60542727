"""The commands ``openstack server ping list``, ``show`` and ``wait``."""

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cliff.columns import FormattableColumn
from openstack.compute.v2.server import Server
from osc_lib.command import command

from fping_exporter.config.duration import Duration
from fping_exporter.openstackclient.client import OsFping
from fping_exporter.openstackclient.plugin import API_NAME
from fping_exporter.openstackclient.polling import Ended, poll
from fping_exporter.text import printable

__all__ = ["AliveColumn", "ListServerPing", "ShowServerPing", "WaitServerPing"]

EXIT_TIME_UP = 1
"""Exit code of ``wait`` when the time is up; openstackclient's own for errors is 1 as well."""


if TYPE_CHECKING:
    _Column = FormattableColumn[bool | None]
else:
    _Column = FormattableColumn  # which has no parameter in older releases of cliff


class AliveColumn(_Column):
    """Whether a server is alive; in JSON true, false or null."""

    def human_readable(self) -> str:
        """Return a word."""
        return {True: "yes", False: "no", None: "unknown"}[self._value]


class _PingCommand(command.Command):
    """A command that asks os-fping, and Nova for servers, with the user's token."""

    @property
    def _fping(self) -> OsFping:
        client: OsFping = getattr(self.app.client_manager, API_NAME)  # openstackclient adds it
        return client

    @property
    def _compute(self) -> Any:  # noqa: ANN401, SDK's proxy, which depends on its version
        return self.app.client_manager.sdk_connection.compute

    def _find(self, name_or_id: str, *, all_projects: bool = False) -> Server:
        """Return a server as ``openstack server show`` finds it; raises SDK's error if there is none."""
        server: Server = self._compute.find_server(
            name_or_id, ignore_missing=False, details=True, all_projects=all_projects
        )
        return server

    def _has_others(self, servers: Iterable[Server]) -> bool:
        """Whether some are of other projects than the user's: os-fping lists these on request only."""
        own_project = self.app.client_manager.sdk_connection.current_project_id
        return any(server.project_id != own_project for server in servers)


class ListServerPing(_PingCommand, command.Lister):
    """List servers, and whether each answers a ping."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's options."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--all-projects", action="store_true", help="Include all projects (admin only by default)"
        )
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument(
            "--include",
            action="append",
            default=[],
            metavar="<server>",
            help="List only this server (name or ID; repeat for several)",
        )
        chosen.add_argument(
            "--exclude",
            action="append",
            default=[],
            metavar="<server>",
            help="Leave this server out (name or ID; repeat for several)",
        )
        parser.add_argument(
            "--silent",
            action="store_true",
            help="List only ACTIVE servers that do not answer, or of which that is not known",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """Return Nova's servers, each with os-fping's word; what that leaves out is unknown."""
        everywhere: bool = parsed_args.all_projects
        included = self._find_all(parsed_args.include, everywhere)
        excluded = self._find_all(parsed_args.exclude, everywhere)
        alive = self._fping.list_servers(
            all_projects=everywhere or self._has_others(included.values()),
            include=included,
            exclude=excluded,
        )
        servers = included.values() or self._compute.servers(details=True, all_projects=everywhere)
        shown = [
            server
            for server in servers
            if server.id not in excluded
            and not (parsed_args.silent and (server.status != "ACTIVE" or alive.get(server.id)))
        ]
        columns = ("ID", "Name", *(["Project ID"] if everywhere else []), "Status", "Alive")
        return columns, (
            (
                server.id,
                server.name,
                *([server.project_id] if everywhere else []),
                server.status,
                AliveColumn(alive.get(server.id)),
            )
            for server in shown
        )

    def _find_all(self, names: Iterable[str], everywhere: bool) -> dict[str, Server]:  # noqa: FBT001, as the option
        found = [self._find(name, all_projects=everywhere) for name in names]
        return {server.id: server for server in found}


class ShowServerPing(_PingCommand, command.ShowOne):
    """Show whether a server answers a ping."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's options."""
        parser = super().get_parser(prog_name)
        parser.add_argument("server", metavar="<server>", help="Server (name or ID)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Return the server with os-fping's word; raises OsFpingError if it knows nothing of it."""
        server = self._find(parsed_args.server)
        alive = AliveColumn(self._fping.show_server(server.id))
        return ("id", "name", "project_id", "status", "alive"), (
            server.id,
            server.name,
            server.project_id,
            server.status,
            alive,
        )


class WaitServerPing(_PingCommand):
    """Wait until servers answer a ping, and print a line for each.

    Exit code 1 if the time is up before, or for an error. os-fping limits the requests of a user.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's options."""
        parser = super().get_parser(prog_name)
        parser.add_argument("servers", metavar="<server>", nargs="+", help="Servers to wait for (name or ID)")
        parser.add_argument(
            "--timeout",
            metavar="<duration>",
            type=_duration,
            default=Duration(300),
            help="How long to wait, such as 90s or 1h30m (default: 5m); a request that has begun is finished",
        )
        parser.add_argument(
            "--down",
            action="store_true",
            help="Wait until none answers; a server that could not be pinged does not count",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Return the exit code."""
        found = {server.id: server for server in map(self._find, parsed_args.servers)}
        missing = 0
        for ended in poll(
            self._fping,
            list(found),
            all_projects=self._has_others(found.values()),
            down=parsed_args.down,
            timeout=parsed_args.timeout,
        ):
            missing += not ended.is_done
            server = found[ended.id]
            self.app.stdout.write(f"{server.id}  {printable(server.name)}  {_outcome(ended)}\n")
            self.app.stdout.flush()
        return EXIT_TIME_UP if missing else 0


def _outcome(ended: Ended) -> str:
    """Return what is said of a server that is not waited for any more."""
    if ended.alive is None:
        return f"is not known to answer or not: {ended.why or 'os-fping leaves it out'}"
    if ended.alive:
        return f"{'answers' if ended.is_done else 'still answers'} after {ended.seconds:.0f} s"
    return f"does not answer after {ended.seconds:.0f} s"


def _duration(text: str) -> Duration:
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
