"""What each command runs.

A command imports its module only after its flags and its configuration have been read: openstacksdk takes
a second to import, which --help, --version and mistakes need not wait for.
"""
# ruff: noqa: PLC0415, the imports are within functions for that reason

import argparse
import os
import signal
import sys
from pathlib import Path

from fping_exporter import config, log
from fping_exporter.errors import ConfigError

__all__ = [
    "demo",
    "explain",
    "list_instances",
    "print_completion",
    "print_config",
    "print_dashboards",
    "print_man",
    "print_rules",
    "serve",
    "wait",
]


def serve(args: argparse.Namespace) -> int:
    """Serve the metrics of the configured cloud, or only check its configuration."""
    file = config.find(args.config_file)
    settings = config.load(file)
    _prepare_environment()
    from fping_exporter.cli import serve as command

    if args.config_check:
        from fping_exporter.cli import readers

        command.check(args, settings)
        disabled = [name for own in settings.by_cloud().values() for name in own.metrics.disable]
        for line in readers.miss(disabled):
            print(f"fping-exporter: warning: {line}", file=sys.stderr)
        print(f"{file or 'No file, so the defaults'}: the configuration is right.")
        return 0
    _set_up_log(args)
    # A file may be added after the start, so the search is repeated at each reload.
    return command.serve(args, settings, read=lambda: config.load(config.find(file)))


def list_instances(args: argparse.Namespace) -> int:
    """Ping the instances once and print the result."""
    settings = _prepare_command(args)
    from fping_exporter.cli import list as command

    _set_up_log(args)
    return command.list_instances(
        settings.choose(args.clouds),
        as_json=args.json,
        only_silent=args.silent,
        storage_path=args.storage_path,
    )


def explain(args: argparse.Namespace) -> int:
    """Ping one instance, and say why it answers or not."""
    settings = _prepare_command(args)
    from fping_exporter.cli import explain as command

    _set_up_log(args)
    one = settings.choose_one(args.cloud)
    return command.explain(
        one,
        args.instance,
        name=args.cloud or next(iter(settings.by_cloud())),
        cached=args.cached,
        as_json=args.json,
        storage_path=args.storage_path,
    )


def wait(args: argparse.Namespace) -> int:
    """Ping some instances until each answers, or is down."""
    settings = _prepare_command(args)
    from fping_exporter.cli import wait as command

    _set_up_log(args)
    one = settings.choose_one(args.cloud)
    return command.wait(one, args.instances, timeout=args.timeout, down=args.down, json_lines=args.json)


def demo(args: argparse.Namespace) -> int:
    """Serve the metrics of the demo's cloud."""
    _end_on_hangup()
    _prepare_environment()
    from fping_exporter.cli import demo as command

    _set_up_log(args)
    return command.demo(args)


def print_config(_args: argparse.Namespace) -> int:
    """Print the sample configuration."""
    from fping_exporter.cli import shipped

    print(shipped.sample_config().read_text("utf-8"), end="")
    return 0


def print_rules(_args: argparse.Namespace) -> int:
    """Print the alert rules."""
    from fping_exporter.cli import shipped

    print(shipped.alert_rules().read_text("utf-8"), end="")
    return 0


def print_dashboards(args: argparse.Namespace) -> int:
    """Write the Grafana dashboards into a directory, and print the paths of the files."""
    from fping_exporter.cli import shipped

    directory: Path = args.directory
    for path in shipped.write_dashboards(directory):
        print(path)
    return 0


def print_man(_args: argparse.Namespace) -> int:
    """Print the man page."""
    from fping_exporter.cli import man

    print(man.man_page(), end="")
    return 0


def print_completion(args: argparse.Namespace) -> int:
    """Print the completions for a shell."""
    from fping_exporter.cli import completion

    print(completion.completion(args.shell))
    return 0


def _prepare_command(args: argparse.Namespace) -> config.Config:
    """Prepare a command that reads the configuration once; return it."""
    _end_on_hangup()
    settings = config.load(config.find(args.config_file))
    _prepare_environment()
    return settings


def _set_up_log(args: argparse.Namespace) -> None:
    log.set_up(level=args.log_level, style=args.log_format)


def _end_on_hangup() -> None:
    """Undo the blocking of SIGHUP: it means a closed terminal to a command that reloads nothing."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _prepare_environment() -> None:
    """Provide what openstacksdk reads when it is imported: the working directory and the home directory.

    Raises ConfigError if the working directory has been deleted.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError(f"the working directory: {error.strerror}; start in another one") from None
    try:
        Path.home()
    except RuntimeError:  # neither HOME nor an entry in passwd, as in a container with any uid
        os.environ["HOME"] = "/nonexistent"
