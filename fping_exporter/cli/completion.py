"""The completions of shells, made by shtab of the parser."""

import argparse
from collections.abc import Iterator

import shtab

from fping_exporter.cli.parser import build_parser

__all__ = ["completion"]

_PATHS = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "DIRECTORY": shtab.DIRECTORY}
"""What completes the value of a flag, by the name of the value in --help."""


def completion(shell: str) -> str:
    """Return the script that completes the command line in `shell`: bash, tcsh or zsh."""
    parser = build_parser()
    for action in _actions(parser):
        if action.metavar in _PATHS:
            action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]  # shtab's protocol
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the flags and arguments of the parser and of all commands below it."""
    for action in parser._actions:  # noqa: SLF001, argparse has no public name for them
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _actions(command)
