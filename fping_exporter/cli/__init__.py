"""The command line: flags, commands and what they print."""

from fping_exporter.cli.parser import main

__all__ = ["main"]
