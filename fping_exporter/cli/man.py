"""The man page, in roff (man(7)), made of the parser.

argparse-manpage would do it too, but has no wheel: each installation would run setuptools for it.
"""

import argparse
import textwrap
import time
from collections.abc import Iterator, Sequence

from fping_exporter import __version__
from fping_exporter.cli.parser import build_parser

__all__ = ["man_page"]


def man_page() -> str:
    """Return the man page, with the date of today."""
    parser = build_parser()
    date = time.strftime("%Y-%m-%d")
    lines = [
        f'.TH FPING\\-EXPORTER 1 "{date}" "fping\\-exporter {_escape(__version__)}" "User Commands"',
        ".SH NAME",
        "fping\\-exporter \\- ping the instances of an OpenStack cloud for Prometheus",
        ".SH SYNOPSIS",
        f"\\fB{_escape(parser.prog)}\\fR {_usage(parser)}",
        ".SH DESCRIPTION",
        _text(parser.description),
        ".SH OPTIONS",
        *_arguments(parser),
        ".SH COMMANDS",
        *_commands(parser),
    ]
    return "\n".join(lines) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a subsection for each command below the parser but ``serve``, whose flags are the parser's."""
    for action in parser._actions:  # noqa: SLF001, argparse has no public name for them
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        for name, command in action.choices.items():
            if name == "serve":
                continue
            yield f".SS {_usage(command)}"
            yield _text(command.description)
            yield from _arguments(command, but=("--help", "--version"))
            yield from _commands(command)


def _arguments(parser: argparse.ArgumentParser, *, but: Sequence[str] = ()) -> Iterator[str]:
    """Yield a tagged paragraph for each flag and argument, `but` for these flags, which all commands have."""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction) or set(action.option_strings) & set(but):  # noqa: SLF001
            continue
        tag = ", ".join(f"\\fB{_escape(flag)}\\fR" for flag in action.option_strings)
        if action.nargs != 0:
            value = action.metavar or "|".join(action.choices or ()) or action.dest
            tag = f"{tag} \\fI{_escape(str(value))}\\fR".strip()
        yield from (".TP", tag, _text(action.help))


def _usage(parser: argparse.ArgumentParser) -> str:
    return _escape((parser.usage or "").removeprefix(f"{parser.prog} "))


def _text(text: str | None) -> str:
    """Return paragraphs for roff, which fills their lines itself."""
    paragraphs = (text or "").split("\n\n")
    return "\n.PP\n".join(
        "\n".join(_escape(line) for line in textwrap.wrap(each, 72, break_on_hyphens=False))
        for each in paragraphs
    )


def _escape(line: str) -> str:
    """Escape what roff reads as an escape or, at the beginning of a line, as a macro."""
    line = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line.startswith((".", "'")) else line
